//! The definitions that the due loop has at hand: bounded, and never trusted beyond what the store confirms.
//!
//! A due names its revision, so an entry of another revision is simply not used; a checkpoint that has moved
//! elsewhere makes the store answer with the current one. Nobody has to invalidate anything.

use jiff::Timestamp;
use punctual_model::{Task, TaskId};
use punctual_store::StoredTask;
use std::collections::HashMap;
use std::sync::Arc;

/// Most definitions kept. A definition is about a kibibyte, so this is some sixteen megabytes; tasks that are
/// due so seldom that they fall out cost one read each time.
pub(crate) const CAPACITY: usize = 16_384;

/// A definition and the checkpoint its next dues derive from.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) task: Arc<Task>,
    pub(crate) checkpoint: Option<Timestamp>,
}

impl From<StoredTask> for Known {
    fn from(stored: StoredTask) -> Self {
        Self { task: stored.task, checkpoint: stored.progress.checkpoint }
    }
}

/// Two generations: what is used moves to the young one; when that is full, the old one goes.
#[derive(Debug)]
pub(crate) struct KnownTasks {
    capacity: usize,
    young: HashMap<TaskId, Known>,
    old: HashMap<TaskId, Known>,
}

impl KnownTasks {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(2), young: HashMap::new(), old: HashMap::new() }
    }

    pub(crate) fn get(&mut self, id: TaskId) -> Option<Known> {
        if let Some(known) = self.young.get(&id) {
            return Some(known.clone());
        }
        let known = self.old.remove(&id)?;
        self.put(id, known.clone());
        Some(known)
    }

    pub(crate) fn put(&mut self, id: TaskId, known: Known) {
        if self.young.len() >= self.capacity / 2 && !self.young.contains_key(&id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&id);
        self.young.insert(id, known);
    }

    pub(crate) fn forget(&mut self, id: TaskId) {
        self.young.remove(&id);
        self.old.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_model::{TaskSpec, Work};

    fn id(n: u64) -> TaskId {
        TaskId::new(n).unwrap()
    }

    fn known(n: u64) -> Known {
        let task = Task {
            id: id(n),
            kind: Default::default(),
            revision: 1,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            owner: Default::default(),
            metadata: Default::default(),
            spec: TaskSpec::new("n", Work::shell("true")),
        };
        Known { task: Arc::new(task), checkpoint: None }
    }

    #[test]
    fn it_never_grows_beyond_its_bound_and_keeps_what_is_used() {
        let mut tasks = KnownTasks::new(8);
        for n in 1..=100 {
            tasks.put(id(n), known(n));
            assert!(tasks.get(id(1)).is_some(), "used each time, yet gone at {n}");
            assert!(tasks.young.len() + tasks.old.len() <= 8);
        }
        assert!(tasks.get(id(50)).is_none());
        tasks.forget(id(1));
        assert!(tasks.get(id(1)).is_none());
    }

    #[test]
    fn the_last_word_counts() {
        let mut tasks = KnownTasks::new(4);
        for checkpoint in [1, 2] {
            let checkpoint = Timestamp::from_second(checkpoint).ok();
            tasks.put(id(1), Known { checkpoint, ..known(1) });
            tasks.put(id(2), known(2));
            tasks.put(id(3), known(3));
        }
        assert_eq!(tasks.get(id(1)).unwrap().checkpoint, Timestamp::from_second(2).ok());
    }
}
