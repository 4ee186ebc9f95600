//! Tasks that belong to a file: the file is their only author, and exactly what it names exists.
//!
//! A file is applied whole or not at all: one mistake in it must not delete what the rest of it meant. Each
//! task is a commit of its own; after a failure of the store in the middle, applying the file again goes on
//! where it stopped.

use super::change::Writer;
use super::{NewTask, Parts, Resumption, Tasks, WriteOutcome, same};
use crate::definition;
use crate::error::Error;
use crate::paging::MAX_PAGE;
use punctual_model::task::Metadata;
use punctual_model::{Error as Edge, ErrorCode, Owner, TaskId, TaskSpec};
use punctual_store::{StoredTask, TaskFilter};
use std::collections::{BTreeMap, BTreeSet};

/// What applying a file did, by the names of its tasks in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Tasks that are new.
    pub created: Vec<String>,
    /// Tasks that have a new revision.
    pub updated: Vec<String>,
    /// Tasks that the file names no more.
    pub deleted: Vec<String>,
    /// How many were as the file says already.
    pub unchanged: usize,
}

/// Why a task of a file cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConflict {
    /// The name of the task.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

impl Tasks {
    /// Makes the tasks that belong to the file `path` exactly `specs`: creates, updates and deletes.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the problems of all its tasks, before anything is written; or the store's.
    pub async fn apply_file_set(&self, path: &str, specs: Vec<TaskSpec>) -> Result<FileReport, Error> {
        let mut owned = self.owned_by(path).await?;
        let problems = self.problems(path, &specs, &owned).await?;
        if !problems.is_empty() {
            return Err(Error::Invalid(joined(path, &problems)));
        }
        let mut specs: BTreeMap<String, TaskSpec> =
            specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect();
        let mut report = FileReport::default();
        // First what goes: a renamed task must not hold the name of another.
        let gone: Vec<String> = owned.keys().filter(|name| !specs.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(stored) = owned.remove(&name) {
                match self.delete_task(&stored, None).await {
                    Ok(()) | Err(Error::TaskNotFound) => report.deleted.push(name),
                    Err(error) => return Err(error),
                }
            }
        }
        while let Some((name, spec)) = specs.pop_first() {
            let written = match owned.get(&name) {
                Some(stored) => {
                    let edit = |task: &mut punctual_model::Task| task.spec = spec.clone();
                    self.edit(stored.task.id, None, Writer::File(path), Resumption::FromNow, edit).await?
                }
                None => {
                    let owner = Owner::File(path.to_owned());
                    self.create_as(NewTask { spec, owner, metadata: Metadata::new() }).await?
                }
            };
            match written.outcome {
                WriteOutcome::Created => report.created.push(name),
                WriteOutcome::Updated => report.updated.push(name),
                WriteOutcome::Unchanged => report.unchanged += 1,
            }
        }
        Ok(report)
    }

    /// The tasks of this file, by name.
    async fn owned_by(&self, path: &str) -> Result<BTreeMap<String, StoredTask>, Error> {
        let mut owned = BTreeMap::new();
        let mut after: Option<TaskId> = None;
        loop {
            let filter =
                TaskFilter { kind: Some(self.kind.clone()), after, limit: MAX_PAGE, ..TaskFilter::default() };
            let page = self.core.parts.store.tasks(&filter).await?;
            for stored in page.items {
                if matches!(&stored.task.owner, Owner::File(owner) if owner == path) {
                    owned.insert(stored.task.spec.name.clone(), stored);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(owned),
            }
        }
    }

    async fn problems(
        &self,
        path: &str,
        specs: &[TaskSpec],
        owned: &BTreeMap<String, StoredTask>,
    ) -> Result<Vec<FileConflict>, Error> {
        let Parts { now, default_zone } = self.parts();
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for spec in specs {
            let mut problem =
                |reason: String| problems.push(FileConflict { name: spec.name.clone(), reason });
            if !names.insert(&spec.name) {
                problem("the file names it twice".to_owned());
            }
            let previous = owned.get(&spec.name).map(|stored| &stored.task.spec);
            if let Err(error) = definition::accept(spec, previous, default_zone, now) {
                problem(error.to_string());
            }
            if previous.is_some() {
                continue;
            }
            if let Some(other) = self.core.parts.store.task_by_name(&self.kind, &spec.name).await? {
                debug_assert!(same(&other.task.kind, &self.kind), "names are looked up within one type");
                match &other.task.owner {
                    Owner::File(owner) if owner == path => {}
                    Owner::File(owner) => problem(format!("it belongs to the file {owner}")),
                    Owner::Local | Owner::Named(_) => {
                        let id = other.task.id;
                        problem(format!("a task of that name exists already: {id}; delete it or rename one"));
                    }
                }
            }
        }
        Ok(problems)
    }
}

fn joined(path: &str, problems: &[FileConflict]) -> Edge {
    let list: Vec<String> =
        problems.iter().map(|FileConflict { name, reason }| format!("task {name:?}: {reason}")).collect();
    Edge::new(ErrorCode::Invalid, format!("the file {path} was not applied: {}", list.join("; ")))
}
