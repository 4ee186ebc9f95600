//! Keeps history within its bounds: by count soon after it has grown, by age once a day.
//!
//! Asleep while nothing is born. What is kept and what goes is the store's rule; this only asks for it, in
//! small steps, and has the output of what went removed. Output that is to go earlier than its run's record is
//! removed besides ([`early`]).

mod early;

pub(crate) use early::EarlyOutput;

use crate::engine::Core;
use crate::error::Error;
use crate::paging::MAX_PAGE;
use jiff::Timestamp;
use punctual_faults::crash_point;
use punctual_model::task::Retention;
use punctual_model::{RunId, TaskId};
use punctual_store::{self as store, RunFilter, TaskFilter};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long history may grow before it is looked at: many runs are then pruned in one commit.
const PAUSE: Duration = Duration::from_secs(10);
/// Ages are days long, so looking once a day is often enough.
const SWEEP_EVERY: Duration = Duration::from_secs(86_400);
/// When a node looks for the first time: one that is started anew each day has to look too, and the start is not the
/// moment for it.
const FIRST_SWEEP: Duration = Duration::from_secs(3600);
/// How often output is looked at that is to go by its age.
const AGED_OUTPUT_EVERY: Duration = Duration::from_secs(3600);
/// Tasks dealt with in one look; the rest is named again in the next.
const TASKS_A_LOOK: usize = 256;
/// Records removed in one commit: so few that new runs do not notice.
const PRUNED_A_COMMIT: usize = 200;
/// Old runs of deleted tasks looked at in one sweep; the next one goes on, since those found are gone.
const OLD_RUNS_A_SWEEP: usize = 100_000;

/// Prunes.
#[derive(Debug)]
pub(crate) struct Janitor {
    core: Arc<Core>,
}

/// What made the janitor look.
enum Wake {
    Stop,
    Grown,
    Daily,
    Hourly,
}

impl Janitor {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Works until it is told to stop, or nothing can be written any more.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let core = &self.core;
        let clock = &core.parts.clock;
        let mut sweep = clock.sleep(FIRST_SWEEP);
        let mut aged = clock.sleep(AGED_OUTPUT_EVERY);
        loop {
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => Wake::Stop,
                () = core.broken.cancelled() => return core.fatal().map_or(Ok(()), Err),
                () = &mut sweep => Wake::Daily,
                () = &mut aged => Wake::Hourly,
                () = core.grown.notified() => Wake::Grown,
            };
            let pruned = match wake {
                Wake::Stop => return Ok(()),
                Wake::Daily => {
                    sweep = clock.sleep(SWEEP_EVERY);
                    self.sweep().await
                }
                Wake::Hourly => {
                    aged = clock.sleep(AGED_OUTPUT_EVERY);
                    self.remove_early(core.early.all()).await
                }
                Wake::Grown => {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(()),
                        () = clock.sleep(PAUSE) => {}
                    }
                    self.run_once().await
                }
            };
            match pruned {
                Ok(0) => {}
                Ok(pruned) => tracing::debug!(pruned, "history pruned"),
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => tracing::warn!(%error, "history could not be pruned, tried again later"),
            }
        }
    }

    /// Prunes the tasks whose history has outgrown its count, and removes output that has; answers of how many runs.
    pub(crate) async fn run_once(&self) -> Result<usize, Error> {
        let mut pruned = 0;
        loop {
            let overgrown = self.core.parts.store.overgrown(TASKS_A_LOOK);
            for task in &overgrown {
                pruned += self.prune(*task).await?;
            }
            if overgrown.len() < TASKS_A_LOOK {
                break;
            }
        }
        Ok(pruned + self.remove_early(self.core.early.grown()).await?)
    }

    /// Has output removed that goes before its records; answers of how many runs.
    async fn remove_early(&self, tasks: Vec<TaskId>) -> Result<usize, Error> {
        let mut removed = 0;
        for task in tasks {
            let gone = self.core.early.remove(&self.core, task).await;
            removed += self.core.pass_over("removing old output", gone)?.unwrap_or_default();
        }
        Ok(removed)
    }

    /// Prunes every task by age, and what is left of deleted ones.
    pub(crate) async fn sweep(&self) -> Result<usize, Error> {
        let store = &self.core.parts.store;
        let mut pruned = 0;
        let mut after = None;
        loop {
            let page = store.tasks(&TaskFilter { after, limit: MAX_PAGE, ..TaskFilter::default() }).await?;
            for stored in &page.items {
                pruned += self.prune(stored.task.id).await?;
                if stored.task.spec.output.goes_early() {
                    pruned += self.core.early.remove(&self.core, stored.task.id).await?;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        for task in self.tasks_of_old_runs().await? {
            pruned += self.prune(task).await?;
        }
        Ok(pruned)
    }

    /// Deleted tasks are in no list, but the oldest runs lead to them.
    async fn tasks_of_old_runs(&self) -> Result<BTreeSet<TaskId>, Error> {
        let parts = &self.core.parts;
        let before = parts.clock.now().saturating_sub(Retention::AGE).unwrap_or(Timestamp::MIN);
        let mut tasks = BTreeSet::new();
        let (mut after, mut seen) = (None, 0);
        loop {
            let filter = RunFilter { oldest_first: true, after, limit: MAX_PAGE, ..RunFilter::default() };
            let page = parts.store.runs(&filter).await?;
            let old = page.items.iter().take_while(|run| run.accepted_at < before);
            let found = old.clone().count();
            tasks.extend(old.map(|run| run.task));
            seen += found;
            match page.next {
                Some(next) if found == page.items.len() && seen < OLD_RUNS_A_SWEEP => after = Some(next),
                _ => return Ok(tasks),
            }
        }
    }

    async fn prune(&self, task: TaskId) -> Result<usize, Error> {
        let parts = &self.core.parts;
        let mut pruned = 0;
        loop {
            crash_point("coordinator.before_prune");
            let answer = parts.store.prune(&parts.session, task, PRUNED_A_COMMIT).await;
            crash_point("coordinator.after_prune");
            let answer = self.core.pass_over("pruning the history of a task", answer)?;
            let store::Pruned { runs, more } = answer.unwrap_or_default();
            self.remove_output(&runs).await;
            pruned += runs.len();
            // A step that removes nothing would promise more for ever.
            if !more || runs.is_empty() {
                return Ok(pruned);
            }
        }
    }

    async fn remove_output(&self, runs: &[RunId]) {
        if !runs.is_empty() {
            self.core.parts.output.remove(runs).await;
        }
    }
}
