//! A process that is killed at any moment has lost nothing that it had acknowledged.

mod node;

use node::{Node, Outcome, options};
use punctual_clock::SystemClock;
use punctual_model::{RunId, RunState};
use punctual_store::fjall::{FjallStore, OpenError};
use punctual_store::{HistoryStore, RunStore};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Names the directory for the process that is going to be killed.
const VICTIM: &str = "PUNCTUAL_TEST_VICTIM";

/// Accepts and ends runs from eight tasks at once and says what was acknowledged, until it is killed.
#[tokio::main]
async fn work_until_killed(path: &Path) -> Outcome {
    let node = Node::open(path, &SystemClock::new()?).await?;
    let mut tasks = Vec::new();
    for worker in 0..8 {
        let node = node.clone();
        tasks.push(tokio::spawn(async move {
            loop {
                let runs = node.accept(1 + worker, 1 + worker).await?;
                runs.iter().for_each(|run| println!("began {}", run.id));
                let runs = node.end(&runs).await?;
                runs.iter().for_each(|run| println!("ended {}", run.id));
            }
            #[expect(unreachable_code, reason = "it tells the type of the errors above")]
            Outcome::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    if let Some(path) = std::env::var_os(VICTIM) {
        work_until_killed(Path::new(&path)).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let mut acknowledged = BTreeMap::new();
    // From the first commits of a new store to some that have flushed and compacted several times.
    for patience in [1, 10, 100, 1_000, 10_000, 3_000, 30_000, 77, 7] {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "acknowledged_writes_survive_kill_9", "--nocapture"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut heard = 0;
        for line in lines {
            let line = line.unwrap();
            let Some((what, id)) = line.split_once(' ') else { continue };
            // The last line may be cut off by the kill.
            let Ok(id) = id.parse::<RunId>() else { continue };
            match what {
                "began" => drop(acknowledged.entry(id).or_insert(false)),
                "ended" => drop(acknowledged.insert(id, true)),
                _ => continue,
            }
            heard += 1;
            if heard == patience {
                victim.kill().unwrap();
            }
        }
        victim.wait().unwrap();
        assert!(heard >= patience, "it died by itself after {heard} of {patience}");

        let clock = Arc::new(SystemClock::new().unwrap());
        let store = FjallStore::open(&path, clock, &options()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (id, ended) in &acknowledged {
            let run = runtime.block_on(store.run(*id)).unwrap().unwrap_or_else(|| panic!("{id} is lost"));
            assert!(
                run.state() == RunState::Succeeded || !ended,
                "the end of {id} is lost: {:?}",
                run.state()
            );
        }
        assert_eq!(store.quarantined(), []);
    }
    assert!(acknowledged.len() > 10_000);
}

#[test]
fn a_second_process_is_refused_and_told_the_first_ones_number() {
    if let Some(path) = std::env::var_os(VICTIM) {
        work_until_killed(Path::new(&path)).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let mut first = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_second_process_is_refused_and_told_the_first_ones_number", "--nocapture"])
        .env(VICTIM, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("began")));
    let clock = Arc::new(SystemClock::new().unwrap());
    let error = FjallStore::open(&path, clock.clone(), &options()).unwrap_err();
    let OpenError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, Some(first.id()));
    assert!(error.to_string().contains(&format!("process {}", first.id())), "{error}");
    first.kill().unwrap();
    first.wait().unwrap();
    FjallStore::open(&path, clock, &options()).unwrap().close();
}
