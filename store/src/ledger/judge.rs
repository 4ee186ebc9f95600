//! One request against the tables and the earlier requests of its batch.

use super::batch::{Batch, KnownHead};
use super::read::{absent, canonical};
use super::request::{Answer, Request};
use super::state::Ledger;
use super::tables::{Head, Lane, Tables};
use crate::error::Error;
use crate::store::{Session, StoredTask};
use jiff::Timestamp;
use punctual_model::{Run, RunId, Task, TaskId, TaskType};
use std::sync::Arc;

impl Ledger {
    /// Judges a request and puts its changes into the batch. The answer must not be given before the batch is
    /// durable and settled. From here on its runs count against limits.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::TooLarge`] or [`Error::Unreadable`]: nothing of the request is in the batch.
    /// [`Error::Failed`]: the tables do not answer, and the batch must not be committed.
    pub fn judge<T: Tables>(
        &mut self,
        batch: &mut Batch,
        tables: &T,
        request: Request,
        now: Timestamp,
    ) -> Result<Answer, Error> {
        batch.requests += 1;
        let mut court = Court { ledger: self, batch, tables, now };
        match request {
            Request::OpenSession { node } => Ok(Answer::SessionOpened(court.open_session(node))),
            Request::CloseSession { session } => {
                court.close_session(&session);
                Ok(Answer::SessionClosed)
            }
            Request::PutTask { session, put } => {
                court.check(&session)?;
                court.put_task(put).map(Answer::TaskPut)
            }
            Request::DeleteTask { session, id, revision } => {
                court.check(&session)?;
                court.delete_task(id, revision).map(Answer::TaskDeleted)
            }
            Request::Materialise { session, dues } => {
                court.check(&session)?;
                court.materialise(&session, dues).map(Answer::Materialised)
            }
            Request::Enqueue { session, runs, reserved } => {
                court.check(&session)?;
                court.enqueue(&session, runs, reserved).map(Answer::Enqueued)
            }
            Request::Transition { session, edges } => {
                court.check(&session)?;
                court.transition(&session, edges).map(Answer::Transitioned)
            }
            Request::Cancel { session, runs } => {
                court.check(&session)?;
                court.cancel(runs).map(Answer::Canceled)
            }
            Request::CancelWaiting { session, task, why, max } => {
                court.check(&session)?;
                court.cancel_waiting(task, why, max).map(Answer::WaitingCanceled)
            }
            Request::Told { session, runs } => {
                court.check(&session)?;
                court.told(runs);
                Ok(Answer::Told(()))
            }
            Request::Prune { session, task, max } => {
                court.check(&session)?;
                court.prune(task, max).map(Answer::Pruned)
            }
        }
    }
}

/// Where a request is judged: everything it may look at.
#[derive(Debug)]
pub(super) struct Court<'a, T> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) batch: &'a mut Batch,
    pub(super) tables: &'a T,
    pub(super) now: Timestamp,
}

impl<T: Tables> Court<'_, T> {
    fn check(&self, session: &Session) -> Result<(), Error> {
        self.ledger.check(self.batch, session)
    }

    /// A run as the batch leaves it; one that cannot be read is as good as none.
    pub(super) fn run(&self, id: RunId) -> Result<Option<Arc<Run>>, Error> {
        if let Some(run) = self.batch.runs.get(&id) {
            return Ok(run.clone());
        }
        match self.ledger.at_work.get(&id).or_else(|| self.ledger.claimed.get(&id)) {
            Some(run) => Ok(Some(Arc::clone(run))),
            None => Ok(absent(self.tables.run(id))?.map(Arc::new)),
        }
    }

    /// A head as the batch leaves it.
    pub(super) fn head(&mut self, id: TaskId) -> Result<Option<&Head>, Error> {
        if !self.batch.heads.contains_key(&id) {
            let head = match self.ledger.heads.get(id) {
                Some(head) => Some(head),
                None => self.tables.head(id)?,
            };
            self.batch.heads.insert(id, KnownHead { head, written: false });
        }
        Ok(self.batch.heads.get(&id).and_then(|known| known.head.as_ref()))
    }

    pub(super) fn definition(&self, id: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        match self.batch.definitions.get(&(id, revision)) {
            Some(task) => Ok(task.clone()),
            None => self.tables.definition(id, revision),
        }
    }

    pub(super) fn name(&self, kind: &TaskType, name: &str) -> Result<Option<TaskId>, Error> {
        let kind = canonical(kind);
        match self.batch.names.get(&(kind.clone(), name.to_owned())) {
            Some(id) => Ok(*id),
            None => absent(self.tables.name(&kind, name)),
        }
    }

    pub(super) fn key(&self, task: TaskId, key: &str) -> Result<Option<RunId>, Error> {
        match self.batch.keys.get(&(task, key.to_owned())) {
            Some(run) => Ok(*run),
            None => absent(self.tables.key(task, key)),
        }
    }

    /// The current definition; none if it is deleted or was never there.
    pub(super) fn stored(&mut self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        let Some(head) = absent(self.head(id).map(|head| head.cloned()))? else { return Ok(None) };
        if self.batch.is_deleted(id) {
            return Ok(None);
        }
        let task = absent(self.definition(id, head.revision))?;
        Ok(task.map(|task| StoredTask { task, progress: head.progress }))
    }

    /// Writes a run; see [`Batch::put_run`].
    pub(super) fn put_run(&mut self, before: Option<&Run>, after: Arc<Run>) -> Result<(), Error> {
        absent(self.head(after.task).map(|head| head.map(|_| ())))?;
        self.ledger.highest_id = self.ledger.highest_id.max(after.id.get());
        if self.ledger.at_work.contains_key(&after.id) {
            self.ledger.judged.insert(after.id);
        }
        if after.state().is_waiting() && after.ready_at() <= self.now {
            self.batch.crowded.insert(Lane::of(&after));
        }
        let was_at_work = before.is_some_and(|run| run.state().is_at_work());
        match (was_at_work, after.state().is_at_work()) {
            (false, true) => self.ledger.crews.enter(after.id, self.batch),
            (true, false) => self.ledger.crews.leave(after.id, self.batch),
            (false, false) | (true, true) => {}
        }
        self.batch.put_run(before, after);
        Ok(())
    }
}
