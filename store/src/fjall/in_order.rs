//! Records one after the other in the order of their keys: whoever wants nearly all of them reads on, which costs
//! a fraction of looking each one up.

use super::tables::{View, failed};
use crate::error::Error;
use fjall::{Iter, Keyspace, UserKey, UserValue};
use std::cmp::Ordering;

/// Entries passed over before it looks for what is wanted instead: about as many as a search costs.
const STRIDE: usize = 16;
/// After so many searches in a row that were not worth their while each record is looked up: what is wanted lies far
/// apart. A search for a place to read on from costs several lookups.
const PATIENCE: u32 = 3;

/// A place in a keyspace of a view; it only moves on.
pub(super) struct InOrder<'a> {
    view: &'a View<'a>,
    keyspace: &'a Keyspace,
    entries: Option<Iter>,
    /// The entry at which it stands.
    here: Option<(UserKey, UserValue)>,
    /// Searches since it last read on.
    searched: u32,
}

impl<'a> InOrder<'a> {
    pub(super) fn of(view: &'a View<'a>, keyspace: &'a Keyspace) -> Self {
        Self { view, keyspace, entries: None, here: None, searched: 0 }
    }

    /// The record with this key; those that were asked for before have lower ones.
    ///
    /// # Errors
    /// [`Error::Failed`] if the database does not answer.
    pub(super) fn read(&mut self, wanted: &[u8]) -> Result<Option<UserValue>, Error> {
        if self.searched > PATIENCE {
            return self.view.lookup(self.keyspace, wanted);
        }
        for _ in 0..STRIDE {
            match &self.here {
                Some((key, _)) if (**key).cmp(wanted) == Ordering::Less => self.step()?,
                Some(_) => {
                    self.searched = 0;
                    return Ok(self.value_of(wanted));
                }
                None => break,
            }
        }
        self.searched += 1;
        self.entries = Some(self.view.from(self.keyspace, wanted));
        self.step()?;
        Ok(self.value_of(wanted))
    }

    fn value_of(&self, wanted: &[u8]) -> Option<UserValue> {
        self.here.as_ref().filter(|(key, _)| **key == *wanted).map(|(_, value)| value.clone())
    }

    fn step(&mut self) -> Result<(), Error> {
        let next = self.entries.as_mut().and_then(Iterator::next);
        self.here = next.map(fjall::Guard::into_inner).transpose().map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::key;
    use super::super::open::open;
    use super::super::options::Options;
    use crate::ledger::{Change, Digest, Head, HeadStatus, Tables as _};
    use fjall::PersistMode;
    use punctual_model::{Owner, Task, TaskId, TaskProgress, TaskSpec, TaskType, Work};
    use std::ops::ControlFlow;
    use std::sync::Arc;

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
                digest: Digest::of(&current.kind, &current.spec),
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
            let mut rising = view.rising_heads();
            for id in (1..=2_003).step_by(3).filter_map(TaskId::new) {
                assert_eq!(rising(id), view.head(id), "{id}");
            }
        }
    }
}
