//! What becomes of one task's dues. Asks the scheduler about late ones and the store about unfinished runs; the
//! rules themselves are pure functions elsewhere.

use super::DueLoop;
use super::group::{Group, punctual};
use super::write::Part;
use crate::births::{InTheWay, Owed, births};
use crate::error::Error;
use crate::known_tasks::Known;
use punctual_model::overlap::Unfinished;
use punctual_model::{Overlap, TaskId, Trigger};
use std::collections::HashSet;

impl DueLoop {
    /// What becomes of one task's dues; none if they have their records already.
    pub(super) async fn decide(&self, group: Group, known: Known) -> Result<Option<Part>, Error> {
        let core = &self.core;
        let (task, checkpoint) = (&known.task, known.checkpoint.unwrap_or(known.task.created_at));
        let now = core.parts.clock.now();
        let owed = match group.dues.iter().find(|due| due.late) {
            None => punctual(&group.dues, checkpoint),
            Some(due) => match core.parts.scheduler.catch_up(task, checkpoint, due.seen_at) {
                Ok(plan) => Owed {
                    missed: plan.missed,
                    caught_up: plan.caught_up,
                    on_time: plan.on_time,
                    checkpoint: plan.checkpoint,
                    more: plan.more,
                },
                Err(error) => {
                    core.parts.scheduler.release(task.id);
                    core.set_aside(task.id, task.spec.name.clone(), error.to_string());
                    return Ok(None);
                }
            },
        };
        if owed.is_empty() {
            return Ok(None);
        }
        let in_the_way = match task.spec.overlap {
            Overlap::Allow => InTheWay::default(),
            _ => self.in_the_way(task.id, !owed.caught_up.is_empty()).await?,
        };
        let births = births(task, owed, in_the_way, now, || core.next_run());
        Ok(Some(Part { known, births }))
    }

    async fn in_the_way(&self, task: TaskId, late: bool) -> Result<InTheWay, Error> {
        let store = &self.core.parts.store;
        let of_on_time = store.unfinished(task).await?;
        let mut of_late = of_on_time.clone();
        if late && !of_late.is_empty() {
            let mut caught_up = HashSet::new();
            for id in of_late.begun.iter().chain(&of_late.waiting) {
                let run = self.core.pass_over("reading an unfinished run", store.run(*id).await)?.flatten();
                if run.is_some_and(|run| run.trigger == Trigger::CatchUp) {
                    caught_up.insert(*id);
                }
            }
            of_late.begun.retain(|id| !caught_up.contains(id));
            of_late.waiting.retain(|id| !caught_up.contains(id));
            // The unnamed ones wait behind those named, so they are late ones if all of those are.
            if of_late == (Unfinished { more_waiting: of_late.more_waiting, ..Unfinished::default() }) {
                of_late.more_waiting = 0;
            }
        }
        Ok(InTheWay { of_late, of_on_time })
    }
}
