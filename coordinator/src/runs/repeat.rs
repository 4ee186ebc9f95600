//! Once more: the retry of a run that has ended, and the resumption of one that was lost.

use super::{Accepted, definition_of, log_accepted};
use crate::engine::{Core, unbroken};
use crate::error::Error;
use crate::paging::MAX_PAGE;
use crate::tasks::Tasks;
use jiff::Timestamp;
use punctual_executor::Dispatch;
use punctual_model::{Life, Run, RunId, RunState, Task, TaskId, Trigger, validate};
use punctual_store::{Enqueued, RunFilter};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most runs that one bulk retry makes. Whoever wants more asks again: all of them are held in memory at once.
pub const MAX_BULK_RETRY: usize = 10_000;

/// What a bulk retry did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkRetry {
    /// The new runs, in order of the logical times that they repeat.
    pub runs: Vec<RunId>,
    /// Those that were not repeated since the task does not take their parameters any more.
    pub refused: Vec<RunId>,
    /// There were more than [`MAX_BULK_RETRY`]; ask again once these have ended.
    pub more: bool,
}

impl Tasks {
    /// Runs once more for the same logical time, with the same parameters and the current definition: a new
    /// run with a link to the old one. Its parameters are judged as if somebody had asked for it: a definition that
    /// takes others by now is not given work that it would not accept.
    ///
    /// # Errors
    /// [`Error::RunNotFound`], [`Error::TaskNotFound`] if its task was deleted, [`Error::NotFinished`],
    /// [`Error::RetryUnfinished`], [`Error::NotRepeatable`], [`Error::OtherParameters`], or the store's.
    pub async fn retry(&self, run: RunId) -> Result<Accepted, Error> {
        let old = self.run(run).await?;
        refuse_follow_up(&old)?;
        match old.state() {
            RunState::Missed(_) => {
                let why =
                    "stands for due times that passed unseen, run the task for each logical time instead";
                return Err(Error::NotRepeatable { run, why });
            }
            state if !state.is_terminal() => return Err(Error::NotFinished(run)),
            _ => {}
        }
        self.repeat(old, |of| Trigger::Retry { of }, |_| Value::Null).await
    }

    /// Goes on with a run that was lost: a new run with the state that the old one had saved.
    ///
    /// # Errors
    /// As [`Self::retry`]; [`Error::NotRepeatable`] for a run that was not lost.
    pub async fn resume_run(&self, run: RunId) -> Result<Accepted, Error> {
        let old = self.run(run).await?;
        refuse_follow_up(&old)?;
        match old.state() {
            RunState::Lost { .. } => {}
            state if !state.is_terminal() => return Err(Error::NotFinished(run)),
            _ => {
                let why = "was not lost, retry it instead";
                return Err(Error::NotRepeatable { run, why });
            }
        }
        self.repeat(old, |of| Trigger::Resume { of }, |old| old.saved.clone()).await
    }

    /// Retries what went wrong with a task: for each logical time at or after `since` whose newest run failed,
    /// timed out or was lost, one new run.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`], or the store's.
    pub async fn retry_failed(&self, task: TaskId, since: Timestamp) -> Result<BulkRetry, Error> {
        let stored = self.get(task).await?;
        let newest = self.newest_since(task, since).await?;
        let failed = newest.into_values().filter(|run| run.state().is_failure());
        let declared = &stored.task.spec.parameters;
        let taken = |run: &Run| validate::run_parameters(declared, &run.params).as_slice().is_empty();
        let (mut failed, others): (Vec<Run>, Vec<Run>) = failed.partition(taken);
        let refused = others.iter().map(|run| run.id).collect();
        let more = failed.len() > MAX_BULK_RETRY;
        failed.truncate(MAX_BULK_RETRY);
        let core = Arc::clone(&self.core);
        let runs = unbroken(async move { retry_all(&core, &stored.task, failed).await }).await?;
        Ok(BulkRetry { runs, refused, more })
    }

    async fn repeat(
        &self,
        old: Run,
        trigger: impl FnOnce(RunId) -> Trigger,
        saved: impl FnOnce(&Run) -> Value,
    ) -> Result<Accepted, Error> {
        let stored = self.get(old.task).await?;
        if let Some(retry) = self.unfinished_repeat(&old).await? {
            return Err(Error::RetryUnfinished { retry, scheduled_for: old.scheduled_for });
        }
        let judged = validate::run_parameters(&stored.task.spec.parameters, &old.params);
        if !judged.as_slice().is_empty() {
            return Err(Error::OtherParameters { run: old.id, why: judged.to_string() });
        }
        let saved = saved(&old);
        let run = again(&self.core, &stored.task, &old, trigger(old.id), saved);
        self.accept(stored.task, run).await
    }

    /// A repetition of this run that is still under way. Only the unfinished runs that the store names are
    /// looked at: behind a few dozen waiting ones a second repetition waits its turn like any other run.
    async fn unfinished_repeat(&self, old: &Run) -> Result<Option<RunId>, Error> {
        let store = &self.core.parts.store;
        let unfinished = store.unfinished(old.task).await?;
        for id in unfinished.begun.into_iter().chain(unfinished.waiting) {
            let run = self.core.pass_over("reading an unfinished run", store.run(id).await)?;
            let Some(run) = run.flatten() else { continue };
            match run.trigger {
                Trigger::Retry { of } | Trigger::Resume { of } if of == old.id => return Ok(Some(id)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The newest run of each logical time.
    async fn newest_since(&self, task: TaskId, since: Timestamp) -> Result<BTreeMap<Timestamp, Run>, Error> {
        let mut newest: BTreeMap<Timestamp, Run> = BTreeMap::new();
        let mut after = None;
        loop {
            let filter = RunFilter {
                task: Some(task),
                from: Some(since),
                oldest_first: true,
                after,
                limit: MAX_PAGE,
                ..RunFilter::default()
            };
            let page = self.core.parts.store.runs(&filter).await?;
            for run in page.items.into_iter().filter(|run| run.trigger.follows().is_none()) {
                newest.insert(run.scheduled_for, run);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(newest),
            }
        }
    }
}

/// A run that tells of another one is about that moment; whoever repeats what it told of hears of it anew.
fn refuse_follow_up(run: &Run) -> Result<(), Error> {
    match run.trigger.follows() {
        Some(_) => Err(Error::NotRepeatable { run: run.id, why: "only tells of the end of another run" }),
        None => Ok(()),
    }
}

async fn retry_all(core: &Core, task: &Arc<Task>, failed: Vec<Run>) -> Result<Vec<RunId>, Error> {
    let parts = &core.parts;
    let mut made = Vec::with_capacity(failed.len());
    for chunk in failed.chunks(MAX_PAGE) {
        let retry = |old: &Run| again(core, task, old, Trigger::Retry { of: old.id }, Value::Null);
        let runs: Vec<Run> = chunk.iter().map(retry).collect();
        let reservation = parts.executor.reserve(task, runs.len());
        let answers = parts.store.enqueue(&parts.session, runs, reservation.count()).await;
        let mut batch = Vec::with_capacity(chunk.len());
        for answer in answers.map_err(|error| core.heed(error))? {
            match answer {
                Enqueued::Accepted(run) => {
                    log_accepted(task, &run);
                    made.push(run.id);
                    batch.push(Dispatch { task: definition_of(core, &run, Arc::clone(task)).await?, run });
                }
                // They carry no key, so this cannot be.
                Enqueued::Existing(run) => made.push(run.id),
                Enqueued::TaskGone => return Err(Error::TaskNotFound),
            }
        }
        core.born(task, chunk.len());
        parts.executor.execute(batch, reservation).await.map_err(|error| core.heed(error))?;
    }
    Ok(made)
}

/// A new run for the logical time of an old one.
fn again(core: &Core, task: &Task, old: &Run, trigger: Trigger, saved: Value) -> Run {
    let now = core.parts.clock.now();
    Run {
        id: core.next_run(),
        task: task.id,
        revision: task.revision,
        trigger,
        scheduled_for: old.scheduled_for,
        run_at: now,
        accepted_at: now,
        life: Life::born(RunState::Queued),
        started_at: None,
        finished_at: None,
        forced: false,
        params: old.params.clone(),
        idempotency_key: None,
        trace: None,
        usage: None,
        restarts: Default::default(),
        outcome: None,
        saved,
        local: Value::Null,
        events: Default::default(),
    }
}
