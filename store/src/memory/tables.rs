//! Tables in ordinary maps.

use crate::error::Error;
use crate::ledger::{Change, Head, Meta, OpenKey, OpenMark, Quarantine, Tables};
use punctual_model::{Run, RunId, Task, TaskId, TaskType};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// All records of a memory store.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryTables {
    meta: Option<Meta>,
    runs: BTreeMap<RunId, Run>,
    heads: BTreeMap<TaskId, Head>,
    definitions: BTreeMap<(TaskId, u64), Arc<Task>>,
    names: BTreeMap<(TaskType, String), TaskId>,
    keys: BTreeMap<(TaskId, String), RunId>,
    open: BTreeMap<OpenKey, OpenMark>,
    of_task: BTreeMap<TaskId, BTreeSet<RunId>>,
    crews: BTreeMap<u64, Vec<RunId>>,
    /// Number of commits.
    pub(super) sequence: u64,
    /// Runs, heads and the definitions of tasks that a test has made unreadable.
    pub(super) damaged_runs: BTreeSet<RunId>,
    pub(super) damaged_heads: BTreeSet<TaskId>,
    pub(super) damaged_definitions: BTreeSet<TaskId>,
    pub(super) quarantine: Arc<Quarantine>,
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

impl MemoryTables {
    pub(super) fn apply(&mut self, change: Change<'_>) {
        match change {
            Change::Meta(meta) => self.meta = Some(meta),
            Change::Run(id, run) => set(&mut self.runs, id, run.cloned()),
            Change::Head(id, head) => set(&mut self.heads, id, Some(head.clone())),
            Change::Definition(id, revision, task) => {
                set(&mut self.definitions, (id, revision), task.cloned());
            }
            Change::Name(kind, name, id) => set(&mut self.names, (kind.clone(), name.to_owned()), id),
            Change::Key(task, key, run) => set(&mut self.keys, (task, key.to_owned()), run),
            Change::Open(key, mark) => set(&mut self.open, key, mark),
            Change::Crew(crew, runs) => set(&mut self.crews, crew, runs.map(<[_]>::to_vec)),
            Change::OfTask(task, run, true) => {
                self.of_task.entry(task).or_default().insert(run);
            }
            Change::OfTask(task, run, false) => {
                if let Some(runs) = self.of_task.get_mut(&task) {
                    runs.remove(&run);
                }
            }
        }
    }

    fn damaged(&self, kind: &'static str, key: [u8; 8]) -> Error {
        self.quarantine.report(kind, &key, "damaged by a test")
    }
}

/// The range beyond `after` in the direction of a scan.
fn beyond<K: Copy>(after: Option<K>, newest_first: bool) -> (Bound<K>, Bound<K>) {
    match after {
        None => (Bound::Unbounded, Bound::Unbounded),
        Some(after) if newest_first => (Bound::Unbounded, Bound::Excluded(after)),
        Some(after) => (Bound::Excluded(after), Bound::Unbounded),
    }
}

/// Walks in the direction of a scan until `visit` breaks.
fn walk<I>(
    items: impl DoubleEndedIterator<Item = I>,
    newest_first: bool,
    visit: impl FnMut(I) -> ControlFlow<()>,
) {
    let _ = if newest_first { items.rev().try_for_each(visit) } else { { items }.try_for_each(visit) };
}

impl Tables for MemoryTables {
    fn meta(&self) -> Result<Option<Meta>, Error> {
        Ok(self.meta)
    }

    fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        if self.damaged_runs.contains(&id) {
            return Err(self.damaged("run", id.to_key()));
        }
        Ok(self.runs.get(&id).cloned())
    }

    fn head(&self, task: TaskId) -> Result<Option<Head>, Error> {
        if self.damaged_heads.contains(&task) {
            return Err(self.damaged("task head", task.to_key()));
        }
        Ok(self.heads.get(&task).cloned())
    }

    fn definition(&self, task: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        if self.damaged_definitions.contains(&task) {
            return Err(self.damaged("definition", task.to_key()));
        }
        Ok(self.definitions.get(&(task, revision)).cloned())
    }

    fn name(&self, kind: &TaskType, name: &str) -> Result<Option<TaskId>, Error> {
        Ok(self.names.get(&(kind.clone(), name.to_owned())).copied())
    }

    fn key(&self, task: TaskId, key: &str) -> Result<Option<RunId>, Error> {
        Ok(self.keys.get(&(task, key.to_owned())).copied())
    }

    fn heads(
        &self,
        after: Option<TaskId>,
        visit: &mut dyn FnMut(TaskId, Head) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        walk(self.heads.range(beyond(after, false)), false, |(id, head)| {
            if self.damaged_heads.contains(id) {
                self.damaged("task head", id.to_key());
                return ControlFlow::Continue(());
            }
            visit(*id, head.clone())
        });
        Ok(())
    }

    fn open(
        &self,
        from: Option<OpenKey>,
        visit: &mut dyn FnMut(OpenKey, OpenMark) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        walk(self.open.range((from, Bound::Unbounded)), false, |(key, mark)| visit(*key, *mark));
        Ok(())
    }

    fn crews(&self, visit: &mut dyn FnMut(u64, Vec<RunId>) -> ControlFlow<()>) -> Result<(), Error> {
        walk(self.crews.iter(), false, |(crew, runs)| visit(*crew, runs.clone()));
        Ok(())
    }

    fn runs(
        &self,
        after: Option<RunId>,
        newest_first: bool,
        visit: &mut dyn FnMut(Run) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        walk(self.runs.range(beyond(after, newest_first)), newest_first, |(id, run)| {
            if self.damaged_runs.contains(id) {
                self.damaged("run", id.to_key());
                return ControlFlow::Continue(());
            }
            visit(run.clone())
        });
        Ok(())
    }

    fn runs_of(
        &self,
        task: TaskId,
        after: Option<RunId>,
        newest_first: bool,
        visit: &mut dyn FnMut(RunId) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if let Some(runs) = self.of_task.get(&task) {
            walk(runs.range(beyond(after, newest_first)), newest_first, |id| visit(*id));
        }
        Ok(())
    }

    fn last_ids(&self) -> Result<(Option<TaskId>, Option<RunId>), Error> {
        let task = self.heads.last_key_value().map(|(id, _)| *id);
        let run = self.runs.last_key_value().map(|(id, _)| *id);
        Ok((task, run))
    }
}
