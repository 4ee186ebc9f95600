//! When a task is due: its schedules and everything that shifts, spreads or repairs them.
//! Data only; what they mean in time is decided in the scheduler.

use crate::duration;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most schedules a task may have: more is a sign of a generated list that wants to be a calendar.
pub const MAX_SCHEDULES: usize = 16;
/// Shortest interval of `every`. Below it a task is a loop, not a schedule.
pub const MIN_EVERY: Duration = Duration::from_secs(1);
/// Longest `every`, offset, jitter and splay: ten years keep all sums far inside the range of instants.
pub const MAX_SPAN: Duration = Duration::from_secs(10 * 366 * 86_400);

/// One schedule of a task. A task without any runs only when told to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// A cron expression (5, 6 or 7 fields, or `@daily` and the like) on the wall clock of the task's zone.
    Cron(Cron),
    /// A fixed interval in real time, counted from an anchor.
    Every(Every),
    /// Once, at this instant.
    At(Timestamp),
}

/// A cron expression with its rules for the two days a year on which the wall clock jumps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "CronText", into = "CronText")]
pub struct Cron {
    /// The text as the user wrote it.
    pub expr: String,
    /// What happens to fixed times that the spring jump skips.
    pub dst_gap: DstGap,
    /// What happens to fixed times that the autumn jump repeats.
    pub dst_overlap: DstOverlap,
}

impl Cron {
    /// An expression with the default rules for clock changes.
    pub fn new(expr: impl Into<String>) -> Self {
        Self { expr: expr.into(), dst_gap: DstGap::default(), dst_overlap: DstOverlap::default() }
    }
}

/// As text a plain expression stands for itself; only other than default rules need the long form.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum CronText {
    Plain(String),
    Full {
        expr: String,
        #[serde(default)]
        dst_gap: DstGap,
        #[serde(default)]
        dst_overlap: DstOverlap,
    },
}

impl From<CronText> for Cron {
    fn from(text: CronText) -> Self {
        match text {
            CronText::Plain(expr) => Self::new(expr),
            CronText::Full { expr, dst_gap, dst_overlap } => Self { expr, dst_gap, dst_overlap },
        }
    }
}

impl From<Cron> for CronText {
    fn from(cron: Cron) -> Self {
        let Cron { expr, dst_gap, dst_overlap } = cron;
        if dst_gap == DstGap::default() && dst_overlap == DstOverlap::default() {
            Self::Plain(expr)
        } else {
            Self::Full { expr, dst_gap, dst_overlap }
        }
    }
}

/// For expressions whose minute and hour are both fixed: what a skipped wall time becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DstGap {
    /// All times inside the gap become one firing at its end.
    #[default]
    RunAtEnd,
    /// They do not happen on that day.
    Skip,
}

/// For expressions whose minute and hour are both fixed: which pass of a repeated wall time counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DstOverlap {
    /// The first pass.
    #[default]
    First,
    /// The second pass.
    Second,
    /// Both passes.
    Both,
}

/// A fixed interval. A day is 24 h; wall-clock days are cron's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "EveryText", into = "EveryText")]
pub struct Every {
    /// The interval, whole seconds, from [`MIN_EVERY`] to [`MAX_SPAN`].
    pub interval: Duration,
    /// Where the multiples are counted from; by default 0001-01-01T00:00Z, so that `1h` falls on the
    /// hour and `1w` on Monday (as InfluxDB aligns them).
    pub anchor: Option<Timestamp>,
}

impl Every {
    /// An interval with the default anchor.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, anchor: None }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EveryText {
    Plain(#[serde(with = "duration::text")] Duration),
    Full {
        #[serde(with = "duration::text")]
        interval: Duration,
        anchor: Option<Timestamp>,
    },
}

impl From<EveryText> for Every {
    fn from(text: EveryText) -> Self {
        match text {
            EveryText::Plain(interval) => Self::new(interval),
            EveryText::Full { interval, anchor } => Self { interval, anchor },
        }
    }
}

impl From<Every> for EveryText {
    fn from(every: Every) -> Self {
        match every.anchor {
            None => Self::Plain(every.interval),
            anchor => Self::Full { interval: every.interval, anchor },
        }
    }
}

/// What becomes of dues that passed while the engine was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CatchUp {
    /// Which of them run.
    pub policy: CatchUpPolicy,
    /// Only dues not older than this are caught up.
    #[serde(with = "duration::text")]
    pub window: Duration,
    /// Under `all`: at most this many, the newest.
    pub limit: u32,
    /// Under `all`: at most this many of a task at work at once.
    pub rate: u32,
}

impl CatchUp {
    /// Default age up to which a due is caught up.
    pub const WINDOW: Duration = Duration::from_secs(86_400);
    /// Default number of dues that `all` catches up.
    pub const LIMIT: u32 = 100;
    /// Default number of caught-up runs of a task at work at once.
    pub const RATE: u32 = 10;
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { policy: CatchUpPolicy::Latest, window: Self::WINDOW, limit: Self::LIMIT, rate: Self::RATE }
    }
}

impl From<CatchUpPolicy> for CatchUp {
    fn from(policy: CatchUpPolicy) -> Self {
        Self { policy, ..Self::default() }
    }
}

/// Which missed dues are run late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpPolicy {
    /// None of them.
    Skip,
    /// The newest one.
    #[default]
    Latest,
    /// All, oldest first, within limit, rate and window.
    All,
}
