//! The definitions that the due loop has at hand: bounded, and never trusted beyond what the store confirms.
//!
//! A due names its revision, so an entry of another revision is simply not used; a checkpoint that has moved
//! elsewhere makes the store answer with the current one. Nobody has to invalidate anything.

use jiff::Timestamp;
use lru::LruCache;
use punctual_model::{Task, TaskId};
use punctual_store::StoredTask;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Most definitions kept. A definition is about a kibibyte, so this is some sixteen megabytes; tasks that are
/// due so seldom that they fall out cost one read each time.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Those that were used last.
pub(crate) type KnownTasks = LruCache<TaskId, Known>;

/// None yet.
pub(crate) fn none() -> KnownTasks {
    LruCache::new(CAPACITY)
}

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
