//! Changes of a task that exists: each makes a new revision, conditional on the one that was read, or none if
//! nothing would change.

use super::{Face, Parts, Tasks, WriteOutcome, Written, refuse_file};
use crate::definition;
use crate::error::Error;
use jiff::Timestamp;
use punctual_model::task::Metadata;
use punctual_model::{Owner, Task, TaskId, TaskSpec, TaskStatus, validate};
use punctual_store::{Expect, PutAnswer, PutTask, StoredTask};
use std::sync::Arc;

/// How often a change is tried again that others got in the way of. Each time somebody else has succeeded, so
/// more than this is a caller in a loop.
const MAX_TRIES: usize = 16;

/// What a change is allowed to, and what it expects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// The revision that the caller has seen: the change fails if it is not the current one. Without it the
    /// change is made to whatever is there.
    pub expected: Option<u64>,
}

/// What becomes of the dues that passed while a task was paused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resumption {
    /// They are forgotten: dues begin now.
    #[default]
    FromNow,
    /// They are treated as if the engine had been down: the task's catch-up policy decides.
    CatchUp,
}

/// Who makes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer<'a> {
    /// A user or a system: tasks from files are not theirs.
    Service,
    /// The same, who takes back what the engine did by itself.
    Resumer,
    /// The file of this path.
    File(&'a str),
}

impl Tasks {
    /// Replaces the definition.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`], [`Error::Invalid`], [`Error::Changed`], [`Error::NameTaken`],
    /// [`Error::OwnedByFile`], or the store's.
    pub async fn replace(&self, id: TaskId, spec: TaskSpec, change: Change) -> Result<Written, Error> {
        self.update(id, change, |current| *current = spec.clone()).await
    }

    /// Changes parts of the definition. `edit` may be called several times, if others change the task
    /// meanwhile and no revision was expected.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn update<E: Fn(&mut TaskSpec)>(
        &self,
        id: TaskId,
        change: Change,
        edit: E,
    ) -> Result<Written, Error> {
        let edit = |task: &mut Task| edit(&mut task.spec);
        self.edit(id, change.expected, Writer::Service, Resumption::FromNow, edit).await
    }

    /// Creates the task of this name, or makes it what is given; writes nothing if it is that already, nor if it is
    /// that but for having been paused by the engine for its failures.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn upsert(&self, spec: TaskSpec) -> Result<Written, Error> {
        for _ in 0..MAX_TRIES {
            let answer = match self.get_by_name(&spec.name).await {
                // Whoever writes the same definition at each start does not mean to resume what failed too often.
                Ok(stored) if stored.is_only_paused(&spec) => {
                    let schedule = self.describe(&stored.task);
                    return Ok(Written { stored, outcome: WriteOutcome::Unchanged, schedule });
                }
                Ok(stored) => self.replace(stored.task.id, spec.clone(), Change::default()).await,
                Err(Error::TaskNotFound) => self.create(spec.clone()).await,
                Err(error) => Err(error),
            };
            match answer {
                // It went or came between the look and the write.
                Err(Error::TaskNotFound | Error::NameTaken { .. }) => {}
                answer => return answer,
            }
        }
        let other = self.get_by_name(&spec.name).await?;
        Err(Error::Contended(other.task.id))
    }

    /// No more dues; waiting and running work goes on.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn pause(&self, id: TaskId, change: Change) -> Result<Written, Error> {
        self.update(id, change, |spec| spec.status = TaskStatus::Paused).await
    }

    /// Dues again. A task that is not paused stays as it is. One of a file is resumed only if the engine paused it, for
    /// its failures: then it is again what the file says.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn resume(&self, id: TaskId, change: Change, resumption: Resumption) -> Result<Written, Error> {
        let edit = |task: &mut Task| task.spec.status = TaskStatus::Active;
        self.edit(id, change.expected, Writer::Resumer, resumption, edit).await
    }

    pub(super) async fn edit<E: Fn(&mut Task)>(
        &self,
        id: TaskId,
        expected: Option<u64>,
        writer: Writer<'_>,
        resumption: Resumption,
        edit: E,
    ) -> Result<Written, Error> {
        for _ in 0..MAX_TRIES {
            let stored = self.get(id).await?;
            let current = stored.task.revision;
            if let Some(expected) = expected.filter(|expected| *expected != current) {
                return Err(Error::Changed { task: id, expected, current });
            }
            permit(writer, &stored)?;
            let Parts { now, default_zone } = self.parts();
            let Some(task) = edited(&stored.task, &edit, now) else {
                let schedule = definition::describe(&stored.task.spec, default_zone, now);
                return Ok(Written { stored, outcome: WriteOutcome::Unchanged, schedule });
            };
            let before = Arc::clone(&stored.task);
            let schedule = definition::accept(&task.spec, Some(&before.spec), default_zone, now)?;
            validate::metadata(&task.metadata).check("task").map_err(Error::Invalid)?;
            let anew = starts_anew(&before.spec, &task.spec, resumption);
            let raise_checkpoint = anew.then(|| self.beginning(&task, now));
            let name = task.spec.name.clone();
            let put = PutTask { task: Arc::new(task), expect: Expect::Revision(current), raise_checkpoint };
            match self.put(Some(before), put).await? {
                PutAnswer::Stored(stored) => {
                    return Ok(Written { stored, outcome: WriteOutcome::Updated, schedule });
                }
                PutAnswer::NameTaken(task) => return Err(Error::NameTaken { name, task }),
                PutAnswer::Gone => return Err(Error::TaskNotFound),
                PutAnswer::Conflict(StoredTask { task, .. }) => {
                    if let Some(expected) = expected {
                        return Err(Error::Changed { task: id, expected, current: task.revision });
                    }
                }
            }
        }
        Err(Error::Contended(id))
    }
}

impl Face {
    /// Replaces the system's own data of a task as a whole: a new revision, unless it is the same.
    ///
    /// # Errors
    /// As [`Tasks::replace`].
    pub async fn set_metadata(
        &self,
        id: TaskId,
        metadata: Metadata,
        change: Change,
    ) -> Result<Written, Error> {
        let edit = |task: &mut Task| task.metadata.clone_from(&metadata);
        self.tasks().edit(id, change.expected, Writer::Service, Resumption::FromNow, edit).await
    }

    /// Changes definition and data in one revision.
    ///
    /// # Errors
    /// As [`Tasks::replace`].
    pub async fn update<E: Fn(&mut TaskSpec, &mut Metadata)>(
        &self,
        id: TaskId,
        change: Change,
        edit: E,
    ) -> Result<Written, Error> {
        let edit = |task: &mut Task| edit(&mut task.spec, &mut task.metadata);
        self.tasks().edit(id, change.expected, Writer::Service, Resumption::FromNow, edit).await
    }
}

/// The next revision; none if the edit changes nothing.
fn edited(before: &Task, edit: impl Fn(&mut Task), now: Timestamp) -> Option<Task> {
    let mut task = before.clone();
    edit(&mut task);
    if task == *before {
        return None;
    }
    task.revision = before.revision + 1;
    // A clock that was set back does not make the newer revision look older.
    task.updated_at = now.max(before.updated_at);
    Some(task)
}

/// Whether dues count from now on: after activation, and after a change of what makes them.
fn starts_anew(from: &TaskSpec, to: &TaskSpec, resumption: Resumption) -> bool {
    let activated = from.status == TaskStatus::Paused && to.status == TaskStatus::Active;
    definition::moves_dues(from, to) || (activated && resumption == Resumption::FromNow)
}

fn permit(writer: Writer<'_>, stored: &StoredTask) -> Result<(), Error> {
    let task = &*stored.task;
    match (writer, &task.owner) {
        (Writer::Resumer, _) if stored.progress.paused_after.is_some() => Ok(()),
        (Writer::File(path), Owner::File(owner)) if path == owner => Ok(()),
        (Writer::File(_), Owner::Local | Owner::Named(_)) => {
            Err(Error::NameTaken { name: task.spec.name.clone(), task: task.id })
        }
        (Writer::Service | Writer::Resumer | Writer::File(_), _) => refuse_file(task),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use punctual_model::Work;

    #[test]
    fn dues_begin_anew_after_activation_and_after_a_change_of_what_makes_them() {
        let active = TaskSpec::new("n", Work::shell("true"));
        let paused = TaskSpec { status: TaskStatus::Paused, ..active.clone() };
        let shifted = TaskSpec { offset: SignedDuration::from_secs(1), ..active.clone() };
        let renamed = TaskSpec { name: "m".to_owned(), ..active.clone() };
        let (now, caught_up) = (Resumption::FromNow, Resumption::CatchUp);
        assert!(starts_anew(&paused, &active, now));
        assert!(!starts_anew(&paused, &active, caught_up));
        assert!(starts_anew(&paused, &shifted, caught_up));
        assert!(starts_anew(&active, &shifted, now));
        assert!(!starts_anew(&active, &renamed, now));
        assert!(!starts_anew(&active, &paused, now));
    }
}
