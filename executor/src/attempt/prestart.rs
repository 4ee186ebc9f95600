//! Step: the hooks before the start, one after the other. What they make ready is laid together for the work.

use super::deadline::Deadline;
use super::phase::{self, Hooks};
use super::{Ended, Life, keep, wait};
use crate::guard::guarded;
use crate::hook::{Prestarted, Setup};
use punctual_model::{Failure, FailureKind};
use std::sync::Arc;

/// Asks them. The first failure ends the attempt; a hook that hangs is dropped when the run or the node stops or
/// the time is up.
pub(super) async fn prestart(life: &mut Life, deadline: &mut Deadline) -> Result<(), Ended> {
    let Some(mut hooks) = life.hooks.take() else { return Ok(()) };
    let asked = Box::pin(ask_all(life, &mut hooks, deadline)).await;
    life.hooks = Some(hooks);
    asked
}

async fn ask_all(life: &mut Life, hooks: &mut Hooks, deadline: &mut Deadline) -> Result<(), Ended> {
    let mut setup = Setup::default();
    for number in 0..hooks.list.len() {
        if let Some(order) = life.working.orders().strongest() {
            return Err(Ended::not_begun(order));
        }
        let name = hooks.list[number].name();
        let did = match hooks.local.done(name) {
            Some(done) => done.clone(),
            None => {
                let did = ask(life, hooks, number, deadline).await?;
                if hooks.local.remember(hooks.list[number].name(), did.clone()) {
                    keep::keep(life, hooks.local.stored()).await;
                }
                did
            }
        };
        setup.env.extend(did.env);
        setup.work_dir = did.work_dir.or(setup.work_dir);
        life.attempt.setup = Some(Arc::new(setup.clone()));
    }
    Ok(())
}

async fn ask(
    life: &Life,
    hooks: &Hooks,
    number: usize,
    deadline: &mut Deadline,
) -> Result<Prestarted, Ended> {
    let hook = &*hooks.list[number];
    let around = phase::around(life, hooks, hook);
    let asked = tokio::select! {
        biased;
        asked = guarded(hook.prestart(&around)) => asked,
        reason = wait::told_to_stop(life, deadline) => {
            let order = wait::intent(life, reason).await;
            return Err(Ended::not_begun(order));
        }
    };
    let failure = match asked {
        Ok(Ok(did)) => return Ok(did),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::new(FailureKind::Panic, format!("panicked: {panic}")).recoverable(),
    };
    phase::failed(life, hook, "prestart", failure.message.clone());
    let named = phase::failure(hook, failure.kind, &failure.message);
    Err(Ended::failed(Failure { recoverable: failure.recoverable, ..named }))
}
