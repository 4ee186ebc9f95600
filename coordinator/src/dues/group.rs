//! The dues of one task, out of a batch of many tasks'. Pure.

use crate::births::Owed;
use jiff::Timestamp;
use punctual_model::TaskId;
use punctual_scheduler::Due;
use punctual_scheduler::timetable::When;
use std::collections::HashMap;

/// The dues of one task in one batch.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) task: TaskId,
    pub(super) dues: Vec<Due>,
}

/// The dues of each task together, in the order in which the tasks came.
pub(super) fn grouped(batch: Vec<Due>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(batch.len());
    let mut place = HashMap::with_capacity(batch.len());
    for due in batch {
        let at = *place.entry(due.task_id).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => {
                // A newer definition has its own dues; those before it are not owed any more.
                group.dues.retain(|earlier| earlier.revision >= due.revision);
                group.dues.push(due);
            }
            None => groups.push(Group { task: due.task_id, dues: vec![due] }),
        }
    }
    groups
}

/// Dues that nobody is late for: each is a run, unless it has its record already.
pub(super) fn punctual(dues: &[Due], checkpoint: Timestamp) -> Owed {
    let mut owed = Owed { checkpoint, ..Owed::default() };
    for due in dues {
        // The timetable may have been set back while a commit was under way.
        if due.scheduled_for > owed.checkpoint {
            owed.on_time.push(When { due: due.scheduled_for, run_at: due.run_at });
            owed.checkpoint = due.scheduled_for;
        }
    }
    owed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn due(task: u64, revision: u64, second: i64) -> Due {
        let task_id = TaskId::new(task).unwrap();
        let (scheduled_for, run_at) = (at(second), at(second + 1));
        Due { task_id, revision, scheduled_for, run_at, seen_at: at(100), late: false }
    }

    #[test]
    fn dues_are_grouped_in_the_order_in_which_the_tasks_came() {
        let groups = grouped(vec![due(5, 1, 1), due(3, 1, 1), due(5, 1, 2), due(3, 2, 9)]);
        let short: Vec<_> = groups
            .iter()
            .map(|group| {
                let dues: Vec<_> = group.dues.iter().map(|due| due.scheduled_for.as_second()).collect();
                (group.task.get(), dues)
            })
            .collect();
        assert_eq!(short, [(5, vec![1, 2]), (3, vec![9])]);
    }

    #[test]
    fn a_due_that_has_its_record_is_not_owed_again() {
        let owed = punctual(&[due(1, 1, 3), due(1, 1, 4), due(1, 1, 4), due(1, 1, 5)], at(3));
        let dues: Vec<_> = owed.on_time.iter().map(|when| when.due.as_second()).collect();
        assert_eq!((dues, owed.checkpoint), (vec![4, 5], at(5)));
        assert!(punctual(&[due(1, 1, 3)], at(3)).is_empty());
    }
}
