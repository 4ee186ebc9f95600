//! The definitions that dues were derived from: at hand, or read.

use super::DueLoop;
use super::group::Group;
use crate::error::Error;
use crate::known_tasks::{Known, KnownTasks};
use punctual_model::TaskId;
use punctual_store::{self as store, StoredTask};

impl DueLoop {
    /// The definition that each group's dues were derived from. Dues of any other are derived again.
    pub(super) async fn load(&mut self, groups: Vec<Group>) -> Result<Vec<(Group, Known)>, Error> {
        let at_hand = |group: &Group, known: &mut KnownTasks| {
            let due = group.dues.first()?;
            known.get(&group.task).filter(|known| known.task.revision == due.revision).cloned()
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
        // They need not be durable yet: nobody hears of them before the write that follows.
        let mut read = match missing.is_empty() {
            true => Vec::new(),
            false => self.core.parts.store.tasks_ahead(missing).await,
        }
        .into_iter();
        let mut loaded = Vec::with_capacity(groups.len());
        for (group, known) in groups {
            let known = match known {
                Some(known) => Some(known),
                None => match self.readable(group.task, read.next().unwrap_or(Ok(None)))? {
                    Some(stored) => self.fresh(&group, stored),
                    None => {
                        self.known.pop(&group.task);
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

    /// A single record that cannot be read takes its task out of the timetable and nothing else.
    fn readable(
        &self,
        task: TaskId,
        answer: Result<Option<StoredTask>, store::Error>,
    ) -> Result<Option<StoredTask>, Error> {
        match answer {
            Ok(stored) => Ok(stored),
            Err(error @ store::Error::Unreadable { .. }) => {
                self.core.set_aside(task, String::new(), error.to_string());
                Ok(None)
            }
            Err(error) => Err(self.core.heed(error)),
        }
    }
}
