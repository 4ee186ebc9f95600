//! Limits of work in the hands of shims, which hold on while the daemon is gone.

use super::Node;
use super::kept::{end, files, kill, left_alone, next, shim_of};
use super::limits::{MEMORY_HOG, can_be_had, groups_of, limited, memory, out_of_memory, pids};
use crate::node::{gate, home_in, is_alive, until, within};
use punctual_executor::drivers::process::ProcessDriver;
use punctual_model::{Exit, LostWhy, RunState};
use std::path::{Path, PathBuf};

/// Work of which a part is of another session, nobody's child, without a variable or an open file that would tell.
fn hiding(gate: &Path) -> String {
    format!(
        "setsid sh -c 'env -i /bin/sleep 1000 >/dev/null 2>&1 & echo $!'; echo $$; echo ready; read x <{}",
        gate.display()
    )
}

async fn hidden(output: &str) -> [String; 2] {
    let [stray, leader, ..] = output.lines().collect::<Vec<_>>()[..] else { panic!("{output}") };
    until(|| std::fs::read(format!("/proc/{stray}/environ")).is_ok_and(|env| env.is_empty())).await;
    [stray.to_owned(), leader.to_owned()]
}

#[tokio::test]
async fn the_work_of_a_killed_shim_is_found_by_its_group() {
    let node = Node::new().await;
    if !can_be_had(&node, "the end of hidden work whose shim was killed").await {
        return;
    }
    let promise = node.begin(limited(&hiding(&gate(node.path())), pids(20))).await;
    let id = promise.id();
    node.wrote(id, "ready").await;
    let pids = hidden(&node.output(id)).await;
    kill(&shim_of(&node, id));
    let run = within(promise.wait()).await.unwrap();
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::Vanished });
    assert!(pids.iter().all(|pid| !is_alive(pid)), "{pids:?}");
    assert_eq!(groups_of(&node, id), Vec::<PathBuf>::new());
    until(|| files(&node).is_empty()).await;
}

#[tokio::test]
async fn the_work_of_a_shim_that_died_with_its_daemon_is_found_by_its_group() {
    let node = Node::new().await;
    if !can_be_had(&node, "the end of hidden work whose shim died with its daemon").await {
        return;
    }
    let id = left_alone(&node, limited(&hiding(&gate(node.path())), pids(20))).await;
    let pids = hidden(&node.output(id)).await;
    let shim = shim_of(&node, id);
    kill(&shim);
    until(|| !is_alive(&shim)).await;
    assert!(is_alive(&pids[0]));
    let (_pool, run) = next(&node, id).await;
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    assert!(pids.iter().all(|pid| !is_alive(pid)), "proven dead before it is called lost");
    assert_eq!((groups_of(&node, id), files(&node)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_group_that_no_run_asks_for_is_swept_with_all_that_is_in_it() {
    let node = Node::new().await;
    if !can_be_had(&node, "the sweep of groups").await {
        return;
    }
    let id = left_alone(&node, limited(&hiding(&gate(node.path())), pids(20))).await;
    let pids = hidden(&node.output(id)).await;
    let shim = shim_of(&node, id);
    kill(&shim);
    until(|| !is_alive(&shim)).await;
    let home = home_in(node.path());
    within(ProcessDriver::sweep(&home, &*node.clock)).await;
    assert!(pids.iter().all(|pid| !is_alive(pid)), "{pids:?}");
    assert_eq!((groups_of(&node, id), files(&node)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn work_goes_on_within_its_limits_and_the_next_daemon_hears_that_they_were_not_enough() {
    let node = Node::new().await;
    if !can_be_had(&node, "limits while no daemon is there").await {
        return;
    }
    let gate = gate(node.path());
    // Another one for the second time: who opens one anew may still find the writer of the first.
    let again = node.path().join("again");
    rustix::fs::mkfifoat(rustix::fs::CWD, &again, rustix::fs::Mode::RWXU).unwrap();
    let script = format!(
        "echo $$; echo ready; read x <{}; echo once; read x <{}; {MEMORY_HOG}; exit $?",
        gate.display(),
        again.display()
    );
    let id = left_alone(&node, limited(&script, memory(32 << 20))).await;
    let pid = node.output(id).lines().next().unwrap().to_owned();
    let before = groups_of(&node, id);
    assert!(!before.is_empty() && is_alive(&pid));
    // Taken up, it is in its group as before.
    let (pool, run) = next(&node, id).await;
    assert!(run.state().is_at_work());
    std::fs::write(&gate, "\n").unwrap();
    node.wrote(id, "once").await;
    assert_eq!(groups_of(&node, id), before);
    assert!(is_alive(&pid));
    // And left alone once more, it comes to its end.
    within(pool.stop(std::time::Duration::ZERO)).await;
    std::fs::write(&again, "\n").unwrap();
    until(|| files(&node) == [format!("{id}.1.end")]).await;
    assert_eq!(groups_of(&node, id), Vec::<PathBuf>::new());
    let (pool, _) = next(&node, id).await;
    let run = end(&pool, id).await;
    let outcome = run.outcome.as_ref().unwrap();
    assert_eq!((run.state(), outcome.exit), (RunState::Failed, Some(Exit::Code(137))));
    assert!(outcome.error.as_ref().unwrap().message.starts_with("out of memory: at its limit of 32 MiB"));
    assert_eq!(out_of_memory(&run), 1);
    until(|| files(&node).is_empty()).await;
}
