//! When a run gets another attempt: the policy and its counters. The decision table is the executor's.

use crate::duration;
use crate::form;
use crate::number::{Decimal, EndClass};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
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
    /// Pause before each restart; a random share of it is added.
    #[serde(with = "duration::text")]
    pub delay: Duration,
    /// The largest share of a pause that chance adds to it, 0 to 1; by default a quarter (Nomad's).
    #[serde(skip_serializing_if = "RestartPolicy::is_usual_jitter")]
    pub jitter: Decimal,
    /// How pauses grow from one restart to the next; none, the default, means not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// What happens when the allowance is used up.
    pub mode: RestartMode,
    /// Only bad ends of these classes are followed by another attempt, whatever the work itself says of them; empty,
    /// the default, means all that can go better.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<EndClass>,
    /// Bad ends of these classes never are; it goes before `retry_on`. Empty by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_on: Vec<EndClass>,
    /// No attempt begins later than this after the first one, pauses included; none, the default, means no bound.
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Duration>,
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
    /// Default [`Self::jitter`]: what failed together does not come back together.
    pub const JITTER: Decimal = Decimal::thousandths(250);
    /// Most classes in each of the two lists.
    pub const MAX_CLASSES: usize = 32;
    /// The names of the policies that can be given by name: `restart = "service"`.
    pub const PRESETS: [&str; 3] = ["none", "batch", "service"];

    /// For work that ends: 3 restarts in 24 hours, 15 s apart, then the run fails. (Nomad's for `batch`.)
    #[must_use]
    pub fn batch() -> Self {
        Self::attempts(3, Duration::from_secs(15))
    }

    /// For work that is never to end: 2 restarts in 30 minutes, 15 s apart, after success too, then the run fails.
    /// (Nomad's for `service`.)
    #[must_use]
    pub fn service() -> Self {
        Self {
            interval: Duration::from_secs(30 * 60),
            on_success: true,
            ..Self::attempts(2, Duration::from_secs(15))
        }
    }

    /// The policy of this name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::default()),
            "batch" => Some(Self::batch()),
            "service" => Some(Self::service()),
            _ => None,
        }
    }

    /// Reads a policy by its name or as a table: `#[serde(deserialize_with = "RestartPolicy::named_or_table")]`.
    ///
    /// # Errors
    /// For an unknown name, the names that there are; else what the table's reader says.
    pub fn named_or_table<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + From<Self>,
    {
        let named = |name: &str| {
            let names = Self::PRESETS.join(", ");
            Self::preset(name).map(T::from).ok_or_else(|| format!("{name:?}: expected one of {names}"))
        };
        form::text_or_table(deserializer, "a restart policy, by its name or as a table", named)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_usual_jitter(jitter: &Decimal) -> bool {
        *jitter == Self::JITTER
    }

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
            jitter: Self::JITTER,
            backoff: None,
            mode: RestartMode::Fail,
            retry_on: Vec::new(),
            fail_on: Vec::new(),
            max_time: None,
            on_success: false,
            on_lost: OnLost::EndAsLost,
        }
    }
}

/// How pauses grow: each is the one before it times a factor, up to a longest one. The count of the current interval
/// decides, so that a new interval begins with the shortest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// By how much each pause is longer than the one before it; 1 to 10, by default 2.
    pub factor: Decimal,
    /// The longest pause, before chance adds to it; by default an hour.
    #[serde(with = "duration::text")]
    pub max: Duration,
}

impl Backoff {
    /// Largest factor: above it the second pause is the last that differs.
    pub const MAX_FACTOR: Decimal = Decimal::thousandths(10_000);

    /// The pause before restart `number`, counted from 1, if the first one is `delay`.
    #[must_use]
    pub fn pause(&self, delay: Duration, number: u32) -> Duration {
        let mut pause = delay;
        for _ in 1..number {
            let longer = self.after(pause);
            if longer == pause {
                break;
            }
            pause = longer;
        }
        pause
    }

    /// The pause after one of this length.
    #[must_use]
    pub fn after(&self, pause: Duration) -> Duration {
        let longer = pause.checked_mul(self.factor.as_thousandths()).map_or(self.max, |all| all / 1000);
        // A longest pause below the first one, or a factor below one, shortens nothing.
        longer.min(self.max).max(pause)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { factor: Decimal::thousandths(2000), max: Duration::from_secs(3600) }
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
    /// When the first attempt began, once a later one followed; for [`RestartPolicy::max_time`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_start: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Holder {
        #[serde(deserialize_with = "RestartPolicy::named_or_table")]
        restart: RestartPolicy,
    }

    fn read(restart: &serde_json::Value) -> Result<RestartPolicy, String> {
        serde_json::from_value::<Holder>(json!({ "restart": restart }))
            .map(|holder| holder.restart)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_has_a_name_or_a_table() {
        assert_eq!(read(&json!("service")), Ok(RestartPolicy::service()));
        assert_eq!(read(&json!("batch")), Ok(RestartPolicy::batch()));
        assert_eq!(read(&json!("none")), Ok(RestartPolicy::default()));
        assert_eq!(read(&json!({"attempts": 2})).unwrap().attempts, 2);
        let error = read(&json!("always")).unwrap_err();
        assert!(error.contains("none, batch, service"), "{error}");
        assert!(read(&json!(3)).unwrap_err().contains("by its name or as a table"));
    }

    #[test]
    fn pauses_grow_by_their_factor_up_to_the_longest() {
        let seconds = |factor, max, number| {
            let backoff = Backoff { factor: Decimal::thousandths(factor), max: Duration::from_secs(max) };
            backoff.pause(Duration::from_secs(10), number).as_secs_f64()
        };
        assert_eq!([1, 2, 3, 4, 5].map(|n| seconds(2000, 60, n)), [10.0, 20.0, 40.0, 60.0, 60.0]);
        assert_eq!([1, 2, 3].map(|n| seconds(1500, 3600, n)), [10.0, 15.0, 22.5]);
        assert_eq!([1, 9].map(|n| seconds(1000, 60, n)), [10.0, 10.0]);
        assert_eq!(seconds(10_000, u64::MAX, u32::MAX), u64::MAX as f64);
        assert_eq!(seconds(2000, 5, 1), 10.0, "the longest is never shorter than the first");
    }
}
