//! Definitions that were read lately, so that a claim parses none.

use punctual_model::{Task, TaskId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most definitions in each of the two generations. A definition takes some kilobytes at most, so this stays
/// within a few megabytes; more tasks than that are seldom at work at once.
const GENERATION: usize = 1_000;

/// A cache in two generations: what is used survives, the rest goes when the younger one is full.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<(TaskId, u64), Arc<Task>>,
    old: HashMap<(TaskId, u64), Arc<Task>>,
}

impl Definitions {
    pub(super) fn get(&self, task: TaskId, revision: u64) -> Option<Arc<Task>> {
        let mut generations = self.lock();
        let key = (task, revision);
        if let Some(found) = generations.young.get(&key) {
            return Some(found.clone());
        }
        let found = generations.old.remove(&key)?;
        generations.keep(key, found.clone());
        Some(found)
    }

    pub(super) fn keep(&self, definition: &Arc<Task>) {
        self.lock().keep((definition.id, definition.revision), definition.clone());
    }

    pub(super) fn forget(&self, task: TaskId, revision: u64) {
        let mut generations = self.lock();
        generations.young.remove(&(task, revision));
        generations.old.remove(&(task, revision));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn keep(&mut self, key: (TaskId, u64), definition: Arc<Task>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, definition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_model::{Owner, TaskSpec, TaskType, Work};

    fn definition(id: u64) -> Arc<Task> {
        Arc::new(Task {
            id: TaskId::new(id).unwrap(),
            kind: TaskType::default(),
            revision: 1,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            updated_at: jiff::Timestamp::UNIX_EPOCH,
            owner: Owner::Local,
            metadata: serde_json::Map::new(),
            spec: TaskSpec::new("n", Work::handler("h")),
        })
    }

    #[test]
    fn what_is_used_stays_and_the_whole_is_bounded() {
        let cache = Definitions::default();
        for id in 1..=10_000 {
            cache.keep(&definition(id));
            assert!(cache.get(TaskId::new(1).unwrap(), 1).is_some(), "{id}");
        }
        assert!(cache.get(TaskId::new(2).unwrap(), 1).is_none());
        let generations = cache.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }
}
