//! When a run gets another attempt: the policy and its counters. The decision table is the executor's.

use crate::duration;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Restarts within one run. The default is none: the first end of an attempt is the end of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// Restarts allowed within one interval.
    pub attempts: u32,
    /// The window in which restarts are counted.
    #[serde(with = "duration::text")]
    pub interval: Duration,
    /// Pause before each restart; up to a quarter of it is added at random.
    #[serde(with = "duration::text")]
    pub delay: Duration,
    /// What happens when the allowance is used up.
    pub mode: RestartMode,
    /// Whether success, too, is followed by another attempt (a service).
    pub on_success: bool,
    /// What happens to an attempt whose end nobody saw.
    pub on_lost: OnLost,
}

impl RestartPolicy {
    /// Shortest interval: below it a count says nothing.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(5);
    /// Most restarts within an interval.
    pub const MAX_ATTEMPTS: u32 = 1_000_000;

    /// So many restarts in a day, this far apart, then the run fails.
    #[must_use]
    pub fn attempts(attempts: u32, delay: Duration) -> Self {
        Self { attempts, delay, ..Self::default() }
    }
}

impl Default for RestartPolicy {
    /// No restarts; interval and delay are Nomad's for batch jobs, so that `attempts = 3` alone makes sense.
    fn default() -> Self {
        Self {
            attempts: 0,
            interval: Duration::from_secs(86_400),
            delay: Duration::from_secs(15),
            mode: RestartMode::Fail,
            on_success: false,
            on_lost: OnLost::EndAsLost,
        }
    }
}

/// What happens when the restarts of an interval are used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartMode {
    /// The run ends as failed.
    #[default]
    Fail,
    /// The next attempt waits for the end of the interval.
    Delay,
}

/// What happens to an attempt whose end nobody saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// The run ends as `Lost`, unless its task is idempotent.
    #[default]
    #[serde(rename = "lost")]
    EndAsLost,
    /// The run gets another attempt.
    Restart,
}

/// What the restart tracker remembers of a run between its decisions; persisted with the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartCount {
    /// Counted ends in the current interval.
    pub count: u32,
    /// Start of the current interval.
    pub window_start: Option<Timestamp>,
}
