//! Work that lives before its start was heard of, in the hands of shims.

use super::Node;
use super::kept::{end, files, next, reattached};
use crate::node::{gate, is_alive, noted, shell, until, within};
use async_trait::async_trait;
use punctual_executor::drivers::process::ProcessDriver;
use punctual_executor::{
    Attempt, Class, Dispatch, Driver, Executor as _, Handle, Outputs, Pool, Recovered, Reservation,
    RunPromise, RunSink,
};
use punctual_model::{CancelWhy, Failure, LostWhy, RunState, TaskSpec};
use punctual_store::{Enqueued, RunStore as _, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Starts work, and does not hear that it lives: a daemon that stands still at that moment.
struct HardOfHearing {
    driver: ProcessDriver,
    /// Where the node is; its shims note there whom they keep, which is before the work begins.
    directory: PathBuf,
}

#[async_trait]
impl Driver for HardOfHearing {
    fn name(&self) -> &'static str {
        self.driver.name()
    }

    fn class(&self) -> Class {
        self.driver.class()
    }

    async fn start(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Result<Box<dyn Handle>, Failure> {
        let run = attempt.run.id;
        let mut start = self.driver.start(attempt, sink);
        std::future::poll_fn(|context| {
            if noted(&self.directory, run).is_none() {
                context.waker().wake_by_ref();
                assert!(start.as_mut().poll(context).is_pending(), "it was told of work that nobody noted");
            }
            Poll::Pending
        })
        .await
    }

    async fn recover(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Recovered {
        self.driver.recover(attempt, sink).await
    }
}

/// A daemon in the place of the node's own that does not hear that its work lives; and the work, which does.
async fn unheard(node: &Node, spec: TaskSpec) -> (Pool, Arc<dyn RunPromise>) {
    within(node.pool.stop(Duration::ZERO)).await;
    let session = node.session.clone();
    let driver = ProcessDriver::shell(Arc::clone(&node.home), Arc::clone(&node.clock));
    let pool =
        Pool::builder(Arc::clone(&node.store) as Arc<dyn Store>, session.clone(), Arc::clone(&node.clock))
            .driver(HardOfHearing { driver, directory: node.path().to_owned() })
            .outputs(Outputs::in_directory(node.path().join("output")))
            .build();
    pool.start();
    let task = node.task(spec).await;
    let run = node.run_of(&task);
    let answer = node.store.enqueue(&session, vec![run], 0).await.unwrap().remove(0);
    let Enqueued::Accepted(run) = answer else { panic!("{answer:?}") };
    let dispatch = Dispatch { run, task };
    let promise = pool.execute_promised(vec![dispatch], Reservation::none()).await.unwrap().remove(0);
    node.wrote(promise.id(), "ready").await;
    (pool, promise)
}

/// Found by the crash tests: the run was over and the next one of its task at work before this one's process had gone.
#[tokio::test]
async fn tr08_work_that_lives_before_its_start_was_heard_of_is_ended_before_its_run_is() {
    let node = Node::new().await;
    let script = "trap 'echo bye; exit 3' TERM; echo $$; echo ready; while :; do sleep 0.05; done";
    let (_pool, promise) = unheard(&node, shell(script)).await;
    let pid = node.output(promise.id()).lines().next().unwrap().to_owned();
    assert!(is_alive(&pid));
    promise.cancel().await.unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert!(!is_alive(&pid));
    assert_eq!(run.state(), RunState::Canceled { why: CancelWhy::Asked });
    assert!(node.output(run.id).contains("bye\n"), "it had its grace");
    until(|| files(&node).is_empty()).await;
}

/// And when the node stops, it is not begun a second time.
#[tokio::test]
async fn work_that_lives_before_its_start_was_heard_of_is_found_by_the_next_daemon() {
    let node = Node::new().await;
    let gate = gate(node.path());
    let script = format!("echo ready; cat {} >/dev/null; echo bye", gate.display());
    let (pool, promise) = unheard(&node, shell(&script)).await;
    let report = within(pool.stop(Duration::ZERO)).await;
    assert_eq!(report.left, []);
    let (pool, run) = next(&node, promise.id()).await;
    assert_eq!((run.life.attempt, reattached(&run)), (1, 1));
    std::fs::write(&gate, "go\n").unwrap();
    let run = end(&pool, run.id).await;
    assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 1));
    assert_eq!(node.output(run.id), "ready\nbye\n");
}

/// What keeps it dies in that moment: it has begun, and nobody has seen its end.
#[tokio::test]
async fn work_that_goes_unseen_before_its_start_was_heard_of_is_lost_and_not_begun_again() {
    let node = Node::new().await;
    let (pool, promise) = unheard(&node, shell("echo $$; echo ready; exec sleep 1000")).await;
    let pid = node.output(promise.id()).lines().next().unwrap().to_owned();
    let shim = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let shim = shim.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().to_owned();
    assert!(std::process::Command::new("kill").args(["-KILL", &shim]).status().unwrap().success());
    until(|| !is_alive(&shim)).await;
    let report = within(pool.stop(Duration::ZERO)).await;
    assert_eq!(report.left, []);
    let run = node.store.run(promise.id()).await.unwrap().unwrap();
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::Interrupted });
    assert!(!is_alive(&pid));
}
