//! What all parts of the coordinator share: the rooms below, and how they are spoken to.
//!
//! Holds no tasks and no runs; the store is the truth. The only memory here is the list of tasks whose
//! schedules could not be evaluated, and the first error after which nothing can be written any more.

use crate::error::Error;
use crate::janitor::EarlyOutput;
use crate::output::OutputRemover;
use punctual_clock::{Clock, IdGenerator};
use punctual_executor::Executor;
use punctual_model::{RunId, Task, TaskId, TaskStatus};
use punctual_scheduler::Scheduler;
use punctual_scheduler::schedule::Zone;
use punctual_store::{self as store, Session, Store, StoredTask, StoredTiming};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a coordinator is built from.
#[derive(Clone)]
pub struct Parts {
    /// Remembers.
    pub store: Arc<dyn Store>,
    /// The right to write there.
    pub session: Session,
    /// Decides when.
    pub scheduler: Scheduler,
    /// Does the work.
    pub executor: Arc<dyn Executor>,
    /// Time; the same clock as the others'.
    pub clock: Arc<dyn Clock>,
    /// Identities; above the session's floor.
    pub ids: Arc<IdGenerator>,
    /// For tasks that name no zone; the scheduler's own default.
    pub default_zone: Zone,
    /// Removes the output of runs that leave the history.
    pub output: Arc<dyn OutputRemover>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { session, default_zone, .. } = self;
        f.debug_struct("Parts").field("session", session).field("zone", default_zone).finish_non_exhaustive()
    }
}

/// A task whose schedule cannot be evaluated: it has no dues until it is changed. It can still be run by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unschedulable {
    /// The task.
    pub task: TaskId,
    /// Its name, where it is known.
    pub name: String,
    /// Why.
    pub reason: String,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) parts: Parts,
    unschedulable: Mutex<BTreeMap<TaskId, Unschedulable>>,
    /// Runs were born: history may have grown.
    pub(crate) grown: Notify,
    /// Tasks whose output goes before its runs.
    pub(crate) early: EarlyOutput,
    fatal: OnceLock<Error>,
    /// Cancelled with the first fatal error.
    pub(crate) broken: CancellationToken,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            unschedulable: Mutex::default(),
            grown: Notify::new(),
            early: EarlyOutput::default(),
            fatal: OnceLock::new(),
            broken: CancellationToken::new(),
        }
    }

    /// Runs of a task were born.
    pub(crate) fn born(&self, task: &Task, runs: usize) {
        self.early.born(task, runs);
        self.grown.notify_one();
    }

    pub(crate) fn next_run(&self) -> RunId {
        self.parts.ids.next_id().into()
    }

    pub(crate) fn next_task(&self) -> TaskId {
        self.parts.ids.next_id().into()
    }

    /// Every error of the store or the executor passes here, so that the loops end with it although the call
    /// was somebody else's.
    pub(crate) fn heed(&self, error: impl Into<Error>) -> Error {
        let error = error.into();
        if error.is_fatal() && self.fatal.set(error.clone()).is_ok() {
            tracing::error!(%error, "nothing can be written any more");
            self.broken.cancel();
        }
        error
    }

    /// For what concerns a single record: one that cannot be read or stored is reported and passed over, so
    /// that it hinders nobody else.
    pub(crate) fn pass_over<T>(
        &self,
        what: &'static str,
        answer: Result<T, impl Into<Error>>,
    ) -> Result<Option<T>, Error> {
        match answer.map_err(|error| self.heed(error)) {
            Ok(answer) => Ok(Some(answer)),
            Err(error @ Error::Store(store::Error::Unreadable { .. } | store::Error::TooLarge { .. })) => {
                tracing::error!(%error, "{what} failed and is passed over");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The first error after which nothing could be written.
    pub(crate) fn fatal(&self) -> Option<Error> {
        self.fatal.get().cloned()
    }

    /// Lets the scheduler know what has been written; `before` is the definition that was there.
    pub(crate) fn follow(&self, before: Option<&Task>, stored: &StoredTask) {
        match consequence(before.map(|task| task.spec.status), stored.task.spec.status) {
            Consequence::Schedule => {
                self.schedule(stored);
            }
            Consequence::Release => self.release(stored.task.id),
            Consequence::Nothing => {}
        }
        // What is at work follows it too.
        if before.is_some() {
            self.parts.executor.update(Arc::clone(&stored.task));
        }
    }

    /// Gives an active task to the scheduler; one that it cannot take is listed and gets no dues.
    pub(crate) fn schedule(&self, stored: &StoredTask) -> bool {
        let task = &stored.task;
        // A task from before there were checkpoints owes nothing from before it existed.
        let checkpoint = stored.progress.checkpoint.unwrap_or(task.created_at);
        match self.parts.scheduler.schedule(task, checkpoint) {
            Ok(_) => {
                self.lock().remove(&task.id);
                true
            }
            Err(error) => {
                self.set_aside(task.id, task.spec.name.clone(), error.to_string());
                false
            }
        }
    }

    /// Gives an active task that was stored earlier to the scheduler; why not, if that cannot take it.
    pub(crate) fn restore(&self, stored: &StoredTiming) -> Result<(), String> {
        let StoredTiming { id, revision, timing, checkpoint, .. } = stored;
        let restored = self.parts.scheduler.restore(*id, *revision, timing, *checkpoint);
        restored.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Forgets a task in the scheduler.
    pub(crate) fn release(&self, task: TaskId) {
        self.parts.scheduler.release(task);
        self.lock().remove(&task);
    }

    pub(crate) fn set_aside(&self, task: TaskId, name: String, reason: String) {
        tracing::error!(task.id = %task, task.name = name, reason, "the task has no dues until it is changed");
        self.lock().insert(task, Unschedulable { task, name, reason });
    }

    pub(crate) fn unschedulable(&self) -> Vec<Unschedulable> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Unschedulable>> {
        self.unschedulable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a write of a task means for the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consequence {
    Schedule,
    Release,
    Nothing,
}

fn consequence(before: Option<TaskStatus>, after: TaskStatus) -> Consequence {
    match (before, after) {
        // Whatever changed: every run from now on shows the definition that ran.
        (_, TaskStatus::Active) => Consequence::Schedule,
        (Some(TaskStatus::Active), TaskStatus::Paused) => Consequence::Release,
        (Some(TaskStatus::Paused) | None, TaskStatus::Paused) => Consequence::Nothing,
    }
}

/// Does all of `work` even if the caller goes away in the middle, so that no write is left without what has to
/// follow it.
pub(crate) async fn unbroken<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels it, and that ends this caller as well.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskStatus::{Active, Paused};

    /// CO04, as a table; `tests/task_service.rs` shows it with a scheduler.
    #[test]
    fn co04_what_a_write_means_for_the_scheduler() {
        for (before, after, expect) in [
            (None, Active, Consequence::Schedule),
            (None, Paused, Consequence::Nothing),
            (Some(Active), Active, Consequence::Schedule),
            (Some(Active), Paused, Consequence::Release),
            (Some(Paused), Active, Consequence::Schedule),
            (Some(Paused), Paused, Consequence::Nothing),
        ] {
            assert_eq!(consequence(before, after), expect, "{before:?} -> {after:?}");
        }
    }
}
