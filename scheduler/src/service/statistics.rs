//! What the scheduler counts.

use jiff::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start, and how things stand now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Tasks given to the scheduler.
    pub schedule_calls: u64,
    /// Of these, those whose schedule failed.
    pub schedule_fails: u64,
    /// Tasks released.
    pub release_calls: u64,
    /// Dues handed out.
    pub dues_handed_out: u64,
    /// Times somebody looked for dues: rises with dues and changes, never by itself.
    pub looks: u64,
    /// Tasks known now.
    pub tasks: usize,
    /// Of these, those with a next due.
    pub waiting: usize,
    /// `run_at` of the next due.
    pub next_run_at: Option<Timestamp>,
    /// `run_at` of the oldest due that is owed and not yet handed out.
    pub overdue_since: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) schedule_calls: AtomicU64,
    pub(super) schedule_fails: AtomicU64,
    pub(super) release_calls: AtomicU64,
    dues_handed_out: AtomicU64,
    pub(super) looks: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_dues(&self, dues: usize) {
        self.dues_handed_out.fetch_add(dues as u64, Ordering::Relaxed);
    }

    /// Fills in the counters.
    pub(super) fn read(&self, standing: Statistics) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            schedule_calls: read(&self.schedule_calls),
            schedule_fails: read(&self.schedule_fails),
            release_calls: read(&self.release_calls),
            dues_handed_out: read(&self.dues_handed_out),
            looks: read(&self.looks),
            ..standing
        }
    }
}
