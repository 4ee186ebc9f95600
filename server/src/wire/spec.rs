//! A task's definition as its user writes it.

use super::around::{Artifact, Call, Hooks, Output};
use super::parameters::Parameters;
use super::restart::Restart;
use super::twin;
use super::work::Work;
use jiff::{SignedDuration, Timestamp};
use punctual_model as model;
use punctual_model::{duration, form, overlap, restart, schedule, task};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A definition; everything but the name and the work has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::TaskSpec`")]
pub struct TaskSpec {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub status: Status,
    #[serde(default)]
    pub schedules: Vec<Schedule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    #[serde(default, with = "duration::signed", skip_serializing_if = "SignedDuration::is_zero")]
    pub offset: SignedDuration,
    #[serde(default, with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub jitter: Duration,
    #[serde(default, with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub splay: Duration,
    #[serde(default = "grace", with = "duration::text")]
    pub grace: Duration,
    #[serde(default)]
    pub catch_up: CatchUp,
    #[serde(default)]
    pub overlap: Overlap,
    #[serde(default, skip_serializing_if = "is_default")]
    pub parameters: Parameters,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    #[serde(default, deserialize_with = "form::priority")]
    pub priority: i8,
    #[serde(default, deserialize_with = "restart::RestartPolicy::named_or_table")]
    pub restart: Restart,
    #[serde(default)]
    pub idempotent: bool,
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    #[serde(default)]
    pub kill: Kill,
    #[serde(default)]
    pub retention: Retention,
    #[serde(default = "max_output")]
    pub max_output: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub output: Output,
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    #[serde(default, with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub shutdown_delay: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recovered: Option<Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_after_failures: Option<u32>,
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub stats_every: Option<Duration>,
    pub work: Work,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn grace() -> Duration {
    model::TaskSpec::GRACE
}

fn max_output() -> u64 {
    model::TaskSpec::MAX_OUTPUT
}

impl From<TaskSpec> for model::TaskSpec {
    fn from(spec: TaskSpec) -> Self {
        let TaskSpec {
            name,
            description,
            labels,
            status,
            schedules,
            timezone,
            offset,
            jitter,
            splay,
            grace,
            catch_up,
            overlap,
            parameters,
            concurrency,
            priority,
            restart,
            idempotent,
            timeout,
            kill,
            retention,
            max_output,
            output,
            hooks,
            artifacts,
            shutdown_delay,
            on_failure,
            on_recovered,
            pause_after_failures,
            stats_every,
            work,
        } = spec;
        Self {
            name,
            description,
            labels,
            status: status.into(),
            schedules: schedules.into_iter().map(Into::into).collect(),
            timezone,
            offset,
            jitter,
            splay,
            grace,
            catch_up: catch_up.into(),
            overlap: overlap.into(),
            parameters: parameters.into(),
            concurrency: concurrency.map(|Concurrency { limit, key }| task::Concurrency { limit, key }),
            priority,
            restart: restart.into(),
            idempotent,
            timeout,
            kill: task::Kill { signal: kill.signal, grace: kill.grace },
            retention: task::Retention { runs: retention.runs, age: retention.age },
            max_output,
            output: output.into(),
            hooks: hooks.into(),
            artifacts: artifacts.into_iter().map(Into::into).collect(),
            shutdown_delay,
            on_failure: on_failure.map(Into::into),
            on_recovered: on_recovered.map(Into::into),
            pause_after_failures,
            stats_every,
            work: work.into(),
        }
    }
}

impl From<model::TaskSpec> for TaskSpec {
    fn from(spec: model::TaskSpec) -> Self {
        let model::TaskSpec {
            name,
            description,
            labels,
            status,
            schedules,
            timezone,
            offset,
            jitter,
            splay,
            grace,
            catch_up,
            overlap,
            parameters,
            concurrency,
            priority,
            restart,
            idempotent,
            timeout,
            kill,
            retention,
            max_output,
            output,
            hooks,
            artifacts,
            shutdown_delay,
            on_failure,
            on_recovered,
            pause_after_failures,
            stats_every,
            work,
        } = spec;
        Self {
            name,
            description,
            labels,
            status: status.into(),
            schedules: schedules.into_iter().map(Into::into).collect(),
            timezone,
            offset,
            jitter,
            splay,
            grace,
            catch_up: catch_up.into(),
            overlap: overlap.into(),
            parameters: parameters.into(),
            concurrency: concurrency.map(|task::Concurrency { limit, key }| Concurrency { limit, key }),
            priority,
            restart: restart.into(),
            idempotent,
            timeout,
            kill: Kill { signal: kill.signal, grace: kill.grace },
            retention: Retention { runs: retention.runs, age: retention.age },
            max_output,
            output: output.into(),
            hooks: hooks.into(),
            artifacts: artifacts.into_iter().map(Into::into).collect(),
            shutdown_delay,
            on_failure: on_failure.map(Into::into),
            on_recovered: on_recovered.map(Into::into),
            pause_after_failures,
            stats_every,
            work: work.into(),
        }
    }
}

/// Whether its dues are acted on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Status {
    #[default]
    Active,
    Paused,
}
twin!(Status, task::TaskStatus { Active, Paused });

/// One schedule: `{"cron": "0 2 * * *"}`, `{"every": "5m"}` or `{"at": "2027-03-28T01:30:00Z"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Schedule {
    Cron(Cron),
    Every(Every),
    At(Timestamp),
}

/// A cron expression, alone or with its rules for clock changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a cron expression, or an object with expr, dst_gap and dst_overlap"
)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Cron {
    Plain(String),
    Full {
        expr: String,
        #[serde(default)]
        dst_gap: DstGap,
        #[serde(default)]
        dst_overlap: DstOverlap,
    },
}

/// What a skipped wall time becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum DstGap {
    #[default]
    RunAtEnd,
    Skip,
}
twin!(DstGap, schedule::DstGap { RunAtEnd, Skip });

/// Which pass of a repeated wall time counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum DstOverlap {
    #[default]
    First,
    Second,
    Both,
}
twin!(DstOverlap, schedule::DstOverlap { First, Second, Both });

/// An interval, alone or with its anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a duration such as \"5m\", or an object with interval and anchor"
)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Every {
    Plain(#[serde(with = "duration::text")] Duration),
    Full {
        #[serde(with = "duration::text")]
        interval: Duration,
        anchor: Option<Timestamp>,
    },
}

impl From<Schedule> for schedule::Schedule {
    fn from(value: Schedule) -> Self {
        match value {
            Schedule::Cron(Cron::Plain(expr)) => Self::Cron(schedule::Cron::new(expr)),
            Schedule::Cron(Cron::Full { expr, dst_gap, dst_overlap }) => {
                Self::Cron(schedule::Cron { expr, dst_gap: dst_gap.into(), dst_overlap: dst_overlap.into() })
            }
            Schedule::Every(Every::Plain(interval)) => Self::Every(schedule::Every::new(interval)),
            Schedule::Every(Every::Full { interval, anchor }) => {
                Self::Every(schedule::Every { interval, anchor })
            }
            Schedule::At(at) => Self::At(at),
        }
    }
}

impl From<schedule::Schedule> for Schedule {
    fn from(value: schedule::Schedule) -> Self {
        match value {
            schedule::Schedule::Cron(schedule::Cron { expr, dst_gap, dst_overlap }) => {
                let (dst_gap, dst_overlap) = (dst_gap.into(), dst_overlap.into());
                Self::Cron(match (dst_gap, dst_overlap) {
                    (DstGap::RunAtEnd, DstOverlap::First) => Cron::Plain(expr),
                    _ => Cron::Full { expr, dst_gap, dst_overlap },
                })
            }
            schedule::Schedule::Every(schedule::Every { interval, anchor: None }) => {
                Self::Every(Every::Plain(interval))
            }
            schedule::Schedule::Every(schedule::Every { interval, anchor }) => {
                Self::Every(Every::Full { interval, anchor })
            }
            schedule::Schedule::At(at) => Self::At(at),
        }
    }
}

/// What becomes of dues that passed while the engine was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct CatchUp {
    pub policy: CatchUpPolicy,
    #[serde(with = "duration::text")]
    pub window: Duration,
    pub limit: u32,
    pub rate: u32,
}

impl Default for CatchUp {
    fn default() -> Self {
        schedule::CatchUp::default().into()
    }
}

impl From<CatchUp> for schedule::CatchUp {
    fn from(CatchUp { policy, window, limit, rate }: CatchUp) -> Self {
        Self { policy: policy.into(), window, limit, rate }
    }
}

impl From<schedule::CatchUp> for CatchUp {
    fn from(schedule::CatchUp { policy, window, limit, rate }: schedule::CatchUp) -> Self {
        Self { policy: policy.into(), window, limit, rate }
    }
}

/// Which missed dues are run late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum CatchUpPolicy {
    Skip,
    Latest,
    All,
}
twin!(CatchUpPolicy, schedule::CatchUpPolicy { Skip, Latest, All });

/// What becomes of a due while an earlier run is unfinished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Overlap {
    #[default]
    Allow,
    Skip,
    QueueOne,
    QueueAll {
        max: u32,
    },
    Replace,
}

impl From<Overlap> for overlap::Overlap {
    fn from(value: Overlap) -> Self {
        match value {
            Overlap::Allow => Self::Allow,
            Overlap::Skip => Self::Skip,
            Overlap::QueueOne => Self::QueueOne,
            Overlap::QueueAll { max } => Self::QueueAll { max },
            Overlap::Replace => Self::Replace,
        }
    }
}

impl From<overlap::Overlap> for Overlap {
    fn from(value: overlap::Overlap) -> Self {
        match value {
            overlap::Overlap::Allow => Self::Allow,
            overlap::Overlap::Skip => Self::Skip,
            overlap::Overlap::QueueOne => Self::QueueOne,
            overlap::Overlap::QueueAll { max } => Self::QueueAll { max },
            overlap::Overlap::Replace => Self::Replace,
        }
    }
}

/// How many runs may be at work at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Concurrency {
    pub limit: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// How an attempt is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Kill {
    pub signal: String,
    #[serde(with = "duration::text")]
    pub grace: Duration,
}

impl Default for Kill {
    fn default() -> Self {
        let task::Kill { signal, grace } = task::Kill::default();
        Self { signal, grace }
    }
}

/// How long finished runs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Retention {
    pub runs: u32,
    #[serde(with = "duration::text")]
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let task::Retention { runs, age } = task::Retention::default();
        Self { runs, age }
    }
}
