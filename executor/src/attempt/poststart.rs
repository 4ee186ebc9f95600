//! Step: the hooks after the start. They hold up nothing but what follows them: told to stop, they are dropped.

use super::deadline::Deadline;
use super::phase::{self, Phase};
use super::{Life, wait};
use punctual_model::Failure;

/// Asks them; answers why the work is to be ended again, if so.
pub(super) async fn poststart(life: &Life, deadline: &mut Deadline) -> Option<Failure> {
    let hooks = life.hooks.as_ref()?;
    wait::is_alive(life);
    let asked = async {
        tokio::select! {
            biased;
            fails = phase::all(life, hooks, Phase::Poststart) => fails,
            // The wait that follows hears the same at once.
            reason = wait::told_to_stop(life, deadline) => {
                tracing::info!(?reason, "hooks after the start were cut short");
                None
            }
        }
    };
    Box::pin(asked).await
}
