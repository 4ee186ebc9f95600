//! Step: start the driver, unless the attempt is to stop before that.

use super::deadline::Deadline;
use super::wait::Reason;
use super::{Ended, Life, wait};
use crate::driver::{Attempt, Driver, Handle, Recovered, RunSink};
use crate::guard::guarded;
use crate::hooks::environment;
use crate::working::Order;
use punctual_model::{Failure, FailureKind};
use std::sync::Arc;

/// Work that lives, and how it is to be stopped if that was said while it started.
pub(super) type Started = (Box<dyn Handle>, Option<Order>);

/// Starts it. A start that hangs is dropped when the run or the node stops or the time is up. What it had begun by
/// then is found as after a crash, and stopped like any other work: its run is not over, and its seat not free,
/// before nothing of it lives.
pub(super) async fn start(life: &Life, deadline: &mut Deadline) -> Result<Started, Ended> {
    if let Some(order) = life.working.orders().strongest() {
        return Err(Ended::not_begun(order));
    }
    let Some(driver) = life.engine.driver(&life.attempt.task).cloned() else {
        let text = format!("there is no driver {:?} on this node", life.attempt.task.spec.work.driver());
        return Err(Ended::failed(Failure::new(FailureKind::Start, text)));
    };
    let sink: Arc<dyn RunSink> = Arc::<super::Sink>::clone(&life.sink);
    let attempt = environment::fill(&life.attempt).map_err(Ended::failed)?;
    let started = tokio::select! {
        biased;
        started = guarded(driver.start(attempt.clone(), Arc::clone(&sink))) => started,
        // Seldom: a box of its own keeps the task of every attempt small.
        reason = wait::told_to_stop(life, deadline) => {
            return Box::pin(given_up(life, &*driver, attempt, sink, reason)).await;
        }
    };
    match started {
        Ok(Ok(handle)) => Ok((handle, None)),
        Ok(Err(failure)) => Err(Ended::failed(failure)),
        Err(panic) => {
            let text = format!("the driver panicked: {panic}");
            Err(Ended::failed(Failure::new(FailureKind::Panic, text).recoverable()))
        }
    }
}

/// Looks for what a dropped start has begun.
async fn given_up(
    life: &Life,
    driver: &dyn Driver,
    attempt: Attempt,
    sink: Arc<dyn RunSink>,
    reason: Reason,
) -> Result<Started, Ended> {
    let order = wait::intent(life, reason).await;
    match guarded(driver.recover(attempt, sink)).await {
        Ok(Recovered::Found(handle)) => Ok((handle, Some(order))),
        Ok(Recovered::Nothing) => Err(Ended::not_begun(order)),
        Ok(Recovered::Ended) => Err(Ended::unseen(order)),
        Err(panic) => {
            tracing::error!(panic, "a driver has panicked, and what it had begun may still be alive");
            Err(Ended::unseen(order))
        }
    }
}
