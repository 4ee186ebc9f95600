//! Gives work the signals that somebody asked for, one after the other, and notes each that it got in the run's record.

use super::Life;
use super::sink::bounded;
use super::update::Following;
use crate::driver::Handle;
use crate::guard::guarded;
use punctual_model::RunEvent;
use punctual_model::event::{Event, EventKind};
use punctual_store::{Edge, Error, Fence, Patch};

/// Gives all that are there.
pub(super) fn give<'a>(life: &'a Life, handle: &'a dyn Handle) -> Following<'a> {
    Box::pin(async move {
        while let Some(next) = life.working.next_signal() {
            let given = guarded(handle.signal(&next.name)).await;
            let given = given.unwrap_or_else(|panic| Err(format!("the driver panicked: {panic}")));
            if given.is_ok() {
                note(life, next.name).await;
            }
            // Nobody may wait for it any more.
            let _ = next.answer.send(given);
        }
    })
}

/// Durable when it returns: who asked is told only of what the record says as well.
async fn note(life: &Life, signal: String) {
    let (engine, run, at) = (&life.engine, &life.attempt.run, life.engine.clock.now());
    let kind = bounded(EventKind::Signaling { signal, reason: String::new() });
    let patch = Patch { events: vec![Event { at, kind }], ..Patch::default() };
    let edge = Edge { run: run.id, fence: Fence::of(run), event: RunEvent::Noted, at, patch };
    match engine.store.transition(&engine.session, vec![edge]).await {
        Ok(_) => engine.registry.happened(run.id),
        Err(error @ (Error::Fenced { .. } | Error::Failed { .. })) => engine.fail(error.into()),
        Err(error) => tracing::error!(%error, "a signal that the work got is not in the record"),
    }
}
