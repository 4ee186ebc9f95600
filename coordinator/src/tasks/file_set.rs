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

/// What a file says: its path, and the tasks that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSet {
    /// The path, by which its tasks are known again.
    pub path: String,
    /// Its tasks; none of a file that is gone.
    pub specs: Vec<TaskSpec>,
}

/// A file's tasks as they are stored, and as they are to be.
struct Change {
    file: FileSet,
    owned: BTreeMap<String, StoredTask>,
    report: FileReport,
}

impl Tasks {
    /// Makes the tasks that belong to the file `path` exactly `specs`: creates, updates and deletes.
    ///
    /// # Errors
    /// As [`Self::apply_file_sets`].
    pub async fn apply_file_set(&self, path: &str, specs: Vec<TaskSpec>) -> Result<FileReport, Error> {
        let reports = self.apply_file_sets(vec![FileSet { path: path.to_owned(), specs }]).await?;
        Ok(reports.into_iter().next().unwrap_or_default())
    }

    /// Makes the tasks of several files exactly what the files say; a task may move from one of them to another.
    /// Answers a report for each, in their order.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the problems of all tasks of all files, before anything is written; or the store's.
    pub async fn apply_file_sets(&self, files: Vec<FileSet>) -> Result<Vec<FileReport>, Error> {
        let mut changes = Vec::with_capacity(files.len());
        for file in files {
            let owned = self.owned_by(&file.path).await?;
            changes.push(Change { file, owned, report: FileReport::default() });
        }
        let mut refused = Vec::new();
        for change in &changes {
            let problems = self.problems(change, &changes).await?;
            if !problems.is_empty() {
                refused.push(joined(&change.file.path, &problems));
            }
        }
        if !refused.is_empty() {
            return Err(Error::Invalid(Edge::new(ErrorCode::Invalid, refused.join("; "))));
        }
        // First what goes, of all of them: a renamed or moved task must not hold the name of another.
        for change in &mut changes {
            self.delete_gone(change).await?;
        }
        let mut reports = Vec::with_capacity(changes.len());
        for mut change in changes {
            self.write_named(&mut change).await?;
            reports.push(change.report);
        }
        Ok(reports)
    }

    async fn delete_gone(&self, change: &mut Change) -> Result<(), Error> {
        let names: BTreeSet<&String> = change.file.specs.iter().map(|spec| &spec.name).collect();
        let gone: Vec<String> = change.owned.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(stored) = change.owned.remove(&name) {
                match self.delete_task(&stored, None).await {
                    Ok(()) | Err(Error::TaskNotFound) => change.report.deleted.push(name),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn write_named(&self, change: &mut Change) -> Result<(), Error> {
        let path = &change.file.path;
        let mut specs: BTreeMap<String, TaskSpec> = std::mem::take(&mut change.file.specs)
            .into_iter()
            .map(|spec| (spec.name.clone(), spec))
            .collect();
        while let Some((name, spec)) = specs.pop_first() {
            let written = match change.owned.get(&name) {
                Some(stored) => {
                    // Nothing but that: until somebody resumes it, or the file says something else.
                    let stays = stored.is_only_paused(&spec);
                    let edit = |task: &mut punctual_model::Task| {
                        if !stays {
                            task.spec = spec.clone();
                        }
                    };
                    self.edit(stored.task.id, None, Writer::File(path), Resumption::FromNow, edit).await?
                }
                None => {
                    let owner = Owner::File(path.clone());
                    self.create_as(NewTask { spec, owner, metadata: Metadata::new() }).await?
                }
            };
            match written.outcome {
                WriteOutcome::Created => change.report.created.push(name),
                WriteOutcome::Updated => change.report.updated.push(name),
                WriteOutcome::Unchanged => change.report.unchanged += 1,
            }
        }
        Ok(())
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

    async fn problems(&self, change: &Change, all: &[Change]) -> Result<Vec<FileConflict>, Error> {
        let Change { file: FileSet { path, specs }, owned, .. } = change;
        let Parts { now, default_zone } = self.parts();
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        for spec in specs {
            let mut problem =
                |reason: String| problems.push(FileConflict { name: spec.name.clone(), reason });
            if !names.insert(&spec.name) {
                problem("the file names it twice".to_owned());
            }
            let also = all
                .iter()
                .map(|other| &other.file)
                .find(|other| other.path != *path && names_it(other, spec));
            if let Some(other) = also {
                problem(format!("the file {} names it too", other.path));
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
                    // Given up by a file that is applied with this one, it is free by the time it is needed.
                    Owner::File(owner) if all.iter().any(|other| other.file.path == *owner) => {}
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

fn names_it(file: &FileSet, spec: &TaskSpec) -> bool {
    file.specs.iter().any(|other| other.name == spec.name)
}

fn joined(path: &str, problems: &[FileConflict]) -> String {
    let list: Vec<String> =
        problems.iter().map(|FileConflict { name, reason }| format!("task {name:?}: {reason}")).collect();
    format!("the file {path} was not applied: {}", list.join("; "))
}
