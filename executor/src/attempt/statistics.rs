//! Beside the wait: looks at what the work takes of the machine, as often as its task wants it. Only the newest look is
//! kept, with the run at work; it is never written for its own sake. An attempt of a task that wants none pays nothing.
//!
//! No hook, because a hook has no hold of the work; the wait has.

use super::Life;
use crate::driver::Handle;
use std::pin::Pin;

/// Looks that go on as long as they are asked for.
pub(super) type Looking<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Looks now and then, if the definition that the attempt was started by says how often.
pub(super) fn looking<'a>(life: &'a Life, handle: &'a dyn Handle) -> Option<Looking<'a>> {
    let every = life.attempt.task.spec.stats_every?;
    Some(Box::pin(async move {
        loop {
            life.engine.clock.sleep(every).await;
            if let Some(usage) = handle.stats().await {
                life.sink.used(usage);
            }
        }
    }))
}

/// Goes on looking; never returns.
pub(super) async fn looks(looking: &mut Option<Looking<'_>>) {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}
