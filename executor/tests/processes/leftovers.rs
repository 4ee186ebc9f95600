//! What a daemon that died has left alive.

use super::Node;
use crate::node::{is_alive, shell, within};
use punctual_executor::drivers::process::{ProcessDriver, ProcessHome};
use punctual_executor::{Attempt, Driver as _, Executor as _, Recovered, RunSink, Stream};
use punctual_model::event::EventKind;
use punctual_model::{LostWhy, RunState, TaskSpec};
use serde_json::Value;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Hands on what comes, from whatever thread.
pub(crate) struct Lines(pub(crate) mpsc::Sender<String>);

impl RunSink for Lines {
    fn output(&self, _stream: Stream, bytes: &[u8]) {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
    }
    fn event(&self, _what: EventKind) {}
    fn save(&self, _state: Value) {}
}

/// Starts an attempt in a daemon that then dies without a word; answers what it had written.
fn orphaned(node: &Node, attempt: &Attempt) -> String {
    let (home, clock, attempt) = (Arc::clone(&node.home), Arc::clone(&node.clock), attempt.clone());
    let (say, said) = mpsc::channel();
    std::thread::spawn(move || {
        let daemon =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let driver = ProcessDriver::shell(home, clock);
        let handle = daemon.block_on(driver.start(attempt, Arc::new(Lines(say)))).unwrap();
        let pid = said.recv().unwrap();
        drop(handle);
        daemon.shutdown_background();
        pid
    })
    .join()
    .unwrap()
    .lines()
    .next()
    .unwrap()
    .to_owned()
}

fn spec(script: &str) -> TaskSpec {
    let mut spec = shell(script);
    spec.kill.grace = Duration::from_millis(200);
    spec
}

#[tokio::test]
async fn one_sweep_ends_all_that_a_dead_session_has_left() {
    let node = Node::new().await;
    // The second one stays beside the sleeper that left its group: a run whose leader has gone is ended at once.
    let scripts = ["echo $$; exec sleep 1000", "setsid sh -c 'echo $$; exec sleep 1000' & wait"];
    let pids: Vec<String> =
        scripts.iter().map(|script| orphaned(&node, &node.attempt(spec(script)))).collect();
    assert!(pids.iter().all(|pid| is_alive(pid)));
    // Another node's processes are none of ours.
    let other = tempfile::tempdir().unwrap();
    let other = ProcessHome::in_directory(other.path()).unwrap();
    assert_eq!(within(ProcessDriver::reap_leftovers(&other, &*node.clock)).await.found, 0);
    let reaped = within(ProcessDriver::reap_leftovers(&node.home, &*node.clock)).await;
    assert_eq!((reaped.found, reaped.left), (3, 0), "two sleepers and a shell that waits");
    assert!(pids.iter().all(|pid| !is_alive(pid)));
    assert_eq!(within(ProcessDriver::reap_leftovers(&node.home, &*node.clock)).await.found, 0);
}

/// What a hook of a dead daemon has started carries another mark than work does: it is ended by the sweep, and not with
/// the processes of its run.
#[tokio::test]
async fn a_command_of_a_hook_is_ended_by_the_sweep_and_not_with_its_run() {
    let node = Node::new().await;
    let attempt = node.attempt(spec("echo $$; exec sleep 1000"));
    let (name, value) = node.home.hook_variable().unwrap();
    let mut command = std::process::Command::new("sleep")
        .arg("1000")
        .env(name, value)
        .env("PUNCTUAL_RUN_ID", attempt.run.id.to_string())
        .spawn()
        .unwrap();
    let hook = command.id().to_string();
    let reaper = std::thread::spawn(move || command.wait());
    let driver = ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock));
    let (say, _said) = mpsc::channel();
    assert!(matches!(within(driver.recover(attempt, Arc::new(Lines(say)))).await, Recovered::Nothing));
    assert!(is_alive(&hook), "no process of the run");
    assert_eq!(within(ProcessDriver::reap_leftovers(&node.home, &*node.clock)).await.found, 1);
    assert!(!is_alive(&hook));
    reaper.join().unwrap().unwrap();
}

#[tokio::test]
async fn recovering_an_attempt_ends_what_lives_of_it_and_watches_nothing() {
    let node = Node::new().await;
    let attempt = node.attempt(spec("trap '' TERM; echo $$; while :; do sleep 0.05; done"));
    let bystander = node.attempt(spec("echo $$; exec sleep 1000"));
    let (pid, other) = (orphaned(&node, &attempt), orphaned(&node, &bystander));
    let driver = ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock));
    let (say, _said) = mpsc::channel();
    assert!(matches!(within(driver.recover(attempt, Arc::new(Lines(say)))).await, Recovered::Ended));
    assert!(!is_alive(&pid), "killed after its grace");
    assert!(is_alive(&other), "another run's process is left alone");
    within(ProcessDriver::reap_leftovers(&node.home, &*node.clock)).await;
    assert!(!is_alive(&other));
}

#[tokio::test]
async fn a_noted_child_is_found_even_if_it_has_cleaned_its_environment() {
    let node = Node::new().await;
    let attempt = node.attempt(spec("echo $$; exec env -i /bin/sleep 1000"));
    let pid = orphaned(&node, &attempt);
    crate::node::until(|| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| env.is_empty()))
        .await;
    let driver = ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock));
    let (say, _said) = mpsc::channel();
    assert!(matches!(within(driver.recover(attempt, Arc::new(Lines(say)))).await, Recovered::Ended));
    assert!(!is_alive(&pid));
}

/// The same for work with limits, whose supervisor must not even be dropped: it would end it.
#[cfg(target_os = "linux")]
fn orphaned_within_limits(node: &Node, attempt: &Attempt) -> String {
    let (home, clock, attempt) = (Arc::clone(&node.home), Arc::clone(&node.clock), attempt.clone());
    let (say, said) = mpsc::channel();
    std::thread::spawn(move || {
        let daemon = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let driver = ProcessDriver::shell(home, Arc::clone(&clock));
        let text = daemon.block_on(async {
            std::mem::forget(driver.start(attempt, Arc::new(Lines(say))).await.unwrap());
            let mut text = String::new();
            while !text.contains("ready") {
                clock.sleep(Duration::from_millis(5)).await;
                text.extend(said.try_iter());
            }
            text
        });
        std::mem::forget(daemon);
        text
    })
    .join()
    .unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_hides_from_a_later_session_is_found_by_its_limits() {
    use super::limits::{can_be_had, groups_of, limited, pids};
    let node = Node::new().await;
    if !can_be_had(&node, "the end of hidden work of a dead daemon").await {
        return;
    }
    let script = "env -i setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'; echo ready; exec sleep 1000";
    let attempt = node.attempt(limited(script, pids(20)));
    let output = orphaned_within_limits(&node, &attempt);
    let hidden = output.lines().next().unwrap();
    assert!(is_alive(hidden) && !groups_of(&node, attempt.run.id).is_empty());
    let driver = ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock));
    let (say, _said) = mpsc::channel();
    let id = attempt.run.id;
    assert!(matches!(within(driver.recover(attempt, Arc::new(Lines(say)))).await, Recovered::Ended));
    assert!(!is_alive(hidden));
    assert_eq!(groups_of(&node, id), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_run_whose_daemon_died_is_lost() {
    use punctual_store::{RunStore as _, SessionStore as _, Store, TaskStore as _};
    let node = Node::new().await;
    let promise = node.begin(spec("echo $$; echo ready; exec sleep 1000")).await;
    node.wrote(promise.id(), "ready").await;
    let id = promise.id();
    // The daemon is gone as far as the store can tell; its process lives.
    let session = node.store.open_session("next").await.unwrap();
    let store = Arc::clone(&node.store);
    let pool = punctual_executor::Pool::builder(
        Arc::clone(&store) as Arc<dyn Store>,
        session,
        Arc::clone(&node.clock),
    )
    .driver(ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock)))
    .build();
    let run = store.run(id).await.unwrap().unwrap();
    let task = store.task_revision(run.task, run.revision).await.unwrap().unwrap();
    let run = within(pool.resume(punctual_executor::Dispatch { run, task })).await.unwrap();
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    let output = node.output(id);
    assert!(!is_alive(output.lines().next().unwrap()), "proven dead before it is called lost");
}
