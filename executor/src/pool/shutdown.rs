//! Stopping the node: the queue first, then the work, then everybody who waits.

use super::Pool;
use crate::error::Error;
use crate::working::Order;
use punctual_model::RunId;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// How long work may take to end once it was told to: its own grace, cut to ten seconds, the proof that killed
/// processes are gone, and one more try.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a stop left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Runs that were at work when the grace was over and were told to end: put back into the queue, lost, or
    /// ended in that moment.
    pub interrupted: Vec<RunId>,
    /// Runs whose processes go on by themselves; the next start takes them up.
    pub detached: Vec<RunId>,
    /// Attempts that did not end. The next start judges their runs.
    pub left: Vec<RunId>,
    /// Runs that were at work in the store and in nobody's hands here.
    pub vanished: usize,
    /// Runs that ended since the start, by type and state.
    pub completed: u64,
    /// Why the end of the work could not be recorded, if so.
    pub error: Option<Error>,
}

impl Pool {
    /// Stops: no more claims; work may end by itself within the grace, or is left to the next start before that if it
    /// goes on by itself and has been at work for ten seconds; then it is told to end, and
    /// what was cut short goes back into the queue if its task allows that, else it is lost. Whoever waits for
    /// a run that has not ended gets [`Error::Stopped`]. Twice is harmless.
    pub async fn stop(&self, grace: Duration) -> StopReport {
        let engine = &self.engine;
        engine.stopping.raise();
        let claimer = self.claimer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(claimer) = claimer
            && let Err(error) = claimer.await
        {
            tracing::error!(%error, "the claimer has died");
        }
        let mut report = StopReport::default();
        engine.registry.let_go();
        let given_up = engine.clock.sleep(grace);
        tokio::select! {
            biased;
            () = engine.registry.idle() => {}
            () = engine.over.raised() => {}
            () = given_up => {}
        }
        report.interrupted = engine.registry.working_runs();
        engine.registry.order_all(Order::Interrupt);
        let patience = engine.clock.sleep(PATIENCE);
        tokio::select! {
            biased;
            () = engine.registry.idle() => {}
            () = patience => report.left = engine.registry.working_runs(),
        }
        let detached = engine.detached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        report.interrupted.retain(|run| !detached.contains(run));
        report.detached = detached.into_iter().collect();
        if engine.check().is_ok() {
            match self.sweep().await {
                Ok(vanished) => report.vanished = vanished,
                Err(error) => tracing::error!(%error, "looking for vanished runs failed"),
            }
        }
        let completed: BTreeMap<_, _> = engine.counting.snapshot().completed;
        report.completed = completed.values().sum();
        report.error = engine.check().err().filter(|error| *error != Error::Stopped);
        if !report.left.is_empty() {
            tracing::error!(left = ?report.left, "work that did not end was left behind");
        }
        engine.fail(Error::Stopped);
        report
    }
}
