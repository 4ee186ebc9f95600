//! Definitions that were read lately, so that a claim parses none.

use lru::LruCache;
use punctual_model::{Task, TaskId};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most definitions. One takes some kilobytes at most, so this stays within a few megabytes; more tasks than that are
/// seldom at work at once.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(2_000).unwrap();

/// A cache that gives up what was used longest ago, by task and revision.
#[derive(Debug)]
pub(super) struct Definitions {
    known: Mutex<LruCache<(TaskId, u64), Arc<Task>>>,
}

impl Default for Definitions {
    fn default() -> Self {
        Self { known: Mutex::new(LruCache::new(CAPACITY)) }
    }
}

impl Definitions {
    pub(super) fn get(&self, task: TaskId, revision: u64) -> Option<Arc<Task>> {
        self.lock().get(&(task, revision)).cloned()
    }

    pub(super) fn keep(&self, definition: &Arc<Task>) {
        let given_up = self.lock().push((definition.id, definition.revision), definition.clone());
        // Outside the lock.
        drop(given_up);
    }

    pub(super) fn forget(&self, task: TaskId, revision: u64) {
        drop(self.lock().pop(&(task, revision)));
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<(TaskId, u64), Arc<Task>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(cache.lock().len(), CAPACITY.get());
        cache.forget(TaskId::new(1).unwrap(), 1);
        assert!(cache.get(TaskId::new(1).unwrap(), 1).is_none());
    }
}
