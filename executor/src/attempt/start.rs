//! Step: start the driver, unless the attempt is to stop before that.

use super::{Cause, Ended, Life, wait};
use crate::driver::{Handle, RunSink};
use crate::guard::guarded;
use crate::working::Order;
use punctual_clock::Wait;
use punctual_model::{Failure, FailureKind, Outcome};
use std::sync::Arc;

/// Starts it. A start that hangs is dropped when the run or the node stops or the time is up; by contract that
/// leaves nothing alive.
pub(super) async fn start(life: &Life, timeout: &mut Option<Wait>) -> Result<Box<dyn Handle>, Ended> {
    if let Some(order) = life.working.orders().strongest() {
        return Err(not_begun(order));
    }
    let Some(driver) = life.engine.driver(&life.attempt.task).cloned() else {
        let text = format!("there is no driver {:?} on this node", life.attempt.task.spec.work.driver());
        return Err(failed(Failure::new(FailureKind::Start, text)));
    };
    let sink: Arc<dyn RunSink> = Arc::<super::Sink>::clone(&life.sink);
    let started = tokio::select! {
        biased;
        started = guarded(driver.start(life.attempt.clone(), sink)) => started,
        reason = wait::told_to_stop(&life.working, timeout) => {
            let order = wait::intent(life, reason).await;
            return Err(not_begun(order));
        }
    };
    match started {
        Ok(Ok(handle)) => Ok(handle),
        Ok(Err(failure)) => Err(failed(failure)),
        Err(panic) => {
            let text = format!("the driver panicked: {panic}");
            Err(failed(Failure::new(FailureKind::Panic, text).recoverable()))
        }
    }
}

fn failed(failure: Failure) -> Ended {
    Ended { outcome: Outcome::failed(failure), cause: Cause::Itself }
}

fn not_begun(order: Order) -> Ended {
    let cause = match order {
        Order::Stop(why) => Cause::Stopped(why),
        Order::Interrupt => Cause::NotBegun,
        Order::Abandon => Cause::Unrecorded,
    };
    Ended { outcome: Outcome::default(), cause }
}
