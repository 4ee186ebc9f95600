//! The end of a task: its tombstone, then its runs. Also goes on with what a crash left in the middle.

use crate::engine::Core;
use crate::error::Error;
use punctual_faults::crash_point;
use punctual_model::{CancelWhy, RunStateName, TaskId};
use punctual_store::RunFilter;
use std::sync::Arc;

/// Waiting runs canceled in one commit: some hundred kilobytes, so that other writers wait a few
/// milliseconds at most while a million runs go.
const BATCH: usize = 1_000;

/// Deletes a task and ends its runs; `false` if it was not there at that revision.
pub(crate) async fn delete(core: Arc<Core>, task: TaskId, revision: Option<u64>) -> Result<bool, Error> {
    let parts = &core.parts;
    let deleted = parts.store.delete_task(&parts.session, task, revision).await;
    if !deleted.map_err(|error| core.heed(error))? {
        return Ok(false);
    }
    crash_point("coordinator.after_tombstone");
    core.release(task);
    let ended = end_runs(&core, task).await?;
    tracing::info!(task.id = %task, waiting = ended.waiting, at_work = ended.at_work, "task deleted");
    Ok(true)
}

/// How many runs of a deleted task were ended, or told to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) waiting: usize,
    pub(crate) at_work: usize,
}

/// Ends the runs of a deleted task. No new ones can come, and waiting ones are claimed no more.
pub(crate) async fn end_runs(core: &Core, task: TaskId) -> Result<Ended, Error> {
    let parts = &core.parts;
    let mut ended = Ended::default();
    loop {
        let canceled = parts.store.cancel_waiting(&parts.session, task, CancelWhy::Deleted, BATCH).await;
        match canceled.map_err(|error| core.heed(error))?.len() {
            0 => break,
            some => ended.waiting += some,
        }
    }
    // A run that stops waiting now was claimed before the tombstone: it is found here.
    let states = vec![RunStateName::Starting, RunStateName::Running, RunStateName::Stopping];
    let mut after = None;
    loop {
        let filter = RunFilter {
            task: Some(task),
            states: states.clone(),
            after,
            limit: BATCH,
            ..RunFilter::default()
        };
        let page = parts.store.runs(&filter).await?;
        for run in &page.items {
            let canceled = parts.executor.cancel(run.id, CancelWhy::Deleted).await;
            core.pass_over("ending a run of a deleted task", canceled)?;
        }
        ended.at_work += page.items.len();
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(ended),
        }
    }
}
