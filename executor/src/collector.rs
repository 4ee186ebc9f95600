//! Takes the ends of attempts, writes all that wait in one commit, and then tells everybody.
//!
//! ```text
//! attempts ──ends──► collector ──one transition──► store
//!                        └──► promises, counters, log lines, the claimer
//! ```
//!
//! A commit is under way at most [`IN_FLIGHT`] times; what comes meanwhile goes together into the next one, so
//! nothing waits while there is nothing to wait for.

use crate::driver::Handle;
use crate::engine::Engine;
use crate::error::Error;
use crate::working::Working;
use jiff::Timestamp;
use punctual_faults::crash_point;
use punctual_model::event::EventKind;
use punctual_model::{Outcome, Run, RunEvent, Task};
use punctual_store::{Edge, EdgeAnswer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tracing::Span;

/// Commits of ends under way: while the disk works on some, the next are judged and written; more would only be smaller.
const IN_FLIGHT: usize = 4;

/// Most ends in one commit.
const BATCH: usize = 4096;

/// The end of one attempt, as it is to be written.
pub(crate) struct End {
    pub(crate) edge: Edge,
    pub(crate) task: Arc<Task>,
    pub(crate) working: Arc<Working>,
    /// How long it was at work.
    pub(crate) took: Duration,
    /// The attempt's span, for the line that tells its end.
    pub(crate) span: Span,
    /// What is told that the end is recorded.
    pub(crate) handle: Option<Box<dyn Handle>>,
}

/// Collects until the executor is over.
pub(crate) async fn run(engine: Arc<Engine>, mut ends: mpsc::UnboundedReceiver<End>) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    loop {
        let permit = tokio::select! {
            biased;
            () = engine.over.raised() => break,
            permit = Arc::clone(&in_flight).acquire_owned() => permit,
        };
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = engine.over.raised() => break,
            _ = ends.recv_many(&mut batch, BATCH) => {}
        }
        // Whoever is ready to run goes first and may have an end to add; if nobody is, nothing is lost.
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(end) = ends.try_recv()
        {
            batch.push(end);
        }
        let writing = Arc::clone(&engine);
        engine.spawn("the collector", async move {
            write(&writing, batch).await;
            drop(permit);
        });
    }
    // Nothing is written any more; whoever hands in an end from now on is only taken off the list. The engine itself
    // is let go of: it holds a sender, and with it the store would stay open for ever.
    let registry = Arc::clone(&engine.registry);
    drop(engine);
    while let Some(end) = ends.recv().await {
        registry.leave(std::iter::once((end.working, None)));
    }
}

/// Writes a batch of ends. A record that the store cannot take must not hold up the others: then they are
/// written one by one, and it without its outcome.
async fn write(engine: &Arc<Engine>, batch: Vec<End>) {
    let edges = batch.iter().map(|end| end.edge.clone()).collect();
    crash_point("executor.before_end");
    let answer = engine.checked(engine.store.transition(&engine.session, edges).await);
    crash_point("executor.after_end");
    match answer {
        Ok(answers) => settle(engine, batch, answers),
        Err(error) if engine.check().is_err() => abandon(engine, batch, &error),
        Err(error) if batch.len() == 1 => {
            for mut end in batch {
                tracing::error!(parent: &end.span, %error, "the end was not stored; trying without its details");
                end.edge.patch = punctual_store::Patch::default();
                let edge = vec![end.edge.clone()];
                match engine.checked(engine.store.transition(&engine.session, edge).await) {
                    Ok(answers) => settle(engine, vec![end], answers),
                    Err(error) => {
                        // An end that cannot be written stops us: to go on would leave the run at work for ever.
                        engine.fail(error.clone());
                        abandon(engine, vec![end], &error);
                    }
                }
            }
        }
        Err(_) => {
            for end in batch {
                Box::pin(write(engine, vec![end])).await;
            }
        }
    }
}

fn settle(engine: &Arc<Engine>, batch: Vec<End>, answers: Vec<EdgeAnswer>) {
    let mut left = Vec::with_capacity(batch.len());
    let mut waiting = false;
    engine.counting.change(|counters| {
        for (end, answer) in batch.into_iter().zip(answers) {
            let applied = matches!(answer, EdgeAnswer::Applied(_));
            let run = match answer {
                EdgeAnswer::Applied(run) => Some(run),
                EdgeAnswer::Stale(run) => {
                    tracing::warn!(parent: &end.span, state = %run.state().name(), event = ?end.edge.event,
                        "somebody else has gone on with the run");
                    Some(run)
                }
                EdgeAnswer::Unknown => {
                    tracing::warn!(parent: &end.span, "the run is not in the store any more");
                    None
                }
            };
            counters.ended(end.edge.patch.outcome.as_ref(), end.took);
            match (&run, end.edge.event) {
                // Whoever ended it has counted it, or nobody here has to.
                _ if !applied => {}
                (Some(run), _) if run.state().is_terminal() => {
                    counters.completed(&end.task.kind, run.state().name());
                    if let Some(EventKind::TaskPaused { failures }) = run.events.iter().last().map(|event| &event.kind) {
                        tracing::warn!(parent: &end.span, failures, "the task is paused: it failed too often in a row");
                    }
                }
                (_, RunEvent::Interrupted) => counters.interrupted += 1,
                (_, _) => counters.restarted += 1,
            }
            if let Some(handle) = end.handle {
                handle.recorded();
            }
            if let Some(run) = &run {
                waiting |= run.state().is_waiting();
                end.span.in_scope(|| tell(run, end.edge.patch.outcome.as_ref(), end.took));
            }
            left.push((end.working, run.map(Arc::new)));
        }
    });
    engine.registry.leave(left.into_iter());
    if waiting {
        engine.wake.notify_one();
    }
}

fn tell(run: &Run, outcome: Option<&Outcome>, took: Duration) {
    let error = outcome.and_then(|outcome| outcome.error.as_ref()).map(|failure| failure.message.as_str());
    let next: Option<Timestamp> = run.state().is_waiting().then(|| run.ready_at());
    tracing::info!(state = %run.state().name(), ?took, error, next = next.map(tracing::field::display), "attempt ended");
}

fn abandon(engine: &Engine, batch: Vec<End>, error: &Error) {
    for end in &batch {
        tracing::error!(parent: &end.span, %error, "the end was not recorded");
    }
    engine.registry.leave(batch.into_iter().map(|end| (end.working, None)));
}
