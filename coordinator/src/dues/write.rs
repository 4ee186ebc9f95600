//! Decided dues become records, and what follows from the store's answer.

use super::{DueLoop, Room};
use crate::births::Births;
use crate::error::Error;
use crate::known_tasks::Known;
use punctual_executor::{Dispatch, Reservation};
use punctual_faults::crash_point;
use punctual_model::{CancelWhy, Run, RunState, Task};
use punctual_store::{self as store, Materialise, Materialised};
use std::sync::Arc;

/// One task's part of a commit.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) known: Known,
    pub(super) births: Births,
}

/// What a commit left to be done.
#[derive(Debug, Default)]
struct Aftermath {
    to_execute: Vec<Dispatch>,
    to_stop: Vec<Run>,
}

impl DueLoop {
    /// Writes all parts in one commit. Should one of them be unfit for the store, each is written alone, so
    /// that it hinders nobody but its own task.
    pub(super) async fn commit(&mut self, parts: Vec<Part>) -> Result<Room, Error> {
        if parts.is_empty() {
            return Ok(Room::Enough);
        }
        match self.write(&parts).await {
            Err(Error::Store(store::Error::TooLarge { .. } | store::Error::Unreadable { .. })) => {}
            answer => return answer,
        }
        let mut room = Room::Enough;
        for part in parts {
            let task = Arc::clone(&part.known.task);
            match self.write(std::slice::from_ref(&part)).await {
                Err(Error::Store(
                    error @ (store::Error::TooLarge { .. } | store::Error::Unreadable { .. }),
                )) => {
                    self.core.parts.scheduler.release(task.id);
                    self.core.set_aside(task.id, task.spec.name.clone(), error.to_string());
                }
                answer => {
                    if answer? == Room::None {
                        room = Room::None;
                    }
                }
            }
        }
        Ok(room)
    }

    async fn write(&mut self, parts: &[Part]) -> Result<Room, Error> {
        let core = Arc::clone(&self.core);
        let mut reservation = Reservation::none();
        let reserved = parts.iter().map(|part| {
            let wanted = part.births.runs.iter().filter(|run| is_open(run)).count();
            let held = core.parts.executor.reserve(&part.known.task, wanted);
            let count = held.count();
            reservation.join(held);
            count
        });
        let dues = parts.iter().zip(reserved).map(|(part, reserved)| materialise(part, reserved)).collect();
        crash_point("coordinator.before_materialise");
        let answer = core.parts.store.materialise(&core.parts.session, dues).await;
        crash_point("coordinator.after_materialise");
        let answers = match answer {
            Ok(answers) => answers,
            Err(store::Error::Full { .. }) => {
                self.postponed.extend(parts.iter().map(|part| part.known.clone()));
                return Ok(Room::None);
            }
            Err(error) => return Err(core.heed(error)),
        };
        let mut aftermath = Aftermath::default();
        for (part, answer) in parts.iter().zip(answers) {
            self.settle(part, answer, &mut aftermath);
        }
        let Aftermath { to_execute, to_stop } = aftermath;
        if !to_execute.is_empty() {
            core.parts.executor.execute(to_execute, reservation).await.map_err(|error| core.heed(error))?;
        }
        for run in to_stop {
            let cancel = core.parts.executor.cancel(run.id, CancelWhy::Replaced).await;
            core.pass_over("stopping a replaced run", cancel)?;
        }
        Ok(Room::Enough)
    }

    /// Takes note of what the store did with one task's dues.
    fn settle(&mut self, part: &Part, answer: Materialised, aftermath: &mut Aftermath) {
        let Part { known, births } = part;
        let mut known = known.clone();
        let id = known.task.id;
        match answer {
            Materialised::Stored { births: runs, replaced } => {
                self.core.born(&known.task, runs.len());
                log_births(&known.task, &runs);
                known.checkpoint = Some(births.checkpoint);
                if births.more {
                    self.reschedule(&known);
                }
                let task = &known.task;
                let open = runs.into_iter().filter(is_open);
                aftermath.to_execute.extend(open.map(|run| Dispatch { run, task: Arc::clone(task) }));
                aftermath.to_stop.extend(replaced.into_iter().filter(|run| run.state().is_at_work()));
                drop(self.known.put(id, known));
            }
            Materialised::Stale(Some(stored)) => {
                self.core.schedule_or_release(&stored);
                self.remember(stored);
            }
            Materialised::Stale(None) => {
                self.core.release(id);
                self.known.pop(&id);
            }
        }
    }
}

fn materialise(part: &Part, reserved: usize) -> Materialise {
    let Part { known, births } = part;
    Materialise {
        task: known.task.id,
        revision: known.task.revision,
        seen_checkpoint: known.checkpoint,
        checkpoint: births.checkpoint,
        births: births.runs.clone(),
        replaces: births.replaces.clone(),
        reserved,
    }
}

fn is_open(run: &Run) -> bool {
    !run.state().is_terminal()
}

fn log_births(task: &Task, runs: &[Run]) {
    for run in runs {
        let spec = &task.spec;
        match run.state() {
            RunState::Missed(_) | RunState::Skipped { .. } => tracing::info!(
                task.id = %task.id, task.name = spec.name, task.type = %task.kind, task.revision = task.revision,
                run.id = %run.id, scheduled_for = %run.scheduled_for, state = run.state().name().as_str(),
                reason = run.state().reason().unwrap_or_default(), "due time without a run"
            ),
            _ => tracing::debug!(
                task.id = %task.id, task.name = spec.name, task.type = %task.kind, task.revision = task.revision,
                run.id = %run.id, scheduled_for = %run.scheduled_for, trigger = run.trigger.as_str(),
                "run accepted"
            ),
        }
    }
}
