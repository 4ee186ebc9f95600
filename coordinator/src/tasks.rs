//! The task service: one typed face for each system that owns tasks.
//!
//! A face sees the tasks of its own type and no others, whatever id it is asked for. Every write goes to the
//! store first and then, with the full task, to the scheduler. Never decides about runs.

mod change;
mod file_set;

pub use change::{Change, Resumption};
pub use file_set::{FileConflict, FileReport, FileSet};

use crate::definition::{self, ScheduleReport};
use crate::deletion;
use crate::engine::{Core, unbroken};
use crate::error::Error;
use crate::paging;
use jiff::Timestamp;
use punctual_model::task::Metadata;
use punctual_model::{Owner, Task, TaskId, TaskSpec, TaskStatus, TaskType, validate};
use punctual_store::{Expect, Page, PutAnswer, PutTask, StoredTask, TaskFilter};
use std::sync::Arc;

/// The public face of one type's tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    pub(crate) core: Arc<Core>,
    pub(crate) kind: TaskType,
}

/// What only the system that owns a type may do with its tasks, besides all that [`Tasks`] offers.
#[derive(Debug, Clone)]
pub struct Face {
    tasks: Tasks,
}

/// A task that was written, and what its schedule means.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The task as it is stored now.
    pub stored: StoredTask,
    /// What came of the request.
    pub outcome: WriteOutcome,
    /// Its schedule in words, the next dues, and warnings.
    pub schedule: ScheduleReport,
}

/// What came of a request to write a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is new.
    Created,
    /// It has a new revision.
    Updated,
    /// It was like that already; nothing was written.
    Unchanged,
}

/// A task as its owning system creates it.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// What its user wrote.
    pub spec: TaskSpec,
    /// Whose it is.
    pub owner: Owner,
    /// Data of the system.
    pub metadata: Metadata,
}

impl From<TaskSpec> for NewTask {
    fn from(spec: TaskSpec) -> Self {
        Self { spec, owner: Owner::Local, metadata: Metadata::new() }
    }
}

/// Which tasks to list; ascending by id, so in order of creation.
#[derive(Debug, Clone, Default)]
pub struct TaskQuery {
    /// Only the one with this name.
    pub name: Option<String>,
    /// Only those in this status.
    pub status: Option<TaskStatus>,
    /// Only those with all of these labels.
    pub labels: Vec<(String, String)>,
    /// Only ids above this one.
    pub after: Option<TaskId>,
    /// At most so many, up to [`MAX_PAGE`](crate::MAX_PAGE); 0 means [`DEFAULT_PAGE`](crate::DEFAULT_PAGE).
    pub limit: usize,
}

impl Tasks {
    /// The type whose tasks this face shows.
    #[must_use]
    pub fn kind(&self) -> &TaskType {
        &self.kind
    }

    /// Creates a task of this type; if it is active, its dues begin now.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all that is wrong, [`Error::NameTaken`], or the store's.
    pub async fn create(&self, spec: TaskSpec) -> Result<Written, Error> {
        self.create_as(spec.into()).await
    }

    async fn create_as(&self, new: NewTask) -> Result<Written, Error> {
        let Parts { now, default_zone } = self.parts();
        let schedule = definition::accept(&new.spec, None, default_zone, now)?;
        validate::metadata(&new.metadata).check("task").map_err(Error::Invalid)?;
        let NewTask { spec, owner, metadata } = new;
        let task = Task {
            id: self.core.next_task(),
            kind: self.kind.clone(),
            revision: 1,
            created_at: now,
            updated_at: now,
            owner,
            metadata,
            spec,
        };
        let name = task.spec.name.clone();
        let raise_checkpoint = Some(self.beginning(&task, now));
        let put = PutTask { task: Arc::new(task), expect: Expect::Absent, raise_checkpoint };
        match self.put(None, put).await? {
            PutAnswer::Stored(stored) => Ok(Written { stored, outcome: WriteOutcome::Created, schedule }),
            PutAnswer::NameTaken(task) => Err(Error::NameTaken { name, task }),
            // The id is new, so nothing of it can be there.
            PutAnswer::Conflict(stored) => Err(Error::Contended(stored.task.id)),
            PutAnswer::Gone => Err(Error::TaskNotFound),
        }
    }

    /// The task with this id.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`], also for a task of another type; or the store's.
    pub async fn get(&self, id: TaskId) -> Result<StoredTask, Error> {
        self.of_ours(self.core.parts.store.task(id).await?)
    }

    /// [`Self::get`] for what is told only after a later write.
    pub(super) async fn get_ahead(&self, id: TaskId) -> Result<StoredTask, Error> {
        self.of_ours(self.core.parts.store.task_ahead(id).await?)
    }

    /// [`Self::find`], as [`Self::get_ahead`].
    pub(super) async fn find_ahead(&self, id_or_name: &str) -> Result<StoredTask, Error> {
        match id_or_name.parse() {
            Ok(id) => self.get_ahead(id).await,
            Err(_) => {
                let found = self.core.parts.store.task_by_name_ahead(&self.kind, id_or_name).await?;
                found.ok_or(Error::TaskNotFound)
            }
        }
    }

    fn of_ours(&self, stored: Option<StoredTask>) -> Result<StoredTask, Error> {
        stored.filter(|stored| same(&stored.task.kind, &self.kind)).ok_or(Error::TaskNotFound)
    }

    /// The task with this name.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_by_name(&self, name: &str) -> Result<StoredTask, Error> {
        self.core.parts.store.task_by_name(&self.kind, name).await?.ok_or(Error::TaskNotFound)
    }

    /// The task that a person means: by id if the text is one (no name is), else by name.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn find(&self, id_or_name: &str) -> Result<StoredTask, Error> {
        match id_or_name.parse() {
            Ok(id) => self.get(id).await,
            Err(_) => self.get_by_name(id_or_name).await,
        }
    }

    /// Tasks by filter.
    ///
    /// # Errors
    /// [`Error::LimitOutOfBounds`], or the store's.
    pub async fn list(&self, query: TaskQuery) -> Result<Page<StoredTask, TaskId>, Error> {
        let TaskQuery { name, status, labels, after, limit } = query;
        let limit = paging::limit("task", limit)?;
        let filter = TaskFilter { kind: Some(self.kind.clone()), name, status, labels, after, limit };
        Ok(self.core.parts.store.tasks(&filter).await?)
    }

    /// A revision of a task, also of a deleted one, as long as a run refers to it.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`], or the store's.
    pub async fn revision(&self, id: TaskId, revision: u64) -> Result<Arc<Task>, Error> {
        let task = self.core.parts.store.task_revision(id, revision).await?;
        task.filter(|task| same(&task.kind, &self.kind)).ok_or(Error::TaskNotFound)
    }

    /// What the schedule of a task means now.
    #[must_use]
    pub fn describe(&self, task: &Task) -> ScheduleReport {
        let Parts { now, default_zone } = self.parts();
        definition::describe(&task.spec, default_zone, now)
    }

    /// Judges a definition and says what its schedule means, without writing anything.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all that is wrong.
    pub fn check(&self, spec: &TaskSpec) -> Result<ScheduleReport, Error> {
        let Parts { now, default_zone } = self.parts();
        definition::accept(spec, None, default_zone, now)
    }

    /// Deletes a task: it has no more dues, its waiting runs are canceled, those at work are told to end, its
    /// history stays until retention takes it. `expected` is the revision that the caller has seen.
    ///
    /// # Errors
    /// [`Error::TaskNotFound`], [`Error::Changed`], [`Error::OwnedByFile`], or the store's.
    pub async fn delete(&self, id: TaskId, expected: Option<u64>) -> Result<(), Error> {
        let stored = self.get(id).await?;
        refuse_file(&stored.task)?;
        self.delete_task(&stored, expected).await
    }

    async fn delete_task(&self, stored: &StoredTask, expected: Option<u64>) -> Result<(), Error> {
        let (task, current) = (stored.task.id, stored.task.revision);
        if let Some(expected) = expected.filter(|expected| *expected != current) {
            return Err(Error::Changed { task, expected, current });
        }
        let core = Arc::clone(&self.core);
        match unbroken(deletion::delete(core, task, expected)).await? {
            true => Ok(()),
            // Somebody was faster: either it is gone, or it has changed since it was read.
            false => {
                let now = self.get(task).await?.task.revision;
                Err(Error::Changed { task, expected: expected.unwrap_or(current), current: now })
            }
        }
    }

    /// Writes a task and tells the scheduler, whatever becomes of the caller meanwhile.
    async fn put(&self, before: Option<Arc<Task>>, put: PutTask) -> Result<PutAnswer, Error> {
        let core = Arc::clone(&self.core);
        unbroken(async move {
            let answer = core.parts.store.put_task(&core.parts.session, put).await;
            let answer = answer.map_err(|error| core.heed(error))?;
            if let PutAnswer::Stored(stored) = &answer {
                let task = &stored.task;
                tracing::info!(
                    task.id = %task.id, task.name = task.spec.name, task.type = %task.kind,
                    task.revision = task.revision, "task written"
                );
                core.follow(before.as_deref(), stored);
            }
            Ok(answer)
        })
        .await
    }

    /// The checkpoint from which dues count that begin now.
    fn beginning(&self, task: &Task, now: Timestamp) -> Timestamp {
        // What cannot be evaluated has no dues either, whatever they count from.
        self.core.parts.scheduler.beginning(task, now).unwrap_or(now)
    }

    fn parts(&self) -> Parts<'_> {
        Parts { now: self.core.parts.clock.now(), default_zone: &self.core.parts.default_zone }
    }
}

impl Face {
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { tasks }
    }

    /// What every user of these tasks may do.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Creates a task with an owner and the system's own data.
    ///
    /// # Errors
    /// As [`Tasks::create`].
    pub async fn create(&self, new: NewTask) -> Result<Written, Error> {
        self.tasks.create_as(new).await
    }
}

struct Parts<'a> {
    now: Timestamp,
    default_zone: &'a punctual_scheduler::schedule::Zone,
}

/// Types are equal by name; a stored empty one reads as `system`.
pub(crate) fn same(a: &TaskType, b: &TaskType) -> bool {
    a.as_str() == b.as_str()
}

fn refuse_file(task: &Task) -> Result<(), Error> {
    match &task.owner {
        Owner::File(path) => Err(Error::OwnedByFile { name: task.spec.name.clone(), path: path.clone() }),
        Owner::Local | Owner::Named(_) => Ok(()),
    }
}
