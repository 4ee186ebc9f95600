//! Tells hooks of the ends that no attempt made: of runs that were canceled, replaced or deleted while they waited for
//! their next one, or in the moment at which they were to go on.
//!
//! The store keeps those runs in mind until they are told, also across restarts, so a stop hook is told at least once
//! whatever dies when. Started with the queue, when what an earlier session had begun is taken up; looks when it is
//! woken and never decides about a run.

use crate::attempt;
use crate::engine::Engine;
use crate::guard::guarded;
use punctual_model::RunId;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Runs whose hooks are told side by side: many wait for somebody else, and each may be a process.
const AT_ONCE: usize = 64;

/// Tells until the executor is over. What is cut off by that is told by the next session.
pub(crate) async fn run(engine: Arc<Engine>) {
    let (mut telling, mut told) = (JoinSet::new(), BTreeSet::new());
    // Those that cannot be told now are not tried again before the next start.
    let mut left = BTreeSet::new();
    loop {
        match engine.checked(engine.store.untold(AT_ONCE + left.len()).await) {
            Ok(runs) => {
                for run in runs {
                    if told.len() < AT_ONCE && !left.contains(&run) && told.insert(run) {
                        telling.spawn(tell(Arc::clone(&engine), run));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "whose hooks are to be told cannot be read"),
        }
        tokio::select! {
            biased;
            () = engine.over.raised() => return,
            Some(Ok((run, is_told))) = telling.join_next() => {
                told.remove(&run);
                if !is_told {
                    left.insert(run);
                }
            }
            () = engine.untold.notified() => {}
        }
    }
}

/// Tells the hooks of one run, and that they were told.
async fn tell(engine: Arc<Engine>, run: RunId) -> (RunId, bool) {
    let telling = async {
        if let Some(run) = engine.store.run(run).await? {
            attempt::tell_hooks(&engine, run).await?;
        }
        engine.store.told(&engine.session, vec![run]).await
    };
    let told =
        guarded(async { engine.checked(telling.await) }).await.map_err(|panic| format!("panicked: {panic}"));
    match told.and_then(|told| told.map_err(|error| error.to_string())) {
        Ok(()) => (run, true),
        Err(error) => {
            tracing::warn!(run.id = %run, error, "hooks of an ended run hear of it at the next start");
            (run, false)
        }
    }
}
