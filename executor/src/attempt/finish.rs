//! Step: the hooks of the run's end. They come before the end is written: should the process die in between, the
//! run is found begun, judged again, and its hooks are asked again.

use super::phase::{self, Hooks, Phase};
use super::{Life, Sink};
use crate::driver::Attempt;
use crate::engine::Engine;
use crate::hook::Ending;
use crate::working::Working;
use punctual_model::{Run, RunEvent, RunState};
use punctual_store::Patch;
use std::sync::Arc;

/// Asks them if the run ends by this.
pub(super) async fn finish(life: &Life, event: RunEvent, patch: &Patch) {
    let Some(hooks) = &life.hooks else { return };
    let Some(state) = end_of(&life.attempt, event) else { return };
    let outcome = patch.outcome.clone().unwrap_or_default();
    let _ = Box::pin(phase::all(life, hooks, Phase::Stop(&Ending { state, outcome }))).await;
}

/// The state that an event ends the run in, if it does.
fn end_of(attempt: &Attempt, event: RunEvent) -> Option<RunState> {
    let life = attempt.run.life.apply(event).ok()?;
    life.state.is_terminal().then_some(life.state)
}

/// The same for a run that is about to be recorded as lost: nobody lives its attempt any more.
pub(crate) async fn ending_lost(engine: &Arc<Engine>, attempt: &Attempt, event: RunEvent) {
    if let Some(state) = end_of(attempt, event) {
        apart(engine, attempt, state).await;
    }
}

/// The same for a run that has ended in other hands than those of an attempt: canceled or replaced while it waited
/// for its next one. Its record has kept what they had stored. One that never began owes its hooks nothing.
pub(crate) async fn tell_hooks(engine: &Arc<Engine>, run: Run) -> Result<(), punctual_store::Error> {
    if engine.hooks.is_empty() || run.life.attempt == 0 || !run.state().is_terminal() {
        return Ok(());
    }
    match engine.store.task_revision(run.task, run.revision).await? {
        Some(task) => {
            let state = run.state();
            apart(engine, &Attempt::new(Arc::new(run), task), state).await;
        }
        None => {
            tracing::warn!(run.id = %run.id, "the definition of an ended run is gone; its hooks hear nothing");
        }
    }
    Ok(())
}

async fn apart(engine: &Arc<Engine>, attempt: &Attempt, state: RunState) {
    let Some(hooks) = Hooks::of(engine, attempt) else { return };
    let outcome = attempt.run.outcome.clone().unwrap_or_default();
    let life = Life {
        engine: Arc::clone(engine),
        attempt: Attempt { setup: hooks.setup(), ..attempt.clone() },
        // Nobody can give it orders; the hooks' own bound holds.
        working: Arc::new(Working::new(attempt.run.id, attempt.task.id)),
        sink: Arc::new(Sink::new(engine, attempt)),
        hooks: None,
        reattached: false,
        handle: None,
    };
    let hooks = &hooks;
    let _ = Box::pin(phase::all(&life, hooks, Phase::Stop(&Ending { state, outcome }))).await;
    if let Some(error) = life.sink.close().await.error {
        tracing::warn!(run.id = %attempt.run.id, error, "the output of stop hooks was not kept");
    }
}
