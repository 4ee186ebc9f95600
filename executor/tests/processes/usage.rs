//! What work takes of the machine: seen while it lives, and known of its end.

use super::Node;
use super::kept::{end, left_alone, next};
use crate::node::{gate, shell, within};
use punctual_model::{RunState, TaskSpec, Usage};
use punctual_store::RunStore as _;
use std::time::Duration;

/// So much processor time is taken by [`BURN`] on any machine; it is some ten times as much on most.
const LEAST: Duration = Duration::from_millis(10);

/// A child of a child takes processor time, and five megabytes at least.
const BURN: &str = "sh -c \"sh -c 'i=0; while [ \\$i -lt 200000 ]; do i=\\$((i+1)); done; x=\\$(head -c 5000000 /dev/zero | tr \\\"\\\\0\\\" x)'\"";

fn burning(behind: &str) -> TaskSpec {
    shell(&format!("{BURN}; echo ready; {behind}"))
}

fn took(usage: Usage) -> Duration {
    usage.user + usage.system
}

#[tokio::test]
async fn an_end_tells_what_all_processes_took_that_somebody_waited_for() {
    let node = Node::new().await;
    let run = node.run(burning("exit 3")).await;
    let usage = run.outcome.unwrap().usage.unwrap();
    assert!(took(usage) >= LEAST && usage.memory >= 5_000_000, "{usage:?}");
    assert_eq!(run.usage, None, "a look at what lives is none at what has ended");
    // Who takes nothing is told to have taken little.
    let idle = node.shell("true").await.outcome.unwrap().usage.unwrap();
    assert!(took(idle) < took(usage) && idle.memory < usage.memory, "{idle:?}, {usage:?}");
}

#[tokio::test]
async fn what_ended_while_no_daemon_was_there_is_known_as_well() {
    let node = Node::new().await;
    let gate = gate(node.path());
    let id = left_alone(&node, burning(&format!("cat {} >/dev/null", gate.display()))).await;
    std::fs::write(&gate, "go\n").unwrap();
    let (pool, _) = next(&node, id).await;
    let run = end(&pool, id).await;
    assert_eq!(run.state(), RunState::Succeeded);
    let usage = run.outcome.unwrap().usage.unwrap();
    assert!(took(usage) >= LEAST && usage.memory >= 5_000_000, "{usage:?}");
}

#[tokio::test]
async fn what_lives_is_looked_at_as_often_as_its_task_wants_it() {
    let node = Node::new().await;
    let gate = gate(node.path());
    let mut spec = burning(&format!("cat {} >/dev/null", gate.display()));
    spec.stats_every = Some(Duration::from_millis(50));
    let promise = node.begin(spec).await;
    node.wrote(promise.id(), "ready").await;
    let seen = within(async {
        loop {
            let run = node.store.run(promise.id()).await.unwrap().unwrap();
            // The first look may have come before anything was done.
            match run.usage {
                Some(usage) if took(usage) >= LEAST => break usage,
                _ => node.clock.sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let seen = seen.await;
    assert!(seen.memory > 0, "{seen:?}");
    std::fs::write(&gate, "go\n").unwrap();
    let run = within(promise.wait()).await.unwrap();
    assert_eq!((run.state(), run.usage), (RunState::Succeeded, None));
}
