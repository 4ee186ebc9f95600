//! Tasks one after the other in the order of their keys: whoever wants nearly all of them reads on, which costs a
//! fraction of looking each one up, and has their definitions parsed by two threads at once.

use super::key;
use super::tables::{View, failed};
use crate::error::Error;
use crate::ledger::{Defined, Head, Tables as _};
use fjall::{Iter, UserKey, UserValue};
use punctual_model::TaskId;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::thread;

/// Definitions read before they are parsed: some hundred kilobytes.
const CHUNK: usize = 512;

/// From so many on a second thread parses half of them: that takes ten times as long as to start it.
const SHARED: usize = 128;

/// Entries passed over before it looks for what is wanted instead: about as many as a search costs.
const STRIDE: usize = 16;

/// A task as it was found: its definition is not parsed yet.
struct Found {
    task: TaskId,
    head: Head,
    definition: Result<Option<UserValue>, Error>,
}

/// As [`crate::ledger::Tables::tasks`].
pub(super) fn tasks(
    view: &View<'_>,
    after: Option<TaskId>,
    most: usize,
    wanted: &dyn Fn(&Head) -> bool,
    visit: &mut dyn FnMut(Head, Defined) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut definitions = InOrder::of(view);
    let (mut after, mut left) = (after, most);
    loop {
        let size = left.clamp(1, CHUNK);
        let mut found = Vec::with_capacity(size);
        view.heads(after, &mut |task, head| {
            after = Some(task);
            if wanted(&head) {
                let definition = definitions.find(task, head.revision);
                found.push(Found { task, head, definition });
            }
            if found.len() == size { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let was_last = found.len() < size;
        for (head, definition) in parse(view, found) {
            if visit(head, definition).is_break() {
                return Ok(());
            }
        }
        if was_last {
            return Ok(());
        }
        left = left.saturating_sub(size);
    }
}

fn parse(view: &View<'_>, mut found: Vec<Found>) -> Vec<(Head, Defined)> {
    let core = view.core();
    let parse = move |found: Vec<Found>| -> Vec<(Head, Defined)> {
        let parsed = found.into_iter().map(|Found { task, head, definition }| {
            let parsed = definition.and_then(|record| {
                record.map(|record| core.decode_definition(task, head.revision, &record)).transpose()
            });
            (head, parsed)
        });
        parsed.collect()
    };
    if found.len() < SHARED {
        return parse(found);
    }
    let rest = found.split_off(found.len() / 2);
    thread::scope(|scope| {
        let rest = scope.spawn(move || parse(rest));
        let mut parsed = parse(found);
        match rest.join() {
            Ok(rest) => parsed.extend(rest),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        parsed
    })
}

/// A place among the definitions of a view; it only moves on.
struct InOrder<'a> {
    view: &'a View<'a>,
    entries: Option<Iter>,
    /// The entry at which it stands.
    here: Option<(UserKey, UserValue)>,
}

impl<'a> InOrder<'a> {
    fn of(view: &'a View<'a>) -> Self {
        Self { view, entries: None, here: None }
    }

    /// The record of one revision of a task's definition; of each one that was asked for before, the key is lower.
    fn find(&mut self, task: TaskId, revision: u64) -> Result<Option<UserValue>, Error> {
        let wanted = key::pair(task.get(), revision);
        for _ in 0..STRIDE {
            let Some((key, value)) = &self.here else { break };
            match (**key).cmp(&wanted[..]) {
                Ordering::Less => self.step()?,
                Ordering::Equal => return Ok(Some(value.clone())),
                Ordering::Greater => return Ok(None),
            }
        }
        self.entries = Some(self.view.definitions_from(wanted));
        self.step()?;
        Ok(self.here.as_ref().filter(|(key, _)| **key == wanted).map(|(_, value)| value.clone()))
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
    use crate::ledger::{Change, Digest, HeadStatus};
    use fjall::PersistMode;
    use punctual_model::{Owner, Task, TaskProgress, TaskSpec, TaskType, Work};
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
        let mut batch = core.batch(1, 4_000);
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
            let mut alone = Vec::new();
            view.heads(after, &mut |id, head| {
                if wanted(&head) {
                    alone.push((head.revision, view.definition(id, head.revision)));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
            for most in [1, 130, CHUNK, 5_000] {
                let mut seen = Vec::new();
                tasks(&view, after, most, &wanted, &mut |head, definition| {
                    seen.push((head.revision, definition));
                    ControlFlow::Continue(())
                })
                .unwrap();
                assert_eq!(seen, alone, "after {after:?}, at most {most}");
            }
        }
        let mut visits = 0;
        let mut enough = |_, _| {
            visits += 1;
            if visits == 600 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        tasks(&view, None, 10, &wanted, &mut enough).unwrap();
        assert_eq!(visits, 600);
    }
}
