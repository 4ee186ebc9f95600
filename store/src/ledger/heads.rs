//! Heads that were needed lately, so that a run's claim, start and end read its task's head from the tables once.
//!
//! Only the one who writes asks here and tells of every write, so what is here is what the tables have.

use super::tables::Head;
use punctual_model::TaskId;
use std::collections::HashMap;

/// Most heads in each of the two generations: more tasks than places to work, so that a run's head is here from
/// its claim to its end; and those of ten thousand tasks that are due every second stay here, in about six megabytes.
const GENERATION: usize = 8_192;

/// A cache in two generations: what is used survives, the rest goes when the younger one is full.
#[derive(Debug, Default)]
pub(super) struct KnownHeads {
    young: HashMap<TaskId, Head>,
    old: HashMap<TaskId, Head>,
}

impl KnownHeads {
    pub(super) fn get(&mut self, task: TaskId) -> Option<Head> {
        self.look(task).cloned()
    }

    pub(super) fn has(&self, task: TaskId) -> bool {
        self.young.contains_key(&task) || self.old.contains_key(&task)
    }

    pub(super) fn revision(&mut self, task: TaskId) -> Option<u64> {
        self.look(task).map(|head| head.revision)
    }

    fn look(&mut self, task: TaskId) -> Option<&Head> {
        if !self.young.contains_key(&task) {
            let head = self.old.remove(&task)?;
            self.keep(task, Some(head));
        }
        self.young.get(&task)
    }

    /// The head is this now; none means that there is none.
    pub(super) fn keep(&mut self, task: TaskId, head: Option<Head>) {
        let Some(head) = head else {
            self.young.remove(&task);
            self.old.remove(&task);
            return;
        };
        if self.young.len() >= GENERATION && !self.young.contains_key(&task) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&task);
        self.young.insert(task, head);
    }
}
