//! Definitions one after the other in the order of their keys: whoever wants nearly all of them reads on, which costs
//! a fraction of looking each one up.

use super::key;
use super::tables::{View, failed};
use crate::error::Error;
use fjall::{Iter, UserKey, UserValue};
use punctual_model::{Task, TaskId};
use std::cmp::Ordering;
use std::sync::Arc;

/// Entries passed over before it looks for what is wanted instead: about as many as a search costs.
const STRIDE: usize = 16;

/// A place among the definitions of a view; it only moves on.
pub(super) struct InOrder<'a> {
    view: &'a View<'a>,
    entries: Option<Iter>,
    /// The entry at which it stands.
    here: Option<(UserKey, UserValue)>,
}

impl<'a> InOrder<'a> {
    pub(super) fn of(view: &'a View<'a>) -> Self {
        Self { view, entries: None, here: None }
    }

    /// One revision of a task's definition; of each one that was asked for before, the key is lower.
    ///
    /// # Errors
    /// As [`crate::ledger::Tables::definition`].
    pub(super) fn read(&mut self, task: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        let wanted = key::pair(task.get(), revision);
        for _ in 0..STRIDE {
            let Some((key, value)) = &self.here else { break };
            match (**key).cmp(&wanted[..]) {
                Ordering::Less => self.step()?,
                Ordering::Equal => return self.view.decode_definition(task, revision, key, value).map(Some),
                Ordering::Greater => return Ok(None),
            }
        }
        self.entries = Some(self.view.definitions_from(wanted));
        self.step()?;
        match &self.here {
            Some((key, value)) if **key == wanted => {
                self.view.decode_definition(task, revision, key, value).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        let next = self.entries.as_mut().and_then(Iterator::next);
        self.here = next.map(fjall::Guard::into_inner).transpose().map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::open;
    use super::super::options::Options;
    use super::*;
    use crate::ledger::{Change, Digest, Head, HeadStatus, Tables as _};
    use fjall::PersistMode;
    use punctual_model::{Owner, TaskProgress, TaskSpec, TaskType, Work};
    use std::ops::ControlFlow;

    fn task(id: u64, revision: u64) -> Arc<Task> {
        Arc::new(Task {
            id: TaskId::new(id).unwrap(),
            kind: TaskType::default(),
            revision,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            owner: Owner::Local,
            metadata: serde_json::Map::new(),
            spec: TaskSpec::new(format!("t{id}"), Work::handler("h")),
        })
    }

    /// What is read on says the same as what is looked up, whatever is missing, damaged, old or not wanted.
    #[test]
    fn each_task_has_the_definition_that_it_would_have_alone() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&folder.path().join("data"), &Options::default()).unwrap();
        let core = &opened.core;
        let mut batch = core.batch(1, 0, 4_000);
        for id in 1..=2_000 {
            let current = task(id, if id % 7 == 0 { 40 } else { 1 });
            let head = Head {
                revision: current.revision,
                oldest_revision: 1,
                status: if id % 5 == 0 { HeadStatus::Paused } else { HeadStatus::Active },
                digest: Digest::of(&current.spec),
                progress: TaskProgress::default(),
                kept_runs: 0,
                kept_marks: 0,
                history_from: None,
            };
            core.add(&mut batch, &Change::Head(current.id, &head)).unwrap();
            // All that has no definition, and what lies before the one that is wanted.
            let there = if id % 11 == 0 { 0 } else { current.revision };
            for revision in 1..=there {
                let definition = task(id, revision);
                let change = Change::Definition(current.id, revision, Some(&definition));
                core.add(&mut batch, &change).unwrap();
            }
            if id % 13 == 0 {
                let key = key::pair(id, current.revision);
                batch.insert(&core.keyspaces.definitions, key, b"\x01{");
            }
        }
        batch.durability(Some(PersistMode::SyncData)).commit().unwrap();
        let view = core.view();
        let wanted = |head: &Head| head.status == HeadStatus::Active;
        for after in [None, TaskId::new(77), TaskId::new(2_000)] {
            let (mut alone, mut seen) = (Vec::new(), Vec::new());
            let mut rising = view.rising_definitions();
            view.heads(after, &mut |id, head| {
                if wanted(&head) {
                    alone.push((id, view.definition(id, head.revision)));
                    seen.push((id, rising(id, head.revision)));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(seen, alone, "after {after:?}");
        }
    }
}
