//! Runs that somebody asks for, and what can be asked of runs: once more, on from where it was lost, no more.
//!
//! Each request is written first and handed to the executor then; both happen even if the caller goes away in
//! between. Manual runs pass no schedule and no overlap policy; limits hold for them in the queue, unless forced.

mod ask;
mod counts;
mod history;
mod repeat;

pub use counts::{MAX_COUNTED, RunCounts};
pub use history::RunQuery;
pub use repeat::{BulkRetry, MAX_BULK_RETRY};

use crate::engine::{Core, unbroken};
use crate::error::Error;
use crate::tasks::Tasks;
use jiff::Timestamp;
use punctual_executor::{Dispatch, Reservation, RunPromise};
use punctual_faults::crash_point;
use punctual_model::{CancelWhy, Life, Run, RunId, RunState, Task, TaskId, TraceParent, Trigger, validate};
use punctual_store::{Enqueued, StoredTask};
use serde_json::Value;
use std::sync::Arc;

/// A run that somebody wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunRequest {
    /// An object that is laid over the task's arguments; what may be in it says [`TaskSpec::parameters`].
    ///
    /// [`TaskSpec::parameters`]: punctual_model::TaskSpec::parameters
    pub params: Value,
    /// The logical time that the work is told; none means when it is to run.
    pub scheduled_for: Option<Timestamp>,
    /// When it is to run; none, or a time that has passed, means now.
    pub run_at: Option<Timestamp>,
    /// Makes asking twice harmless: the second time gets the run of the first, and a conflict if it asks for
    /// something else ([`Error::KeyReused`]). Each task has its own keys.
    pub idempotency_key: Option<String>,
    /// Passes the overlap policy by: it does not wait for the task's other runs.
    pub force: bool,
    /// The trace of whoever asks, for the work to go on with.
    pub trace: Option<TraceParent>,
}

/// A run that was accepted, with its promise.
#[derive(Clone)]
pub struct Accepted {
    /// The record.
    pub run: Run,
    /// Resolves when the run has ended.
    pub promise: Arc<dyn RunPromise>,
    /// An earlier request with the same key had been accepted already; this is its run.
    pub existing: bool,
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { run, existing, .. } = self;
        f.debug_struct("Accepted").field("run", run).field("existing", existing).finish_non_exhaustive()
    }
}

impl Tasks {
    /// Runs a task because somebody wants it, paused or not. The parameters are judged by the definition that holds
    /// now, and never again; whoever asks again with a key gets its run whatever the definition takes by now.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`], [`Error::Invalid`], [`Error::KeyReused`], or the store's.
    pub async fn run_now(&self, task: TaskId, request: RunRequest) -> Result<Accepted, Error> {
        acceptable(&request)?;
        self.run_stored(self.get_ahead(task).await?, request).await
    }

    /// [`Self::run_now`] for the task that a person means ([`Self::find`]).
    ///
    /// # Errors
    /// As [`Self::run_now`].
    pub async fn run_found(&self, id_or_name: &str, request: RunRequest) -> Result<Accepted, Error> {
        acceptable(&request)?;
        self.run_stored(self.find_ahead(id_or_name).await?, request).await
    }

    async fn run_stored(&self, stored: StoredTask, request: RunRequest) -> Result<Accepted, Error> {
        let now = self.core.parts.clock.now();
        let declared = &stored.task.spec.parameters;
        let judged = validate::run_parameters(declared, &request.params).check("request");
        let run = requested(self.core.next_run(), &stored.task, request, now);
        if let Err(refused) = judged {
            let known = match &run.idempotency_key {
                Some(key) => self.core.parts.store.run_of_key(run.task, key).await?,
                None => None,
            };
            return existing(&self.core, &run, known.ok_or(Error::Invalid(refused))?).await;
        }
        self.accept(stored.task, run).await
    }

    /// Writes a run and hands it over.
    pub(super) async fn accept(&self, task: Arc<Task>, run: Run) -> Result<Accepted, Error> {
        let core = Arc::clone(&self.core);
        unbroken(async move { accept(&core, task, run).await }).await
    }

    /// Ends a run in whatever state it is; harmless if it has ended. Answers the record as it is then: the
    /// intent, or the end, is durable.
    ///
    /// # Errors
    /// [`Error::RunNotFound`], or the store's.
    pub async fn cancel(&self, run: RunId) -> Result<Run, Error> {
        self.run(run).await?;
        let core = Arc::clone(&self.core);
        let canceled = unbroken(async move { core.parts.executor.cancel(run, CancelWhy::Asked).await }).await;
        canceled.map_err(|error| self.core.heed(error))?.ok_or(Error::RunNotFound)
    }

    /// The promise of a run, also of one that ended long ago.
    ///
    /// # Errors
    /// [`Error::RunNotFound`], or the store's.
    pub async fn promise(&self, run: RunId) -> Result<Arc<dyn RunPromise>, Error> {
        self.run(run).await?;
        let promise = self.core.parts.executor.promise(run).await;
        promise.map_err(|error| self.core.heed(error))?.ok_or(Error::RunNotFound)
    }
}

/// Whether a request can be one at all.
fn acceptable(request: &RunRequest) -> Result<(), Error> {
    let key = request.idempotency_key.as_deref();
    validate::run_request(&request.params, key).check("request").map_err(Error::Invalid)
}

async fn accept(core: &Core, task: Arc<Task>, run: Run) -> Result<Accepted, Error> {
    let parts = &core.parts;
    let wanted = usize::from(run.state() == RunState::Queued);
    let reservation = match wanted {
        0 => Reservation::none(),
        wanted => parts.executor.reserve(&task, wanted),
    };
    let asked = run.idempotency_key.is_some().then(|| run.clone());
    crash_point("coordinator.before_enqueue");
    let answers = parts.store.enqueue(&parts.session, vec![run], reservation.count()).await;
    crash_point("coordinator.after_enqueue");
    match answers.map_err(|error| core.heed(error))?.pop() {
        Some(Enqueued::Accepted(run)) => {
            core.born(&task, 1);
            log_accepted(&task, &run);
            let dispatch = Dispatch { task: definition_of(core, &run, task).await?, run: run.clone() };
            let promise = parts.executor.run_manually(dispatch, reservation).await;
            let promise = promise.map_err(|error| core.heed(error))?;
            Ok(Accepted { run, promise, existing: false })
        }
        Some(Enqueued::Existing(run)) => existing(core, asked.as_ref().unwrap_or(&run), run.clone()).await,
        Some(Enqueued::TaskGone) | None => Err(Error::TaskNotFound),
    }
}

/// The run that the key of a request stands for already, if that was the same request.
async fn existing(core: &Core, asked: &Run, run: Run) -> Result<Accepted, Error> {
    if let Some(field) = difference(asked, &run) {
        return Err(Error::KeyReused { run: run.id, field });
    }
    let promise = core.parts.executor.promise(run.id).await.map_err(|error| core.heed(error))?;
    Ok(Accepted { run, promise: promise.ok_or(Error::RunNotFound)?, existing: true })
}

/// The definition by which a run was accepted: the one at hand, unless the task has changed meanwhile.
pub(crate) async fn definition_of(core: &Core, run: &Run, at_hand: Arc<Task>) -> Result<Arc<Task>, Error> {
    if run.revision == at_hand.revision {
        return Ok(at_hand);
    }
    let task = core.parts.store.task_revision(run.task, run.revision).await?;
    Ok(task.unwrap_or(at_hand))
}

fn requested(id: RunId, task: &Task, request: RunRequest, now: Timestamp) -> Run {
    let RunRequest { params, scheduled_for, run_at, idempotency_key, force, trace } = request;
    let run_at = run_at.unwrap_or(now);
    let scheduled_for = scheduled_for.unwrap_or(run_at);
    let life = Life::born(if run_at > now { RunState::Scheduled { at: run_at } } else { RunState::Queued });
    Run {
        id,
        task: task.id,
        revision: task.revision,
        trigger: Trigger::Manual,
        scheduled_for,
        run_at,
        accepted_at: now,
        life,
        started_at: None,
        finished_at: None,
        forced: force,
        params,
        idempotency_key,
        trace,
        usage: None,
        restarts: Default::default(),
        outcome: None,
        saved: Value::Null,
        local: Value::Null,
        events: Default::default(),
    }
}

/// In which field the request for one run differs from that for another. The time of asking is none: who asks again
/// for a run at once asks for the same.
fn difference(one: &Run, other: &Run) -> Option<&'static str> {
    let params = |run: &Run| run.params.as_object().filter(|params| !params.is_empty()).cloned();
    let run_at = |run: &Run| (run.run_at != run.accepted_at).then_some(run.run_at);
    let scheduled_for = |run: &Run| (run.scheduled_for != run.run_at).then_some(run.scheduled_for);
    let differs = [
        ("params", params(one) != params(other)),
        ("run_at", run_at(one) != run_at(other)),
        ("scheduled_for", scheduled_for(one) != scheduled_for(other)),
        ("force", one.forced != other.forced),
    ];
    differs.into_iter().find_map(|(field, differs)| differs.then_some(field))
}

pub(super) fn log_accepted(task: &Task, run: &Run) {
    tracing::info!(
        task.id = %task.id, task.name = task.spec.name, task.type = %task.kind, task.revision = run.revision,
        run.id = %run.id, scheduled_for = %run.scheduled_for, run_at = %run.run_at,
        trigger = run.trigger.as_str(), forced = run.forced, "run accepted"
    );
}
