//! Writes down what the executor has to find again of a run after a restart of the node.

use super::Life;
use punctual_model::{Run, RunEvent};
use punctual_store::{Edge, Error, Fence, Patch};
use serde_json::Value;

/// Durable when it returns; whoever calls it knows that something has changed. What cannot be written is told in the
/// log only: the run goes on, and after a restart it is as if nothing had been kept.
pub(super) async fn keep(life: &Life, local: Value) {
    let (engine, run) = (&life.engine, &life.attempt.run);
    let size = local.to_string().len();
    if size > Run::MAX_LOCAL {
        tracing::error!(
            size,
            most = Run::MAX_LOCAL,
            "the local state of the run is too large and is not kept"
        );
        return;
    }
    let edge = Edge {
        run: run.id,
        fence: Fence::of(run),
        event: RunEvent::Noted,
        at: engine.clock.now(),
        patch: Patch { local: Some(local), ..Patch::default() },
    };
    match engine.store.transition(&engine.session, vec![edge]).await {
        // Stale: somebody else goes on with the run, and this attempt will hear of it.
        Ok(_) => {}
        Err(error @ (Error::Fenced { .. } | Error::Failed { .. })) => engine.fail(error.into()),
        Err(error) => tracing::error!(%error, "the local state of the run was not stored"),
    }
}
