//! The part of a definition that decides when a task is due, and nothing else of it.
//!
//! The scheduler compiles it, and the store keeps it beside the definition, so that a start over very many tasks reads
//! no whole definition. Always derived from a definition, never changed by itself.

use crate::schedule::Schedule;
use crate::task::TaskSpec;
use jiff::SignedDuration;
use std::time::Duration;

/// When a task is due and when the runs of its dues start. The fields mean what they mean in [`TaskSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timing {
    /// See [`TaskSpec::schedules`].
    pub schedules: Vec<Schedule>,
    /// See [`TaskSpec::timezone`].
    pub timezone: Option<String>,
    /// See [`TaskSpec::offset`].
    pub offset: SignedDuration,
    /// See [`TaskSpec::jitter`].
    pub jitter: Duration,
    /// See [`TaskSpec::splay`].
    pub splay: Duration,
    /// See [`TaskSpec::grace`].
    pub grace: Duration,
}

impl Default for Timing {
    /// Of a task that says nothing about time: it runs only when told to.
    fn default() -> Self {
        Self {
            schedules: Vec::new(),
            timezone: None,
            offset: SignedDuration::ZERO,
            jitter: Duration::ZERO,
            splay: Duration::ZERO,
            grace: TaskSpec::GRACE,
        }
    }
}

impl From<&TaskSpec> for Timing {
    fn from(spec: &TaskSpec) -> Self {
        Self {
            schedules: spec.schedules.clone(),
            timezone: spec.timezone.clone(),
            offset: spec.offset,
            jitter: spec.jitter,
            splay: spec.splay,
            grace: spec.grace,
        }
    }
}
