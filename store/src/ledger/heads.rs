//! Heads that were needed lately, so that a run's claim, start and end read its task's head from the tables once.
//!
//! Only the one who writes asks here and tells of every write, so what is here is what the tables have.

use super::tables::Head;
use lru::LruCache;
use punctual_model::TaskId;
use std::num::NonZeroUsize;

/// Most heads: more tasks than places to work, so that a run's head is here from its claim to its end; and those of
/// ten thousand tasks that are due every second stay here, in about six megabytes.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// A cache that gives up what was used longest ago: one for each that comes, since to drop thousands at once, which
/// nobody has touched for a while, holds the writer up for milliseconds.
#[derive(Debug)]
pub(super) struct KnownHeads {
    heads: LruCache<TaskId, Head>,
}

impl Default for KnownHeads {
    fn default() -> Self {
        Self { heads: LruCache::new(CAPACITY) }
    }
}

impl KnownHeads {
    pub(super) fn get(&mut self, task: TaskId) -> Option<Head> {
        self.heads.get(&task).cloned()
    }

    pub(super) fn has(&self, task: TaskId) -> bool {
        self.heads.contains(&task)
    }

    pub(super) fn revision(&mut self, task: TaskId) -> Option<u64> {
        self.heads.get(&task).map(|head| head.revision)
    }

    /// The head is this now; none means that there is none.
    pub(super) fn keep(&mut self, task: TaskId, head: Option<Head>) {
        match head {
            Some(head) => drop(self.heads.put(task, head)),
            None => drop(self.heads.pop(&task)),
        }
    }
}
