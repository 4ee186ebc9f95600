//! Output that goes before the record of its run: of which tasks, and which runs of them.
//!
//! Births tell of tasks that say so, and the janitor's daily round finds the others. Whoever looks walks from a task's
//! newest run to where all output is gone already, so a look costs as much as what is kept, and comes after so many
//! births that this is a constant part of each.

use crate::engine::Core;
use crate::error::Error;
use crate::paging::MAX_PAGE;
use jiff::Timestamp;
use punctual_model::task::Output;
use punctual_model::{RunId, RunState, Task, TaskId};
use punctual_store::RunFilter;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of the runs whose output is kept, so large a part may be born before they are looked at again: one in ten.
const PART: u32 = 10;

/// The tasks whose output goes early.
#[derive(Debug, Default)]
pub(crate) struct EarlyOutput {
    tasks: Mutex<BTreeMap<TaskId, Known>>,
}

/// What is known of one of them.
#[derive(Debug, Default)]
struct Known {
    /// Runs born since the last look.
    born: usize,
    /// So many are worth the next one.
    enough: usize,
    /// Of this run and all before it the output is gone.
    gone: Option<RunId>,
}

impl EarlyOutput {
    /// So many runs of a task were born.
    pub(crate) fn born(&self, task: &Task, runs: usize) {
        let output = task.spec.output;
        if !output.goes_early() {
            return;
        }
        let mut tasks = self.tasks();
        let known = tasks.entry(task.id).or_default();
        known.born = known.born.saturating_add(runs);
        known.enough = match output.runs {
            Some(runs) => usize::try_from(runs / PART).unwrap_or(usize::MAX).saturating_add(1),
            // Ages are looked at by the hour.
            None => usize::MAX,
        };
    }

    /// The tasks of which enough runs were born for a look.
    pub(super) fn grown(&self) -> Vec<TaskId> {
        let grown = |known: &Known| known.born >= known.enough && known.enough > 0;
        self.tasks().iter().filter(|(_, known)| grown(known)).map(|(task, _)| *task).collect()
    }

    /// All that are known.
    pub(super) fn all(&self) -> Vec<TaskId> {
        self.tasks().keys().copied().collect()
    }

    /// Has the output of a task's runs removed that is not to be kept any more; answers of how many runs.
    pub(super) async fn remove(&self, core: &Core, task: TaskId) -> Result<usize, Error> {
        let parts = &core.parts;
        let stored = parts.store.task(task).await?;
        // A deleted task's output goes with its records.
        let Some(output) = stored.map(|stored| stored.task.spec.output).filter(Output::goes_early) else {
            self.tasks().remove(&task);
            return Ok(0);
        };
        let gone = {
            let mut tasks = self.tasks();
            let known = tasks.entry(task).or_default();
            known.born = 0;
            known.gone
        };
        let oldest = output.age.and_then(|age| parts.clock.now().checked_sub(age).ok());
        let mut look =
            Look { most: output.runs, oldest: oldest.unwrap_or(Timestamp::MIN), kept: [0; 2], gone: None };
        let (mut after, mut removed) = (None, 0);
        loop {
            let filter = RunFilter { task: Some(task), after, limit: MAX_PAGE, ..RunFilter::default() };
            let page = parts.store.runs(&filter).await?;
            let new = page.items.iter().take_while(|run| gone.is_none_or(|gone| run.id > gone));
            let mut seen = 0;
            let mut go = Vec::new();
            for run in new {
                seen += 1;
                // What never was at work takes no other run's place.
                if matches!(run.state(), RunState::Skipped { .. } | RunState::Missed(_)) {
                    continue;
                }
                let follows = run.trigger.follows().is_some();
                // Without an outcome nobody knows what it wrote: its node died.
                if look.goes(run.id, follows, run.finished_at)
                    && run.outcome.as_ref().is_none_or(|it| it.output.is_some())
                {
                    go.push(run.id);
                }
            }
            if !go.is_empty() {
                parts.output.remove_output(&go).await;
                removed += go.len();
            }
            match page.next {
                Some(next) if seen == page.items.len() => after = Some(next),
                _ => break,
            }
        }
        if let Some(newest) = look.gone {
            self.tasks().entry(task).or_default().gone = Some(newest);
        }
        Ok(removed)
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<TaskId, Known>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A walk from the newest run to older ones.
struct Look {
    most: Option<u32>,
    oldest: Timestamp,
    /// Finished runs that were seen: of the task's work, and those that told of their ends.
    kept: [u32; 2],
    /// The newest of those that go, since the last one that stays.
    gone: Option<RunId>,
}

impl Look {
    /// Whether the output of the next run goes, which has finished then.
    fn goes(&mut self, run: RunId, follows: bool, finished_at: Option<Timestamp>) -> bool {
        let kept = &mut self.kept[usize::from(follows)];
        let goes = match finished_at {
            None => false,
            Some(at) if at < self.oldest => true,
            Some(_) => {
                let goes = self.most.is_some_and(|most| *kept >= most);
                *kept = kept.saturating_add(1);
                goes
            }
        };
        if !goes {
            self.gone = None;
        } else if self.gone.is_none() {
            self.gone = Some(run);
        }
        goes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_what_is_too_old_goes_and_nothing_unfinished_is_passed_for_good() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let run = |number: u64| RunId::new(number).unwrap();
        let mut look = Look { most: Some(2), oldest: at(100), kept: [0; 2], gone: None };
        let runs = [(9, None), (8, Some(109)), (7, Some(50)), (6, Some(107)), (5, Some(106)), (4, None)];
        let goes: Vec<u64> = runs
            .iter()
            .filter(|(id, finished)| look.goes(run(*id), false, finished.map(at)))
            .map(|(id, _)| *id)
            .collect();
        assert_eq!((goes, look.gone), (vec![7, 5], None), "4 is looked at again");
        assert!(look.goes(run(3), false, Some(at(103))) && look.goes(run(2), false, Some(at(102))));
        assert_eq!(look.gone, Some(run(3)));
        assert!(!look.goes(run(1), true, Some(at(101))), "what tells of an end takes no place of the work");
    }
}
