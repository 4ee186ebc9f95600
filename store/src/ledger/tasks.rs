//! Sessions and definitions.

use super::batch::{Effect, SessionState};
use super::judge::Court;
use super::progress::redefined;
use super::read::{absent, canonical};
use super::size;
use super::tables::{Digest, Head, HeadStatus, Meta, Tables};
use crate::error::Error;
use crate::store::{Expect, PutAnswer, PutTask, Session, StoredTask};
use jiff::Timestamp;
use punctual_model::{Task, TaskId, TaskProgress, TaskStatus};
use std::sync::Arc;

impl<T: Tables> Court<'_, T> {
    pub(super) fn open_session(&mut self, node: String) -> Session {
        let meta = self.batch.meta.unwrap_or(self.ledger.meta);
        let id_floor = meta.id_floor.max(self.ledger.highest_id);
        let epoch = meta.epoch + 1;
        self.batch.meta = Some(Meta { epoch, id_floor });
        self.batch.session = Some(SessionState { epoch, closed: false });
        for mark in std::mem::take(&mut self.ledger.of_format_1) {
            self.batch.open.insert(mark, None);
            self.ledger.crews.enter(mark.run, self.batch);
        }
        self.ledger.crews.sweep(self.batch);
        Session { node, epoch, id_floor }
    }

    pub(super) fn close_session(&mut self, session: &Session) {
        let state = self.batch.session.unwrap_or(self.ledger.session);
        if state.epoch == session.epoch {
            self.batch.session = Some(SessionState { closed: true, ..state });
        }
    }

    pub(super) fn put_task(&mut self, put: PutTask) -> Result<PutAnswer, Error> {
        let PutTask { task, expect, raise_checkpoint } = put;
        size::check_task(&task)?;
        let id = task.id;
        let head = self.head(id)?.cloned();
        if head.as_ref().is_some_and(|head| head.status == HeadStatus::Deleted) {
            return Ok(PutAnswer::Gone);
        }
        let as_expected = match (expect, &head) {
            (Expect::Absent, None) => true,
            (Expect::Absent, Some(_)) => false,
            (Expect::Revision(_), None) => return Ok(PutAnswer::Gone),
            (Expect::Revision(revision), Some(head)) => {
                head.revision == revision && revision.checked_add(1) == Some(task.revision)
            }
        };
        if !as_expected {
            return Ok(self.stored(id)?.map_or(PutAnswer::Gone, PutAnswer::Conflict));
        }
        if let Some(other) = self.holder_of(&task)? {
            return Ok(PutAnswer::NameTaken(other));
        }
        let mut progress = head.as_ref().map_or_else(TaskProgress::default, |head| head.progress.clone());
        progress.checkpoint = progress.checkpoint.max(raise_checkpoint);
        redefined(&mut progress, head.as_ref().map(|head| head.status), task.spec.status.into());
        if let Some(head) = &head {
            self.free_name(id, head.revision)?;
            self.batch.effects.push(Effect::Updated(id));
        }
        let new = Head {
            revision: task.revision,
            oldest_revision: head.as_ref().map_or(task.revision, |head| head.oldest_revision),
            status: task.spec.status.into(),
            digest: Digest::of(&task.kind, &task.spec),
            progress: progress.clone(),
            kept_runs: head.as_ref().map_or(0, |head| head.kept_runs),
            kept_marks: head.as_ref().map_or(0, |head| head.kept_marks),
            history_from: head.and_then(|head| head.history_from),
        };
        self.batch.put_head(id, new);
        self.batch.names.insert((canonical(&task.kind), task.spec.name.clone()), Some(id));
        self.batch.definitions.insert((id, task.revision), Some(task.clone()));
        self.ledger.highest_id = self.ledger.highest_id.max(id.get());
        Ok(PutAnswer::Stored(StoredTask { task, progress }))
    }

    /// Pauses a task because of so many failures in a row: a revision like any other, in the commit of the last of
    /// them. A definition that cannot be read has no dues anyway.
    pub(super) fn pause(&mut self, id: TaskId, failures: u32, at: Timestamp) -> Result<(), Error> {
        let Some(head) = self.head(id)?.cloned() else { return Ok(()) };
        let Some(task) = absent(self.definition(id, head.revision))? else { return Ok(()) };
        let Some(revision) = head.revision.checked_add(1) else { return Ok(()) };
        let mut task = Task::clone(&task);
        task.revision = revision;
        task.updated_at = task.updated_at.max(at);
        task.spec.status = TaskStatus::Paused;
        let progress = TaskProgress { paused_after: Some(failures), ..head.progress };
        self.batch.put_head(id, Head { revision, status: HeadStatus::Paused, progress, ..head });
        self.batch.definitions.insert((id, revision), Some(Arc::new(task)));
        self.batch.effects.push(Effect::Updated(id));
        Ok(())
    }

    /// Which other task has the name of this one. An entry without a task that bears it out holds nothing.
    fn holder_of(&mut self, task: &Task) -> Result<Option<TaskId>, Error> {
        let Some(id) = self.name(&task.kind, &task.spec.name)?.filter(|id| *id != task.id) else {
            return Ok(None);
        };
        let holder = self.stored(id)?;
        Ok(holder.filter(|holder| holder.task.spec.name == task.spec.name).map(|_| id))
    }

    fn free_name(&mut self, id: TaskId, revision: u64) -> Result<(), Error> {
        // The name of a definition that cannot be read stays behind, and holds nothing.
        if let Some(task) = absent(self.definition(id, revision))?
            && self.name(&task.kind, &task.spec.name)? == Some(id)
        {
            self.batch.names.insert((canonical(&task.kind), task.spec.name.clone()), None);
        }
        Ok(())
    }

    pub(super) fn delete_task(&mut self, id: TaskId, revision: Option<u64>) -> Result<bool, Error> {
        let Some(head) = self.head(id)?.cloned() else { return Ok(false) };
        if head.status == HeadStatus::Deleted || revision.is_some_and(|revision| revision != head.revision) {
            return Ok(false);
        }
        self.free_name(id, head.revision)?;
        self.batch.put_head(id, Head { status: HeadStatus::Deleted, ..head });
        self.batch.effects.push(Effect::Closed(id));
        Ok(true)
    }
}
