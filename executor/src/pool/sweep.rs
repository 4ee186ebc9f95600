//! Finds runs that the store says are at work under our session and that nobody here has: their hand-over was
//! lost with a task that died.

use super::Pool;
use crate::attempt;
use crate::driver::Attempt;
use crate::error::Error;
use crate::resume::end_lost;
use punctual_model::LostWhy;
use std::sync::{Arc, PoisonError};

/// Runs looked at in one page.
const PAGE: usize = 512;

impl Pool {
    /// Ends such runs as lost, or gives them another attempt where their task allows it; answers how many. To
    /// be called only while nothing is being handed over: between the write of a run that is `Starting` at once
    /// and its `execute`, it looks just like one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let engine = &self.engine;
        let epoch = engine.session.epoch;
        let detached = engine.detached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut after, mut count) = (None, 0);
        loop {
            let page = engine.store.begun_before(epoch.saturating_add(1), after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(last.id);
            for run in page {
                let known = engine.registry.is_working(run.id) || detached.contains(&run.id);
                if run.life.epoch != epoch || known {
                    continue;
                }
                let Some(task) = engine.store.task_revision(run.task, run.revision).await? else {
                    tracing::error!(run.id = %run.id, "a run at work has no definition");
                    continue;
                };
                let attempt = Attempt::new(Arc::new(run), task);
                let (event, patch) = attempt::lost(engine, &attempt, LostWhy::Vanished);
                attempt::ending_lost(engine, &attempt, event).await;
                end_lost(engine, &attempt, event, patch).await?;
                count += 1;
            }
        }
    }
}
