//! The scheduler as the coordinator sees it: tasks go in whole, dues come out in batches.
//!
//! It has no thread and no task of its own. Whoever awaits [`Scheduler::next_batch`] sleeps until the
//! head of the timetable is due, or for good while there is none; only a change that brings a due
//! forward wakes it earlier. It knows no store: what it hands out, and what it is told with a
//! checkpoint, is all that it remembers.

mod compiled;
mod error;
mod statistics;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use statistics::Statistics;

use crate::catch_up::{self, Plan};
use crate::schedule::Zone;
use crate::timetable::{EARLIEST, Placed, Timetable, When};
use compiled::{Compiled, Compiler};
use jiff::{SignedDuration, Timestamp};
use punctual_clock::Clock;
use punctual_model::{Task, TaskId, Timing};
use statistics::Counters;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most dues that a preview answers: more than a person reads, little enough to compute at once.
pub const MAX_PREVIEW: usize = 1_000;

/// A due of a task that is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The task.
    pub task_id: TaskId,
    /// The revision that it was scheduled with.
    pub revision: u64,
    /// The logical time of the run.
    pub scheduled_for: Timestamp,
    /// When the run was to start; not after `seen_at`.
    pub run_at: Timestamp,
    /// The wall clock when this was handed out, the same for a whole batch.
    pub seen_at: Timestamp,
    /// Seen later than the task's grace allows. Then this due stands for all that the task owes by
    /// `seen_at`, the scheduler has moved on past them, and [`Scheduler::catch_up`] with `now = seen_at`
    /// tells what becomes of each.
    pub late: bool,
}

/// What became of a task that was given to the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduled {
    /// It will be handed out then.
    Next(When),
    /// It is known and has no due: paused, without a schedule, or past its last due.
    Never,
    /// A newer revision of it is known, and stays.
    Older,
}

/// A task whose schedule could not be evaluated. It stays known without a due until it is scheduled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The task.
    pub task_id: TaskId,
    /// The revision whose schedule failed.
    pub revision: u64,
    /// What went wrong.
    pub reason: String,
}

/// Decides when tasks are due. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Scheduler {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    compiler: Compiler,
    state: Mutex<State>,
    /// A due came forward; whoever sleeps for the old head looks again.
    earlier: Notify,
    counters: Counters,
    #[cfg(test)]
    trap: Mutex<Option<TaskId>>,
}

#[derive(Debug, Default)]
struct State {
    timetable: Timetable<Compiled>,
    /// At most one a task and schedule call: a faulty task does not come up again.
    faults: Vec<Fault>,
}

impl Scheduler {
    /// A scheduler without tasks. `default_zone` is for tasks that name none.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, default_zone: Zone) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                compiler: Compiler::new(default_zone),
                state: Mutex::default(),
                earlier: Notify::new(),
                counters: Counters::default(),
                #[cfg(test)]
                trap: Mutex::default(),
            }),
        }
    }

    /// Takes a task, new or changed, with everything due up to `checkpoint` accounted for. An older
    /// revision than the one known is ignored; an equal one replaces it (a due that could not be
    /// materialised is asked for again that way). A paused task is known and has no dues.
    ///
    /// # Errors
    /// When the schedule, zone or spread cannot be understood or evaluated. The task is then known in
    /// this revision and has no dues, so that the old definition does not go on.
    pub fn schedule(&self, task: &Arc<Task>, checkpoint: Timestamp) -> Result<Scheduled, Error> {
        Counters::count(&self.inner.counters.schedule_calls);
        let timing = Timing::from(&task.spec);
        let placed = self.place(task.id, task.revision, task.is_active(), &timing, checkpoint);
        let spec = &task.spec;
        // The work is left out: its environment is none of this room's business and may hold secrets.
        match &placed {
            Ok(scheduled) => tracing::debug!(
                task.id = %task.id, task.name = %spec.name, task.type = %task.kind,
                task.revision = task.revision, task.status = ?spec.status, task.schedules = ?spec.schedules,
                task.timezone = ?spec.timezone, task.offset = %spec.offset, task.jitter = ?spec.jitter,
                task.splay = ?spec.splay, task.grace = ?spec.grace, task.catch_up = ?spec.catch_up,
                task.overlap = ?spec.overlap, %checkpoint, ?scheduled, "task scheduled"
            ),
            Err(error) => {
                Counters::count(&self.inner.counters.schedule_fails);
                tracing::error!(
                    task.id = %task.id, task.name = %spec.name, task.type = %task.kind,
                    task.revision = task.revision, %error, "task has no dues: its schedule failed"
                );
            }
        }
        placed
    }

    /// As [`Self::schedule`], for an active task that was stored earlier and has not changed: what decides its dues is
    /// enough, and its definition is read when one of them is owed.
    ///
    /// # Errors
    /// As [`Self::schedule`].
    pub fn restore(
        &self,
        task_id: TaskId,
        revision: u64,
        timing: &Timing,
        checkpoint: Timestamp,
    ) -> Result<Scheduled, Error> {
        Counters::count(&self.inner.counters.schedule_calls);
        let placed = self.place(task_id, revision, true, timing, checkpoint);
        match &placed {
            Ok(scheduled) => tracing::debug!(
                task.id = %task_id, task.revision = revision, ?timing, %checkpoint, ?scheduled, "task restored"
            ),
            Err(error) => {
                Counters::count(&self.inner.counters.schedule_fails);
                tracing::error!(
                    task.id = %task_id, task.revision = revision, %error, "task has no dues: its schedule failed"
                );
            }
        }
        placed
    }

    fn place(
        &self,
        id: TaskId,
        revision: u64,
        is_active: bool,
        timing: &Timing,
        checkpoint: Timestamp,
    ) -> Result<Scheduled, Error> {
        let compiled = self.inner.compiler.compile(timing);
        let first = match &compiled {
            Ok(compiled) if is_active => {
                let times = compiled.times(id);
                self.inner.guard(id, || times.next(checkpoint.max(EARLIEST)))
            }
            _ => Ok(None),
        };
        let when = first.as_ref().ok().copied().flatten();
        let plan =
            compiled.as_ref().map_or_else(|_| self.inner.compiler.nothing(), |plan| Ok(Arc::clone(plan)))?;
        let mut state = self.inner.lock();
        let head = state.timetable.next_run_at();
        let placed = state.timetable.put(id, revision, plan, when);
        let new_head = state.timetable.next_run_at();
        drop(state);
        if new_head.is_some_and(|at| head.is_none_or(|head| at < head)) {
            self.inner.earlier.notify_one();
        }
        compiled?;
        first.map_err(|reason| Error::Evaluation { reason })?;
        match placed {
            Placed::Done => Ok(when.map_or(Scheduled::Never, Scheduled::Next)),
            Placed::Older => Ok(Scheduled::Older),
            Placed::Full => Err(Error::Full),
        }
    }

    /// Forgets a task: nothing of it is handed out any more. Answers whether it was known.
    pub fn release(&self, task_id: TaskId) -> bool {
        Counters::count(&self.inner.counters.release_calls);
        let known = self.inner.lock().timetable.remove(task_id);
        tracing::debug!(task.id = %task_id, known, "task released");
        known
    }

    /// Waits until something is due and answers up to `max` dues (at least one), in order of `run_at`.
    ///
    /// Each due is handed out once, and its task moves on by itself to the next one, derived from the due
    /// and not from now. Dropping this future loses nothing: dues are taken out only in the poll that
    /// answers them.
    pub async fn next_batch(&self, max: usize) -> Vec<Due> {
        loop {
            let (batch, head) = self.look(max.max(1));
            if !batch.is_empty() {
                return batch;
            }
            // A change since the look has left its permit with the notifier, so none is missed.
            let earlier = self.inner.earlier.notified();
            match head {
                // Nothing is due, so the head is in the future and this really sleeps; a clock that jumps
                // past it wakes the sleeper, one that goes back lets it sleep on.
                Some(run_at) => tokio::select! {
                    biased;
                    () = self.inner.clock.sleep_until(run_at) => {}
                    () = earlier => {}
                },
                None => earlier.await,
            }
        }
    }

    /// What is due now, and if nothing is, when the next due will be.
    fn look(&self, max: usize) -> (Vec<Due>, Option<Timestamp>) {
        let inner = &*self.inner;
        Counters::count(&inner.counters.looks);
        let now = inner.clock.now();
        let mut batch = Vec::new();
        let mut state = inner.lock();
        let State { timetable, faults } = &mut *state;
        while batch.len() < max {
            let mut late = false;
            let taken = timetable.pop(now, |head| {
                let lateness = now.duration_since(head.when.run_at);
                late = lateness > SignedDuration::try_from(head.plan.grace).unwrap_or(SignedDuration::MAX);
                let times = head.plan.times(head.id);
                let next = inner.guard(head.id, || {
                    if late { times.first_not_owed(head.when.due, now) } else { times.behind(head.when) }
                });
                next.unwrap_or_else(|reason| {
                    tracing::error!(
                        task.id = %head.id, task.revision = head.revision, reason,
                        "task has no further dues: its schedule failed"
                    );
                    faults.push(Fault { task_id: head.id, revision: head.revision, reason });
                    None
                })
            });
            let Some((task_id, revision, When { due, run_at })) = taken else { break };
            batch.push(Due { task_id, revision, scheduled_for: due, run_at, seen_at: now, late });
        }
        let head = timetable.next_run_at();
        drop(state);
        inner.counters.add_dues(batch.len());
        (batch, head)
    }

    /// What becomes of everything that `task` owes by `now` after `checkpoint`; see [`catch_up::plan`].
    ///
    /// # Errors
    /// As [`Self::schedule`].
    pub fn catch_up(&self, task: &Task, checkpoint: Timestamp, now: Timestamp) -> Result<Plan, Error> {
        let compiled = self.inner.compiler.compile(&Timing::from(&task.spec))?;
        let question = catch_up::Question {
            task: task.id,
            timeline: &compiled.timeline,
            spread: compiled.spread,
            grace: compiled.grace,
            catch_up: task.spec.catch_up,
            checkpoint,
            now,
        };
        self.inner.guard(task.id, || catch_up::plan(&question)).map_err(|reason| Error::Evaluation { reason })
    }

    /// The checkpoint with which a task begins at `now`, when it is created, activated or given another
    /// schedule, zone or offset: `now`, or under a negative offset the newest due that was to run before
    /// `now`. So none of these makes anything come up that should have started earlier.
    ///
    /// # Errors
    /// As [`Self::schedule`].
    pub fn beginning(&self, task: &Task, now: Timestamp) -> Result<Timestamp, Error> {
        let compiled = self.inner.compiler.compile(&Timing::from(&task.spec))?;
        let begin = || catch_up::beginning(&compiled.times(task.id), now);
        self.inner.guard(task.id, begin).map_err(|reason| Error::Evaluation { reason })
    }

    /// The next dues of a task after `from` as if it were active, at most [`MAX_PREVIEW`]; fewer if its
    /// schedule ends. The task need not be known.
    ///
    /// # Errors
    /// As [`Self::schedule`].
    pub fn preview(&self, task: &Task, from: Timestamp, count: usize) -> Result<Vec<When>, Error> {
        let compiled = self.inner.compiler.compile(&Timing::from(&task.spec))?;
        let times = compiled.times(task.id);
        let dues = || times.following(from, count.min(MAX_PREVIEW));
        self.inner.guard(task.id, dues).map_err(|reason| Error::Evaluation { reason })
    }

    /// The tasks whose schedules failed while they moved on, since the last call.
    #[must_use]
    pub fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut self.inner.lock().faults)
    }

    /// Counters since the start, and how things stand now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let now = self.inner.clock.now();
        let state = self.inner.lock();
        let next_run_at = state.timetable.next_run_at();
        let (tasks, waiting) = (state.timetable.len(), state.timetable.waiting());
        drop(state);
        let overdue_since = next_run_at.filter(|run_at| *run_at <= now);
        self.inner.counters.read(Statistics {
            tasks,
            waiting,
            next_run_at,
            overdue_since,
            ..Statistics::default()
        })
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Schedules are evaluated under `guard`, and nothing else under this lock runs foreign code.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evaluates a schedule so that a panic in it stays with its task.
    fn guard<T>(&self, task: TaskId, evaluate: impl FnOnce() -> T) -> Result<T, String> {
        let evaluate = || {
            #[cfg(test)]
            assert!(*self.trap.lock().unwrap() != Some(task), "trapped");
            evaluate()
        };
        // Timelines are immutable, so a panic leaves nothing half done.
        catch_unwind(AssertUnwindSafe(evaluate)).map_err(|panic| {
            let text =
                panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            format!("evaluating the schedule of task {task} panicked: {}", text.unwrap_or("no message"))
        })
    }
}
