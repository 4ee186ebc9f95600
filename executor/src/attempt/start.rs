//! Step: start the driver, unless the attempt is to stop before that.

use super::deadline::Deadline;
use super::{Ended, Life, wait};
use crate::driver::{Handle, RunSink};
use crate::guard::guarded;
use crate::hooks::environment;
use punctual_model::{Failure, FailureKind};
use std::sync::Arc;

/// Starts it. A start that hangs is dropped when the run or the node stops or the time is up; by contract that
/// leaves nothing alive.
pub(super) async fn start(life: &Life, deadline: &mut Deadline) -> Result<Box<dyn Handle>, Ended> {
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
        started = guarded(driver.start(attempt, sink)) => started,
        reason = wait::told_to_stop(life, deadline) => {
            let order = wait::intent(life, reason).await;
            return Err(Ended::not_begun(order));
        }
    };
    match started {
        Ok(Ok(handle)) => Ok(handle),
        Ok(Err(failure)) => Err(Ended::failed(failure)),
        Err(panic) => {
            let text = format!("the driver panicked: {panic}");
            Err(Ended::failed(Failure::new(FailureKind::Panic, text).recoverable()))
        }
    }
}
