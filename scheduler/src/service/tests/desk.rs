//! A coordinator of the smallest size, and the tasks that are given to it.

use super::super::*;
use punctual_clock::VirtualClock;
use punctual_model::schedule::{Cron, Every};
use punctual_model::state::MissedWhy;
use punctual_model::{Owner, Schedule, TaskSpec, TaskType, Work};
use std::collections::BTreeMap;
use std::time::Duration;

/// 2026-01-05T00:00Z, a Monday.
pub(super) const MONDAY: i64 = 1_767_571_200;
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(MONDAY + seconds).unwrap()
}

pub(super) fn seconds(at: Timestamp) -> i64 {
    at.as_second() - MONDAY
}

pub(super) fn every(seconds: u64) -> Schedule {
    Schedule::Every(Every::new(Duration::from_secs(seconds)))
}

pub(super) fn cron(expr: &str) -> Schedule {
    Schedule::Cron(Cron::new(expr))
}

pub(super) fn task(id: u64, schedules: &[Schedule], change: impl FnOnce(&mut Task)) -> Arc<Task> {
    let mut spec = TaskSpec::new(format!("task-{id}"), Work::handler("nothing"));
    spec.schedules = schedules.to_vec();
    let mut task = Task {
        id: TaskId::new(id).unwrap(),
        kind: TaskType::default(),
        revision: 1,
        created_at: at(0),
        updated_at: at(0),
        owner: Owner::default(),
        metadata: Default::default(),
        spec,
    };
    change(&mut task);
    Arc::new(task)
}

pub(super) fn plain(id: u64, schedules: &[Schedule]) -> Arc<Task> {
    task(id, schedules, |_| ())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    OnTime,
    CaughtUp,
}

/// A coordinator of the smallest size: it remembers checkpoints and notes what would run, and when.
pub(super) struct Desk {
    pub(super) clock: VirtualClock,
    pub(super) scheduler: Scheduler,
    pub(super) tasks: Mutex<BTreeMap<TaskId, (Arc<Task>, Timestamp)>>,
    /// Task, due, and the second at which it came out.
    pub(super) ran: Mutex<Vec<(u64, i64, i64)>>,
    pub(super) fates: Mutex<Vec<Fate>>,
    pub(super) missed: Mutex<Vec<(i64, i64, u64, MissedWhy)>>,
}

impl Desk {
    pub(super) fn open() -> Arc<Self> {
        let desk = Arc::new(Self::closed());
        let working = Arc::clone(&desk);
        tokio::spawn(async move {
            loop {
                working.take(working.scheduler.next_batch(3).await);
            }
        });
        desk
    }

    /// A desk at which nobody sits.
    pub(super) fn closed() -> Self {
        let clock = VirtualClock::new(at(0));
        let scheduler = Scheduler::new(Arc::new(clock.clone()), Zone::utc());
        Self {
            clock,
            scheduler,
            tasks: Mutex::default(),
            ran: Mutex::default(),
            fates: Mutex::default(),
            missed: Mutex::default(),
        }
    }

    pub(super) fn schedule(&self, task: &Arc<Task>, checkpoint: i64) -> Scheduled {
        self.tasks.lock().unwrap().insert(task.id, (Arc::clone(task), at(checkpoint)));
        self.scheduler.schedule(task, at(checkpoint)).unwrap()
    }

    pub(super) fn take(&self, batch: Vec<Due>) {
        for due in batch {
            let mut tasks = self.tasks.lock().unwrap();
            let (task, checkpoint) = tasks.get_mut(&due.task_id).unwrap();
            assert!(due.scheduled_for > *checkpoint && due.run_at <= due.seen_at);
            if !due.late {
                *checkpoint = due.scheduled_for;
                self.ran(&due, due.scheduled_for, Fate::OnTime);
                continue;
            }
            let plan = self.scheduler.catch_up(task, *checkpoint, due.seen_at).unwrap();
            *checkpoint = plan.checkpoint;
            self.missed.lock().unwrap().extend(
                plan.missed
                    .map(|missed| (seconds(missed.from), seconds(missed.to), missed.count, missed.why)),
            );
            plan.caught_up.iter().for_each(|when| self.ran(&due, when.due, Fate::CaughtUp));
            plan.on_time.iter().for_each(|when| self.ran(&due, when.due, Fate::OnTime));
        }
    }

    fn ran(&self, due: &Due, scheduled_for: Timestamp, fate: Fate) {
        let row = (due.task_id.get(), seconds(scheduled_for), seconds(self.clock.now()));
        self.ran.lock().unwrap().push(row);
        self.fates.lock().unwrap().push(fate);
    }

    /// What has run since the last call.
    pub(super) fn take_ran(&self) -> Vec<(u64, i64, i64)> {
        std::mem::take(&mut self.ran.lock().unwrap())
    }
}
