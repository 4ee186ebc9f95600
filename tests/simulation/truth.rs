//! What the world knows of the engine, kept apart from it: every durable change passes by here and is judged
//! against the invariants at once. Pure bookkeeping: it is told what happened and when.

mod dues;
mod follow_ups;

use crate::oracle::{self, Oracle, Reach};
use crate::trace::Trace;
use jiff::{SignedDuration, Timestamp};
use punctual::model::overlap::SkipWhy;
use punctual::model::{Life, Run, RunId, RunState, Task, TaskId};
use punctual::store::{Fence, Page, StoredTask};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long after its time a due may get its record while nothing is in the way.
const PROMPT: SignedDuration = SignedDuration::from_secs(1);

/// A task as the world knows it.
pub(crate) struct TaskTruth {
    pub(crate) task: Arc<Task>,
    pub(crate) deleted: bool,
    /// All dues of the current schedules, in seconds.
    dues: Arc<Vec<i64>>,
    /// Every due up to here has its record.
    pub(crate) covered: Timestamp,
    /// When it was last changed so that dues may come late: resumed with what had passed, or given other shifts.
    disturbed: Timestamp,
    pub(crate) unfinished: BTreeSet<RunId>,
    /// The last run that succeeded or failed did not succeed.
    failing: bool,
    /// Runs that have ended, newest last; only some, to pick from.
    pub(crate) ended: Vec<RunId>,
}

/// A run as the world knows it.
#[derive(Debug, Clone)]
pub(crate) struct RunTruth {
    pub(crate) task: TaskId,
    pub(crate) forced: bool,
    pub(crate) life: Life,
    pub(crate) run_at: Timestamp,
}

/// Work that lives.
#[derive(Debug, Clone)]
pub(crate) struct Living {
    pub(crate) task: Arc<Task>,
    pub(crate) attempt: u32,
    pub(crate) forced: bool,
    pub(crate) caught_up: bool,
    /// It tells of another one: no limit counts it.
    pub(crate) tells: bool,
    /// In a process of its own: it survives the node.
    pub(crate) process: bool,
    /// Somebody watches it.
    pub(crate) attached: bool,
    /// When it ends by itself, on the monotonic clock.
    pub(crate) until: Option<Duration>,
}

/// How often things happened, so that a test can say that they did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) runs: u64,
    pub(crate) missed: u64,
    pub(crate) skipped: u64,
    pub(crate) caught_up: u64,
    pub(crate) started: u64,
    pub(crate) recovered: u64,
    pub(crate) lost: u64,
    pub(crate) canceled: u64,
    pub(crate) crashes: u64,
    pub(crate) store_faults: u64,
    pub(crate) stops: u64,
    pub(crate) jumps: u64,
    pub(crate) freezes: u64,
    pub(crate) spoilt: u64,
    pub(crate) changes: u64,
    pub(crate) promises: u64,
    pub(crate) stale: u64,
    pub(crate) refused: u64,
    pub(crate) fenced: u64,
    pub(crate) pruned: u64,
    pub(crate) told: u64,
    pub(crate) most_living: u64,
}

pub(crate) struct Truth {
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) wrong: Vec<String>,
    pub(crate) tasks: BTreeMap<TaskId, TaskTruth>,
    pub(crate) runs: BTreeMap<RunId, RunTruth>,
    pub(crate) living: BTreeMap<RunId, Living>,
    /// Runs whose records cannot be read any more.
    spoilt: BTreeSet<RunId>,
    pub(crate) epoch: u64,
    pub(crate) counts: Counts,
    /// The node dies right now: what falls with it falls in no order.
    pub(crate) dying: bool,
    /// Wall time of the last start or clock jump.
    pub(crate) undisturbed_since: Timestamp,
    /// The latest wall time that was ever seen.
    pub(crate) latest_wall: Timestamp,
    /// The store has no room for new work: every due may be late.
    pub(crate) full: bool,
}

/// The dues that a write claims to have dealt with.
pub(crate) struct Dealt {
    pub(crate) task: TaskId,
    pub(crate) revision: u64,
    pub(crate) checkpoint: Timestamp,
}

impl Truth {
    pub(crate) fn new(reach: Reach, start: Timestamp, loud: bool) -> Self {
        Self {
            trace: Trace::new(loud),
            oracle: Oracle::new(reach),
            wrong: Vec::new(),
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            living: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            epoch: 0,
            counts: Counts::default(),
            dying: false,
            undisturbed_since: start,
            latest_wall: start,
            full: false,
        }
    }

    /// Something that must not be.
    pub(crate) fn wrong(&mut self, what: String) {
        self.trace.line(format_args!("WRONG {what}"));
        self.wrong.push(what);
    }

    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong(what());
        }
    }

    /// Every write names its session: only the newest may.
    pub(crate) fn written(&mut self, epoch: u64, what: &str) {
        let newest = self.epoch;
        self.must(epoch == newest, || {
            format!("{what} was accepted under epoch {epoch}, the newest is {newest}")
        });
    }

    pub(crate) fn session(&mut self, epoch: u64, floor: u64) {
        let before = self.epoch;
        self.must(epoch > before, || format!("epoch {epoch} after {before}"));
        let highest = self.runs.keys().next_back().map_or(0, |id| id.get());
        self.must(floor >= highest, || format!("id floor {floor:x} is below a known id {highest:x}"));
        self.epoch = epoch;
        self.trace.line(format_args!("session {epoch}"));
    }

    pub(crate) fn task_put(&mut self, stored: &StoredTask, raised: bool, now: Timestamp) {
        let task = &stored.task;
        let id = task.id;
        self.counts.changes += 1;
        self.trace.line(format_args!("{now} task {id} rev {} {:?}", task.revision, task.spec.status));
        let before = self.tasks.remove(&id);
        let moved = before.as_ref().is_none_or(|before| {
            before.task.spec.schedules != task.spec.schedules
                || before.task.spec.timezone != task.spec.timezone
        });
        let dues = match &before {
            Some(before) if !moved => Arc::clone(&before.dues),
            _ => Arc::new(self.oracle.dues(task)),
        };
        if let Some(before) = &before {
            let (old, new) = (before.task.revision, task.revision);
            self.must(new == old + 1 && !before.deleted, || format!("task {id}: revision {new} after {old}"));
        }
        let mut truth = TaskTruth {
            task: Arc::clone(task),
            deleted: false,
            dues,
            covered: before.as_ref().map_or(Timestamp::MIN, |before| before.covered),
            disturbed: before.as_ref().map_or(Timestamp::MIN, |before| {
                let old = &before.task;
                let shifts = |task: &Task| (task.spec.jitter, task.spec.splay);
                let resumed = !old.is_active() && task.is_active();
                if resumed || shifts(old) != shifts(task) { now } else { before.disturbed }
            }),
            unfinished: before.as_ref().map_or_else(BTreeSet::new, |before| before.unfinished.clone()),
            failing: before.as_ref().is_some_and(|before| before.failing),
            ended: before.map_or_else(Vec::new, |before| before.ended),
        };
        if raised {
            truth.covered = truth.covered.max(truth.beginning(now));
        }
        let (expected, found) = (truth.covered, stored.progress.checkpoint);
        self.must(found == Some(expected), || {
            format!("task {id}: checkpoint {found:?} after a change at {now}, expected {expected}")
        });
        self.tasks.insert(id, truth);
    }

    pub(crate) fn task_deleted(&mut self, id: TaskId, now: Timestamp) {
        self.counts.changes += 1;
        self.trace.line(format_args!("{now} task {id} deleted"));
        match self.tasks.get_mut(&id) {
            Some(task) => task.deleted = true,
            None => self.wrong(format!("an unknown task {id} was deleted")),
        }
    }

    /// A run that is new.
    pub(crate) fn adopt(&mut self, run: &Run, now: Timestamp, how: &str) {
        let id = run.id;
        self.counts.runs += 1;
        self.trace.line(format_args!(
            "{now} run {id} {how} of {} for {} {} {}",
            run.task,
            run.scheduled_for,
            run.trigger.as_str(),
            run.state().name()
        ));
        if let RunState::Skipped { why } = run.state() {
            self.counts.skipped += 1;
            let other = why.run().and_then(|run| self.runs.get(&run));
            let unfinished =
                other.is_some_and(|other| other.task == run.task && !other.life.state.is_terminal());
            let spoilt = why.run().is_some_and(|run| self.spoilt.contains(&run));
            let named = matches!(why, SkipWhy::QueueFull { .. }) || unfinished || spoilt;
            self.must(named, || format!("run {id} was skipped for a run that is not in the way: {why:?}"));
        }
        let truth = RunTruth { task: run.task, forced: run.forced, life: run.life, run_at: run.run_at };
        let known = self.runs.insert(id, truth).is_some() || self.spoilt.contains(&id);
        self.must(!known, || format!("run id {id} was given out twice"));
        if let Some(task) = self.tasks.get_mut(&run.task)
            && !run.state().is_terminal()
            && run.trigger.follows().is_none()
        {
            task.unfinished.insert(id);
        }
    }

    /// A run has changed; `fence` is what the writer had read.
    pub(crate) fn edge(&mut self, fence: Fence, run: &Run, now: Timestamp, how: &str) {
        if let Some(before) = self.runs.get(&run.id) {
            let read = (before.life.attempt, before.life.epoch);
            self.must((fence.attempt, fence.epoch) == read, || {
                format!("run {}: an edge of {fence:?} was applied to {read:?} ({how})", run.id)
            });
        }
        self.moved(run, now, how);
    }

    /// A run has changed.
    pub(crate) fn moved(&mut self, run: &Run, now: Timestamp, how: &str) {
        let (id, after) = (run.id, run.life);
        self.trace.line(format_args!(
            "{now} run {id} {how} {} attempt {} epoch {}",
            after.state.name(),
            after.attempt,
            after.epoch
        ));
        let newest = self.epoch;
        let Some(known) = self.runs.get_mut(&id) else {
            return self.wrong(format!("an unknown run {id} has changed ({how})"));
        };
        let before = std::mem::replace(&mut known.life, after);
        let task = known.task;
        if before.state.is_terminal() && before != after {
            self.wrong(format!("run {id} was {before:?} and became {after:?} ({how})"));
        }
        if after.attempt < before.attempt || after.epoch < before.epoch || after.epoch > newest {
            self.wrong(format!("run {id}: {before:?} became {after:?} ({how})"));
        }
        if after.attempt > before.attempt
            && (after.attempt != before.attempt + 1 || after.epoch != newest || !before.state.is_waiting())
        {
            self.wrong(format!("run {id} started from {before:?} as {after:?} ({how})"));
        }
        if after.state.is_terminal() && !before.state.is_terminal() {
            match after.state {
                RunState::Lost { .. } => self.counts.lost += 1,
                RunState::Canceled { .. } => self.counts.canceled += 1,
                _ => {}
            }
            if let Some(living) = self.living.get(&id) {
                let attempt = living.attempt;
                self.wrong(format!("run {id} ended as {after:?} while attempt {attempt} lives ({how})"));
            }
            if let Some(task) = self.tasks.get_mut(&task) {
                task.unfinished.remove(&id);
                if run.trigger.follows().is_none() {
                    task.ended.push(id);
                }
                if task.ended.len() > 32 {
                    task.ended.drain(..16);
                }
            }
        }
    }

    /// What was answered as not applicable must be what the world knows.
    pub(crate) fn seen(&mut self, run: &Run, how: &str) {
        self.counts.stale += 1;
        let known = self.runs.get(&run.id).map(|known| known.life);
        self.must(known.is_some_and(|known| same(known, run.life)), || {
            format!("run {} was shown as {:?}, known is {known:?} ({how})", run.id, run.life)
        });
    }

    /// The disk has spoilt a record while no node was there. Nobody can say any more what it was, so it is in nobody's
    /// way, its id is not given out again, and what lives of it is ended by the next start.
    pub(crate) fn spoilt(&mut self, id: RunId) {
        self.counts.spoilt += 1;
        self.trace.line(format_args!("run {id} spoilt"));
        self.spoilt.insert(id);
        self.living.remove(&id);
        if let Some(run) = self.runs.remove(&id)
            && let Some(task) = self.tasks.get_mut(&run.task)
        {
            task.unfinished.remove(&id);
            task.ended.retain(|ended| *ended != id);
        }
    }

    pub(crate) fn pruned(&mut self, runs: &[RunId]) {
        for id in runs {
            self.counts.pruned += 1;
            self.trace.line(format_args!("run {id} pruned"));
            let gone = self.runs.remove(id);
            self.must(gone.as_ref().is_some_and(|run| run.life.state.is_terminal()), || {
                format!("run {id} was pruned as {gone:?}")
            });
        }
    }

    /// What is stored must be what was acknowledged: no more, no less.
    pub(crate) fn stored(&mut self, tasks: &[StoredTask], runs: &Page<Run, RunId>) {
        let living: BTreeSet<TaskId> =
            self.tasks.iter().filter(|(_, truth)| !truth.deleted).map(|(id, _)| *id).collect();
        let found: BTreeSet<TaskId> = tasks.iter().map(|stored| stored.task.id).collect();
        self.must(living == found, || format!("tasks stored: {found:?}, known: {living:?}"));
        for stored in tasks {
            let Some(truth) = self.tasks.get(&stored.task.id) else { continue };
            let (covered, same) = (truth.covered, *truth.task == *stored.task);
            self.must(same && stored.progress.checkpoint == Some(covered), || {
                format!(
                    "task {}: stored {:?}, records up to {covered}",
                    stored.task.id, stored.progress.checkpoint
                )
            });
        }
        let found: BTreeSet<RunId> = runs.items.iter().map(|run| run.id).collect();
        let missing = self.runs.keys().find(|id| !found.contains(id)).copied();
        self.must(missing.is_none(), || format!("run {missing:?} was acknowledged and is not stored"));
        for run in &runs.items {
            let known = self.runs.get(&run.id).map(|known| known.life);
            self.must(known.is_some_and(|known| same(known, run.life)), || {
                format!("run {} is stored as {:?}, known is {known:?}", run.id, run.life)
            });
        }
    }
}

impl TaskTruth {
    /// The dues that have no record yet.
    fn rest(&self) -> &[i64] {
        &self.dues[self.dues.partition_point(|due| second(*due) <= self.covered)..]
    }

    /// Where the dues begin of a task that is created, activated or moved now.
    fn beginning(&self, now: Timestamp) -> Timestamp {
        let after = self.dues.partition_point(|due| second(*due) <= now);
        let over = self.dues[after..].iter().map(|due| second(*due));
        over.take_while(|due| self.run_at(*due) <= now).last().unwrap_or(now)
    }

    /// When a due may run: not before any due that is before it, however far jitter has moved that one.
    fn run_at(&self, due: Timestamp) -> Timestamp {
        let reach = i64::try_from(self.task.spec.jitter.as_secs()).expect("a window below ten years") + 1;
        let from = self.dues.partition_point(|other| *other < due.as_second() - reach);
        let until = self.dues.partition_point(|other| second(*other) < due);
        let before = self.dues[from..until].iter().map(|other| oracle::run_at(&self.task, second(*other)));
        before.fold(oracle::run_at(&self.task, due), Timestamp::max)
    }
}

/// `Running` is never written, and a time that comes is not either.
fn same(known: Life, shown: Life) -> bool {
    let equal = known.attempt == shown.attempt && known.epoch == shown.epoch;
    equal
        && match (known.state, shown.state) {
            (known, shown) if known.is_waiting() => shown.is_waiting(),
            (RunState::Starting | RunState::Running, RunState::Starting | RunState::Running) => true,
            (known, shown) => known == shown,
        }
}

pub(crate) fn second(at: i64) -> Timestamp {
    Timestamp::from_second(at).expect("a time in this century")
}
