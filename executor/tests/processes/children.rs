//! What is so only of processes that are children of the daemon.

use super::Node;
use super::leftovers::Lines;
use crate::node::{is_alive, shell, until, within};
use punctual_clock::Clock;
use punctual_executor::Driver as _;
use punctual_executor::drivers::process::ProcessDriver;
use punctual_model::RunState;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn stopping_the_node_ends_its_processes_and_records_what_the_rules_say() {
    let node = Node::new().await;
    let script = "echo $$; echo ready; exec sleep 1000";
    let mut spec = shell(script);
    spec.name = "again".to_owned();
    let (once, again) = (node.begin(shell(script)).await, node.begin(spec.idempotent()).await);
    for promise in [&once, &again] {
        node.wrote(promise.id(), "ready").await;
    }
    let report = within(node.pool.stop(Duration::from_millis(50))).await;
    assert_eq!((report.interrupted.len(), report.left.len()), (2, 0));
    assert!(matches!(once.state().await.unwrap(), RunState::Lost { .. }));
    assert_eq!(again.state().await.unwrap(), RunState::Queued);
    for promise in [&once, &again] {
        let output = node.output(promise.id());
        assert!(!is_alive(output.lines().next().unwrap()));
    }
}

#[tokio::test]
async fn one_that_left_the_group_does_not_hold_it_either() {
    let node = Node::new().await;
    // Who is still on its way out of the group would be ended with it.
    let gone = node.path().join("gone").display().to_string();
    let script = format!(
        "setsid sh -c 'echo $$; : >{gone}; exec sleep 1000' & until [ -e {gone} ]; do sleep 0.02; done; echo end"
    );
    let run = node.shell(&script).await;
    assert_eq!(run.state(), RunState::Succeeded);
    let output = node.output(run.id);
    assert!(output.ends_with("end\n"), "{output}");
    let pid = output.lines().next().unwrap().to_owned();
    assert!(is_alive(&pid), "who leaves on purpose is not hunted at a normal end");
    // But the node finds it by its mark.
    let home = std::sync::Arc::clone(&node.home);
    let reaped = punctual_executor::drivers::process::ProcessDriver::reap_leftovers(&home, &*node.clock);
    assert_eq!(within(reaped).await.found, 1);
    assert!(!is_alive(&pid));
}

/// A clock on a machine that stands still again and again: who sleeps for less than a second is late already.
#[derive(Debug)]
struct Late(Arc<dyn Clock>);

impl Clock for Late {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn sleep_until(&self, deadline: jiff::Timestamp) -> punctual_clock::Wait {
        self.0.sleep_until(deadline)
    }
    fn sleep(&self, duration: Duration) -> punctual_clock::Wait {
        if duration < Duration::from_secs(1) {
            Box::pin(std::future::ready(()))
        } else {
            self.0.sleep(duration)
        }
    }
    fn jumped(&self) -> punctual_clock::Wait {
        self.0.jumped()
    }
}

#[tokio::test]
async fn what_was_written_last_is_read_also_where_everything_is_late() {
    let node = Node::new().await;
    let driver = ProcessDriver::shell(Arc::clone(&node.home), Arc::new(Late(Arc::clone(&node.clock))));
    let (say, said) = std::sync::mpsc::channel();
    let worker = "trap 'sleep 0.3; echo cleaned; exit' TERM; echo ready; while :; do sleep 0.02; done";
    let attempt = node.attempt(shell(&format!("sh -c \"{worker}\" & wait")));
    let handle = driver.start(attempt, Arc::new(Lines(say))).await.unwrap();
    let text = std::cell::RefCell::new(String::new());
    until(|| {
        text.borrow_mut().extend(said.try_iter());
        text.borrow().contains("ready")
    })
    .await;
    within(handle.kill("TERM", Duration::from_secs(60))).await.unwrap();
    within(handle.wait()).await;
    text.borrow_mut().extend(said.try_iter());
    assert!(text.borrow().contains("cleaned"), "{}", text.borrow());
}
