//! Writing a definition in code, one setting a call. Nothing is judged here; the coordinator does when it is
//! given the definition.

use crate::overlap::Overlap;
use crate::parameters::Parameters;
use crate::restart::RestartPolicy;
use crate::schedule::{CatchUp, Cron, Every, Schedule};
use crate::task::{Concurrency, Retention, TaskSpec, TaskStatus};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Each adds or replaces one setting; the fields say what they mean.
impl TaskSpec {
    /// Adds a cron schedule.
    #[must_use]
    pub fn cron(self, expr: impl Into<String>) -> Self {
        self.schedule(Schedule::Cron(Cron::new(expr)))
    }

    /// Adds a fixed interval.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        self.schedule(Schedule::Every(Every::new(interval)))
    }

    /// Adds a single date.
    #[must_use]
    pub fn at(self, at: Timestamp) -> Self {
        self.schedule(Schedule::At(at))
    }

    /// Adds a schedule.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Sets the zone on whose wall clock cron is read.
    #[must_use]
    pub fn timezone(mut self, name: impl Into<String>) -> Self {
        self.timezone = Some(name.into());
        self
    }

    /// Sets the shift of the start against the due time.
    #[must_use]
    pub fn offset(mut self, offset: SignedDuration) -> Self {
        self.offset = offset;
        self
    }

    /// Sets the window of jitter.
    #[must_use]
    pub fn jitter(mut self, window: Duration) -> Self {
        self.jitter = window;
        self
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Sets what becomes of missed dues: a policy, or a policy with its bounds.
    #[must_use]
    pub fn catch_up(mut self, catch_up: impl Into<CatchUp>) -> Self {
        self.catch_up = catch_up.into();
        self
    }

    /// Sets what becomes of a due while an earlier run is unfinished.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Limits how many of its runs are at work at once.
    #[must_use]
    pub fn concurrency(mut self, limit: u32) -> Self {
        self.concurrency = Some(Concurrency { limit, key: None });
        self
    }

    /// Limits how many runs of all tasks with this key are at work at once.
    #[must_use]
    pub fn concurrency_key(mut self, key: impl Into<String>, limit: u32) -> Self {
        self.concurrency = Some(Concurrency { limit, key: Some(key.into()) });
        self
    }

    /// Sets what a run takes that somebody asks for.
    #[must_use]
    pub fn parameters(mut self, parameters: Parameters) -> Self {
        self.parameters = parameters;
        self
    }

    /// Sets the priority.
    #[must_use]
    pub fn priority(mut self, priority: i8) -> Self {
        self.priority = priority;
        self
    }

    /// Sets when a run gets another attempt.
    #[must_use]
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// Says that doing the work twice does no harm.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets the longest time of one attempt.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how long history is kept.
    #[must_use]
    pub fn retention(mut self, runs: u32, age: Duration) -> Self {
        self.retention = Retention { runs, age };
        self
    }

    /// Creates it paused.
    #[must_use]
    pub fn paused(mut self) -> Self {
        self.status = TaskStatus::Paused;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Work;

    #[test]
    fn settings_add_up() {
        let spec = TaskSpec::new("n", Work::handler("h"))
            .cron("30 2 * * *")
            .every(Duration::from_secs(60))
            .timezone("Europe/Berlin")
            .concurrency_key("db", 2)
            .label("team", "data")
            .paused();
        assert_eq!(spec.schedules.len(), 2);
        assert_eq!(spec.timezone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(spec.concurrency, Some(Concurrency { limit: 2, key: Some("db".into()) }));
        assert_eq!(spec.status, TaskStatus::Paused);
    }
}
