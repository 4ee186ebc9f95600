//! The definitions that dues were derived from: at hand, or read.

use super::DueLoop;
use super::group::Group;
use crate::engine::Core;
use crate::error::Error;
use crate::known_tasks::{Known, KnownTasks};
use futures_util::{StreamExt, TryStreamExt, stream};
use punctual_model::TaskId;
use punctual_store::{self as store, StoredTask};
use std::sync::Arc;

/// Reads at once for tasks that are not at hand; more would not make one disk faster.
const READS_AT_ONCE: usize = 32;

impl DueLoop {
    /// The definition that each group's dues were derived from. Dues of any other are derived again.
    pub(super) async fn load(&mut self, groups: Vec<Group>) -> Result<Vec<(Group, Known)>, Error> {
        let at_hand = |group: &Group, known: &mut KnownTasks| {
            let due = group.dues.first()?;
            known.get(group.task).filter(|known| known.task.revision == due.revision)
        };
        let groups: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let known = at_hand(&group, &mut self.known);
                (group, known)
            })
            .collect();
        let missing: Vec<TaskId> =
            groups.iter().filter(|(_, known)| known.is_none()).map(|(group, _)| group.task).collect();
        let core = Arc::clone(&self.core);
        let read = stream::iter(missing).map(|id| {
            let core = Arc::clone(&core);
            async move { settle_unreadable(&core, id, core.parts.store.task(id).await) }
        });
        let mut read = read.buffered(READS_AT_ONCE);
        let mut loaded = Vec::with_capacity(groups.len());
        for (group, known) in groups {
            let known = match known {
                Some(known) => Some(known),
                None => match read.try_next().await?.flatten() {
                    Some(stored) => self.fresh(&group, stored),
                    None => {
                        self.known.forget(group.task);
                        self.core.parts.scheduler.release(group.task);
                        None
                    }
                },
            };
            loaded.extend(known.map(|known| (group, known)));
        }
        Ok(loaded)
    }

    /// Keeps what was read, if the dues are of that definition; else lets the scheduler derive them again.
    fn fresh(&mut self, group: &Group, stored: StoredTask) -> Option<Known> {
        let is_same = group.dues.first().is_some_and(|due| due.revision == stored.task.revision);
        if is_same && stored.task.is_active() {
            return Some(self.remember(stored));
        }
        self.core.schedule_or_release(&stored);
        self.remember(stored);
        None
    }

    pub(super) fn remember(&mut self, stored: StoredTask) -> Known {
        let known = Known::from(stored);
        self.known.put(known.task.id, known.clone());
        known
    }
}

/// A single record that cannot be read takes its task out of the timetable and nothing else.
fn settle_unreadable(
    core: &Core,
    task: TaskId,
    answer: Result<Option<StoredTask>, store::Error>,
) -> Result<Option<StoredTask>, Error> {
    match answer {
        Ok(stored) => Ok(stored),
        Err(error @ store::Error::Unreadable { .. }) => {
            core.set_aside(task, String::new(), error.to_string());
            Ok(None)
        }
        Err(error) => Err(core.heed(error)),
    }
}
