//! The due loop: what the scheduler says is due becomes records in the store, and those go to the executor.
//!
//! One batch at a time: one commit and one hand-over each, however many tasks are in it. What to do with a due
//! is decided by pure functions (catch-up in the scheduler, overlap in the model, [`births`] here). A due that
//! could not be written is never dropped: it derives again from the task's checkpoint.

use crate::births::{Births, InTheWay, Owed, births};
use crate::engine::Core;
use crate::error::Error;
use crate::known_tasks::{CAPACITY, Known, KnownTasks};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use punctual_executor::Dispatch;
use punctual_model::overlap::Unfinished;
use punctual_model::{CancelWhy, Overlap, Run, RunState, Task, TaskId, Trigger};
use punctual_scheduler::timetable::When;
use punctual_scheduler::{Due, Fault};
use punctual_store::{self as store, Materialise, Materialised, StoredTask};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Most dues that are written in one commit: some hundred kilobytes, so that other writers wait a few
/// milliseconds at most behind a million tasks due at once.
pub const MAX_BATCH: usize = 1_024;
/// Reads at once for tasks that are not at hand; more would not make one disk faster.
const READS_AT_ONCE: usize = 32;
/// First pause after the store has refused new work for want of room …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … and the longest: room appears when somebody makes it, and half a minute later work goes on.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Turns dues into runs.
#[derive(Debug)]
pub(crate) struct DueLoop {
    core: Arc<Core>,
    known: KnownTasks,
    /// Tasks whose dues the store had no room for.
    postponed: Vec<Known>,
}

/// Whether the store took new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    None,
}

/// The dues of one task in one batch.
#[derive(Debug)]
struct Group {
    task: TaskId,
    dues: Vec<Due>,
}

/// One task's part of a commit.
#[derive(Debug)]
struct Part {
    known: Known,
    births: Births,
}

/// What a commit left to be done.
#[derive(Debug, Default)]
struct Aftermath {
    to_execute: Vec<Dispatch>,
    to_stop: Vec<Run>,
}

impl DueLoop {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, known: KnownTasks::new(CAPACITY), postponed: Vec::new() }
    }

    /// Works until it is told to stop, or nothing can be written any more. Must not be dropped in the middle:
    /// what is claimed would not be started.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let core = Arc::clone(&self.core);
        let mut pause = FIRST_PAUSE;
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = core.broken.cancelled() => return core.fatal().map_or(Ok(()), Err),
                batch = core.parts.scheduler.next_batch(MAX_BATCH) => batch,
            };
            let room = match self.run_once(batch).await {
                // The executor stopped before us; what was written waits in the queue.
                Err(Error::Stopped) => return Ok(()),
                room => room?,
            };
            if room == Room::Enough {
                if pause > FIRST_PAUSE {
                    tracing::info!("the store takes new work again");
                }
                pause = FIRST_PAUSE;
                continue;
            }
            if pause == FIRST_PAUSE {
                tracing::warn!("the store has no room for new work: dues wait, and are looked at again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = core.parts.clock.sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.ask_again();
        }
    }

    /// Deals with one batch of dues.
    pub(crate) async fn run_once(&mut self, batch: Vec<Due>) -> Result<Room, Error> {
        let mut parts = Vec::new();
        for (group, known) in self.load(grouped(batch)).await? {
            parts.extend(self.decide(group, known).await?);
        }
        for Fault { task_id, reason, .. } in self.core.parts.scheduler.take_faults() {
            self.core.set_aside(task_id, String::new(), reason);
        }
        self.commit(parts).await
    }

    /// Lets the scheduler hand out again what could not be written.
    fn ask_again(&mut self) {
        for known in std::mem::take(&mut self.postponed) {
            self.reschedule(&known);
        }
    }

    /// The definition that each group's dues were derived from. Dues of any other are derived again.
    async fn load(&mut self, groups: Vec<Group>) -> Result<Vec<(Group, Known)>, Error> {
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

    fn remember(&mut self, stored: StoredTask) -> Known {
        let known = Known::from(stored);
        self.known.put(known.task.id, known.clone());
        known
    }

    /// What becomes of one task's dues; none if they have their records already.
    async fn decide(&self, group: Group, known: Known) -> Result<Option<Part>, Error> {
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
                if store.run(*id).await?.is_some_and(|run| run.trigger == Trigger::CatchUp) {
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

    /// Writes all parts in one commit. Should one of them be unfit for the store, each is written alone, so
    /// that it hinders nobody but its own task.
    async fn commit(&mut self, parts: Vec<Part>) -> Result<Room, Error> {
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
        let wanted: usize =
            parts.iter().map(|part| part.births.runs.iter().filter(|run| is_open(run)).count()).sum();
        let reservation = core.parts.executor.reserve(wanted).await;
        let dues = parts.iter().map(materialise).collect();
        let answer = core.parts.store.materialise(&core.parts.session, dues, reservation.count()).await;
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
        core.grown.notify_one();
        if !to_execute.is_empty() {
            core.parts.executor.execute(to_execute, reservation).await.map_err(|error| core.heed(error))?;
        }
        for run in to_stop {
            let cancel = core.parts.executor.cancel(run.id, CancelWhy::Replaced).await;
            cancel.map_err(|error| core.heed(error))?;
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
                log_births(&known.task, &runs);
                known.checkpoint = Some(births.checkpoint);
                if births.more {
                    self.reschedule(&known);
                }
                let task = &known.task;
                let open = runs.into_iter().filter(is_open);
                aftermath.to_execute.extend(open.map(|run| Dispatch { run, task: Arc::clone(task) }));
                aftermath.to_stop.extend(replaced.into_iter().filter(|run| run.state().is_at_work()));
                self.known.put(id, known);
            }
            Materialised::Stale(Some(stored)) => {
                self.core.schedule_or_release(&stored);
                self.remember(stored);
            }
            Materialised::Stale(None) => {
                self.core.release(id);
                self.known.forget(id);
            }
        }
    }

    fn reschedule(&self, known: &Known) {
        self.core.schedule_or_release(&known.stored());
    }
}

impl Known {
    /// As the store would answer it, as far as scheduling goes.
    fn stored(&self) -> StoredTask {
        let progress = punctual_model::TaskProgress { checkpoint: self.checkpoint, ..Default::default() };
        StoredTask { task: Arc::clone(&self.task), progress }
    }
}

impl Core {
    fn schedule_or_release(&self, stored: &StoredTask) {
        if stored.task.is_active() {
            self.schedule(stored);
        } else {
            self.release(stored.task.id);
        }
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

/// The dues of each task together, in the order in which the tasks came.
fn grouped(batch: Vec<Due>) -> Vec<Group> {
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
fn punctual(dues: &[Due], checkpoint: Timestamp) -> Owed {
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

fn materialise(part: &Part) -> Materialise {
    let Part { known, births } = part;
    Materialise {
        task: known.task.id,
        revision: known.task.revision,
        seen_checkpoint: known.checkpoint,
        checkpoint: births.checkpoint,
        births: births.runs.clone(),
        replaces: births.replaces.clone(),
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
