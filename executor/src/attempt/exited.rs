//! Step: the hooks after an exit, whatever made the work end.

use super::phase::{self, Phase};
use super::{Cause, Ended, Life};

/// Asks them, unless the work goes on without us or nothing of this can be recorded. What had ended well by itself
/// may fail by them.
pub(super) async fn exited(life: &Life, ended: &mut Ended) {
    let Some(hooks) = &life.hooks else { return };
    if matches!(ended.cause, Cause::Detached | Cause::Unrecorded) {
        return;
    }
    let fails = Box::pin(phase::all(life, hooks, Phase::Exited(&ended.outcome))).await;
    if ended.cause == Cause::Itself && ended.outcome.is_success() {
        ended.outcome.error = fails;
    }
}
