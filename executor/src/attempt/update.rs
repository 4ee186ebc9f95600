//! What a changed definition means for work that is alive. Restart policy, timeout and the way it is killed are
//! read when they are needed and so hold at once; the hooks hear of the change; what the work was made from holds
//! from the next attempt on, and the run's history says so.

use super::Life;
use super::phase::{self, Phase};
use crate::driver::RunSink as _;
use punctual_model::event::EventKind;
use punctual_model::{Task, TaskSpec};
use std::pin::Pin;
use std::sync::Arc;

/// A change that is being followed.
pub(super) type Following<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Tells the run's history, then the hooks.
pub(super) fn update(life: &Life, newest: Arc<Task>) -> Following<'_> {
    Box::pin(async move {
        let newest = newest.of_run(&life.attempt.run);
        let waits = waits(&life.attempt.task.spec, &newest.spec);
        tracing::info!(revision = newest.revision, ?waits, "the definition has changed");
        life.sink.event(told(newest.revision, &waits));
        if let Some(hooks) = &life.hooks {
            phase::all(life, hooks, Phase::Update(&newest)).await;
        }
    })
}

/// Returns when the change is followed; never, if there is none.
pub(super) async fn followed(following: &mut Option<Following<'_>>) {
    match following {
        Some(change) => {
            change.await;
            *following = None;
        }
        None => std::future::pending().await,
    }
}

/// The parts of the definition that the next attempt will be the first to have.
fn waits(used: &TaskSpec, newest: &TaskSpec) -> Vec<&'static str> {
    let parts = [
        ("work", used.work != newest.work),
        ("hooks", used.hooks != newest.hooks),
        ("artifacts", used.artifacts != newest.artifacts),
        ("output", (used.max_output, used.output) != (newest.max_output, newest.output)),
    ];
    parts.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

fn told(revision: u64, waits: &[&'static str]) -> EventKind {
    match waits {
        [] => EventKind::Updated { revision },
        waits => EventKind::UpdateDeferred { revision, parts: waits.join(", ") },
    }
}
