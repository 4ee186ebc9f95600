//! A daemon that stands still while it comes back.

use super::Node;
use super::kept::{end, left_alone, next_by};
use crate::node::{gate, shell};
use punctual_clock::{Clock, Wait};
use punctual_model::{Exit, RunState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A clock on a machine that stands still for the first few waits of a second and more: they are over at once.
#[derive(Debug)]
struct Stalled(Arc<dyn Clock>, AtomicU32);

impl Clock for Stalled {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn sleep_until(&self, deadline: jiff::Timestamp) -> Wait {
        self.0.sleep_until(deadline)
    }
    fn sleep(&self, duration: Duration) -> Wait {
        let still = |left: u32| left.checked_sub(1);
        let is_long = duration >= Duration::from_secs(1);
        if is_long && self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, still).is_ok() {
            Box::pin(std::future::ready(()))
        } else {
            self.0.sleep(duration)
        }
    }
    fn jumped(&self) -> Wait {
        self.0.jumped()
    }
}

#[tokio::test]
async fn a_daemon_that_stood_still_while_it_came_back_does_not_give_up_on_a_shim_that_had_no_time_to_answer()
{
    let node = Node::new().await;
    let gate = gate(node.path());
    let script = format!("echo ready; cat {} >/dev/null; exit 7", gate.display());
    let id = left_alone(&node, shell(&script)).await;
    let clock = Stalled(Arc::clone(&node.clock), AtomicU32::new(3));
    let (pool, run) = next_by(&node, id, Arc::new(clock)).await;
    assert!(run.state().is_at_work());
    std::fs::write(&gate, "go\n").unwrap();
    let run = end(&pool, id).await;
    assert_eq!((run.state(), run.outcome.unwrap().exit), (RunState::Failed, Some(Exit::Code(7))));
}
