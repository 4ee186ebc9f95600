//! When an attempt has taken too long: counted from its start, hooks included, by the timeout that holds now.

use super::Life;
use crate::driver::Attempt;
use crate::engine::Engine;
use punctual_clock::Wait;
use std::time::Duration;

/// The end of an attempt's time.
pub(super) struct Deadline {
    /// Time the attempt had taken when it came here: work that was found alive started earlier.
    spent: Duration,
    /// When it came here.
    begun: Duration,
    timeout: Option<Duration>,
    passed: Option<Wait>,
    /// How many changes of the definition it knows of.
    updates: u32,
}

impl Deadline {
    pub(super) fn new(engine: &Engine, attempt: &Attempt, reattached: bool) -> Self {
        let timeout = attempt.task.spec.timeout;
        let spent = match attempt.run.started_at {
            Some(started) if reattached => {
                Duration::try_from(engine.clock.now().duration_since(started)).unwrap_or_default()
            }
            _ => Duration::ZERO,
        };
        let passed = timeout.map(|timeout| engine.clock.sleep(timeout.saturating_sub(spent)));
        Self { spent, begun: engine.clock.monotonic(), timeout, passed, updates: 0 }
    }

    /// Since when the attempt has been at work: the time on the monotonic clock, and what it had taken before that.
    pub(super) fn began(&self) -> (Duration, Duration) {
        (self.begun, self.spent)
    }

    /// How many changes of the definition it knows of.
    pub(super) fn updates(&self) -> u32 {
        self.updates
    }

    /// Follows a changed definition.
    pub(super) fn renew(&mut self, life: &Life, updates: u32) {
        self.updates = updates;
        let timeout = life.definition().spec.timeout;
        if timeout == self.timeout {
            return;
        }
        let clock = &life.engine.clock;
        let spent = self.spent + clock.monotonic().saturating_sub(self.begun);
        self.timeout = timeout;
        self.passed = timeout.map(|timeout| clock.sleep(timeout.saturating_sub(spent)));
    }

    /// Returns when the time is over; never, if there is no such time.
    pub(super) async fn passed(&mut self) {
        match &mut self.passed {
            Some(passed) => passed.await,
            None => std::future::pending().await,
        }
    }
}
