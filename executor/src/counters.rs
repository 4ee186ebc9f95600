//! What the executor has done, as numbers for whoever exports them. Read from the library; nothing here knows
//! a metrics system.

use crate::seats::Workers;
use punctual_model::{FailureKind, Outcome, Run, RunStateName, TaskType};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// All numbers at one moment. Everything but `active` only rises.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Attempts at work now.
    pub active: usize,
    /// Attempts that were begun.
    pub started: u64,
    /// Runs that ended, by their task's type and their final state.
    pub completed: BTreeMap<(TaskType, RunStateName), u64>,
    /// Attempts that were followed by another one by policy.
    pub restarted: u64,
    /// Attempts cut short by our own stop and put back into the queue.
    pub interrupted: u64,
    /// Runs that somebody asked for.
    pub manual: u64,
    /// Runs of an earlier session that were taken up.
    pub resumed: u64,
    /// Attempts that ended badly, by where it went wrong.
    pub errors: BTreeMap<&'static str, u64>,
    /// Tries to end work that failed: what they were to end may be alive still.
    pub kills_failed: u64,
    /// Attempts of which the kernel killed something for want of memory within their limits.
    pub out_of_memory: u64,
    /// Hooks that failed in any phase.
    pub hooks_failed: u64,
    /// Sum over all first attempts of the time from when a run was to start until it was started.
    pub queue_wait: Duration,
    /// How many first attempts that were.
    pub queue_waits: u64,
    /// Sum over all ended attempts of their time at work.
    pub run_time: Duration,
    /// How many ended attempts that were.
    pub run_times: u64,
}

/// What metrics show of the executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// What was done.
    pub counters: Counters,
    /// Who is at work, by class.
    pub workers: [Workers; 2],
}

/// Where they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    // Counted a batch at a time, so one lock is cheaper than a dozen atomics.
    counters: Mutex<Counters>,
}

impl Counting {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn snapshot(&self) -> Counters {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Counters {
    /// An attempt has begun.
    pub(crate) fn begun(&mut self, run: &Run) {
        self.started += 1;
        if let (1, Some(started)) = (run.life.attempt, run.started_at) {
            // A clock set back makes no negative waits.
            self.queue_wait += Duration::try_from(started.duration_since(run.run_at)).unwrap_or_default();
            self.queue_waits += 1;
        }
    }

    /// An attempt is over.
    pub(crate) fn ended(&mut self, outcome: Option<&Outcome>, took: Duration) {
        self.run_time += took;
        self.run_times += 1;
        if let Some(failure) = outcome.and_then(|outcome| outcome.error.as_ref()) {
            *self.errors.entry(FailureKind::as_str(failure.kind)).or_default() += 1;
        }
    }

    /// A run is over.
    pub(crate) fn completed(&mut self, kind: &TaskType, state: RunStateName) {
        match self.completed.get_mut(&(kind.clone(), state)) {
            Some(count) => *count += 1,
            None => drop(self.completed.insert((kind.clone(), state), 1)),
        }
    }
}
