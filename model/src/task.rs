//! A task: what to run, when and how. And, apart from it, the small record that moves with its runs.

use crate::duration;
use crate::hook::{Artifact, Call, Hooks};
use crate::id::TaskId;
use crate::overlap::Overlap;
use crate::parameters::Parameters;
use crate::restart::RestartPolicy;
use crate::run::RunStateName;
use crate::schedule::{CatchUp, Schedule};
use crate::work::Work;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The system that owns a task; set by that system, never by its end user. Systems do not see each
/// other's tasks, and names are unique only within one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskType(String);

impl TaskType {
    /// The type of the tasks that people create. A stored empty type means the same.
    pub const SYSTEM: &'static str = "system";

    /// The type with this name; an empty one is [`Self::SYSTEM`].
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self(if name.is_empty() { Self::SYSTEM.to_owned() } else { name })
    }

    /// Its name; never empty, whatever was stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { Self::SYSTEM } else { &self.0 }
    }
}

impl Default for TaskType {
    fn default() -> Self {
        Self::new(Self::SYSTEM)
    }
}

impl fmt::Display for TaskType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Data of the owning system, opaque to everybody else; replaced as a whole.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// One revision of a task. A run records which revision it used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Given at creation, sorted by time.
    pub id: TaskId,
    /// The system it belongs to.
    #[serde(rename = "type", default)]
    pub kind: TaskType,
    /// Starts at 1 and rises by one with each change of the definition.
    pub revision: u64,
    /// When the task was created.
    pub created_at: Timestamp,
    /// When this revision was made.
    pub updated_at: Timestamp,
    /// Whose task it is. Tasks from files belong to the owner set `file`.
    #[serde(default)]
    pub owner: Owner,
    /// Data of the owning system.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// What its user wrote.
    pub spec: TaskSpec,
}

impl Task {
    /// Whether its dues are to be acted on.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.spec.status == TaskStatus::Active
    }
}

/// Whose a task is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Whoever runs this node.
    #[default]
    Local,
    /// A file of task definitions, by its path; only that file changes the task.
    File(String),
    /// A named identity.
    Named(String),
}

/// The definition as its user gives it; everything but the name and the work has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Unique within the task's type.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// For filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Paused tasks have no dues; `run now` is allowed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: TaskStatus,
    /// When it is due; none means only when told to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
    /// IANA name; none means the configured default, else UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Shifts the start against the due time, which stays the logical time of the run. Whole seconds.
    #[serde(default, with = "duration::signed", skip_serializing_if = "SignedDuration::is_zero")]
    pub offset: SignedDuration,
    /// Window of a delay that differs with each due time, yet is always the same for the same one.
    #[serde(default, with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub jitter: Duration,
    /// Window of a delay that is the same for all dues of this task.
    #[serde(default, with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub splay: Duration,
    /// A due looked at this much after its time is not yet late.
    #[serde(default = "default_grace", with = "duration::text", skip_serializing_if = "is_default_grace")]
    pub grace: Duration,
    /// What becomes of dues that passed while the engine was down.
    #[serde(default, skip_serializing_if = "is_default")]
    pub catch_up: CatchUp,
    /// What becomes of a due while an earlier run of the task is unfinished.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlap: Overlap,
    /// What a run takes that somebody asks for; by default anything.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// How many runs may be at work at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Higher goes first when workers are scarce.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i8,
    /// When a run gets another attempt; by default never.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: RestartPolicy,
    /// Whether doing the work twice does no harm; only then may a lost attempt be repeated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub idempotent: bool,
    /// Longest time one attempt may take; none means for ever.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How an attempt is stopped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kill: Kill,
    /// How long finished runs are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retention: Retention,
    /// Most bytes of output kept of a run. Of one that writes more, its first half and the newest are kept, or only
    /// the beginning if this is below 64 KiB; what is gone is counted and marked in its place.
    #[serde(default = "default_output", skip_serializing_if = "is_default_output")]
    pub max_output: u64,
    /// How output is divided into files, and how long it is kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub output: Output,
    /// What is done around each attempt.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Files that are fetched before each start, into the run's own directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// How long a stop waits, after the hooks of `prekill` and before the first signal, so that others learn that the
    /// work goes; it ends early when the work does. Zero by default.
    #[serde(default, with = "duration::text", skip_serializing_if = "Duration::is_zero")]
    pub shutdown_delay: Duration,
    /// What is done when a run has ended as failed, timed out or lost; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Call>,
    /// What is done when a run has succeeded after one that had not; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_recovered: Option<Call>,
    /// After so many runs in a row that failed, timed out or were lost, the task is paused. None, the default, means
    /// never. A success begins the count anew; canceled, skipped and missed runs leave it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_after_failures: Option<u32>,
    /// How often the use of processor and memory is measured while work runs; none, the default, means only at its end.
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub stats_every: Option<Duration>,
    /// What to run.
    pub work: Work,
}

impl TaskSpec {
    /// Default [`Self::grace`]: what a loaded machine may be late without anybody calling it late.
    pub const GRACE: Duration = Duration::from_secs(10);
    /// Least [`Self::grace`]: what a busy machine may take between a due time and the look at it.
    pub const MIN_GRACE: Duration = Duration::from_secs(1);
    /// Default [`Self::max_output`]: 10 MiB hold any log that a person will read.
    pub const MAX_OUTPUT: u64 = 10 << 20;
    /// Longest name and label: also the longest part of a store key that a user chooses.
    pub const MAX_NAME: usize = 64;
    /// Most labels of a task.
    pub const MAX_LABELS: usize = 32;
    /// Longest description in bytes.
    pub const MAX_DESCRIPTION: usize = 4096;
    /// Largest definition in bytes of JSON, so that no record of the store exceeds 64 KiB.
    pub const MAX_SIZE: usize = 48 << 10;

    /// A task with all defaults that only runs when told to.
    pub fn new(name: impl Into<String>, work: Work) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            labels: BTreeMap::new(),
            status: TaskStatus::Active,
            schedules: Vec::new(),
            timezone: None,
            offset: SignedDuration::ZERO,
            jitter: Duration::ZERO,
            splay: Duration::ZERO,
            grace: Self::GRACE,
            catch_up: CatchUp::default(),
            overlap: Overlap::default(),
            parameters: Parameters::default(),
            concurrency: None,
            priority: 0,
            restart: RestartPolicy::default(),
            idempotent: false,
            timeout: None,
            kill: Kill::default(),
            retention: Retention::default(),
            max_output: Self::MAX_OUTPUT,
            output: Output::default(),
            hooks: Hooks::default(),
            artifacts: Vec::new(),
            shutdown_delay: Duration::ZERO,
            on_failure: None,
            on_recovered: None,
            pause_after_failures: None,
            stats_every: None,
            work,
        }
    }

    /// How many runs of the task itself (not of its key) may be at work at once: every overlap policy but
    /// `allow` means one.
    #[must_use]
    pub fn own_limit(&self) -> Option<u32> {
        match (self.overlap, &self.concurrency) {
            (Overlap::Allow, Some(Concurrency { limit, key: None })) => Some(*limit),
            (Overlap::Allow, _) => None,
            (_, _) => Some(1),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_grace() -> Duration {
    TaskSpec::GRACE
}

fn is_default_grace(value: &Duration) -> bool {
    *value == TaskSpec::GRACE
}

fn default_output() -> u64 {
    TaskSpec::MAX_OUTPUT
}

fn is_default_output(value: &u64) -> bool {
    *value == TaskSpec::MAX_OUTPUT
}

/// Whether a task's dues are acted on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Its dues become runs.
    #[default]
    Active,
    /// No new dues; waiting and running work goes on.
    Paused,
}

/// How many runs may be at work at once. Waiting for a place never holds a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The most at work at once; at least 1.
    pub limit: u32,
    /// With a key the limit counts the runs of all tasks that name the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// How an attempt is stopped: the signal, then after the grace KILL for the whole tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kill {
    /// The polite signal, by name (`SIGTERM`, `INT`).
    pub signal: String,
    /// How long the work may take to go by itself.
    #[serde(with = "duration::text")]
    pub grace: Duration,
}

impl Kill {
    /// Default [`Self::grace`], as Nomad's `kill_timeout`.
    pub const GRACE: Duration = Duration::from_secs(5);
    /// Longest grace: a stop must end within the patience of whoever asked for it.
    pub const MAX_GRACE: Duration = Duration::from_secs(3600);
}

impl Default for Kill {
    fn default() -> Self {
        Self { signal: "SIGTERM".to_owned(), grace: Self::GRACE }
    }
}

/// How long finished runs are kept, whichever bound is reached first. Skipped and Missed records are
/// counted apart from runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// The newest so many.
    pub runs: u32,
    /// Not older than this.
    #[serde(with = "duration::text")]
    pub age: Duration,
}

impl Retention {
    /// Default number of runs kept of a task.
    pub const RUNS: u32 = 100;
    /// Default age up to which runs are kept.
    pub const AGE: Duration = Duration::from_secs(30 * 86_400);
}

impl Default for Retention {
    fn default() -> Self {
        Self { runs: Self::RUNS, age: Self::AGE }
    }
}

/// How a run's output is divided into files, and how long it is kept. How much of it is kept is
/// [`TaskSpec::max_output`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// At so many bytes a new file begins, and only the newest files are kept; none, the default, means that of a run
    /// that writes more than [`TaskSpec::max_output`] the beginning is kept as well as the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_at: Option<u64>,
    /// Most files of a run; needs `rotate_at`. None means as many as `max_output` has room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
    /// How long the output of a finished run is kept, looked at once an hour; none means as long as its record.
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// Of how many finished runs the output is kept, the newest first; none means of all that have a record. A tenth
    /// more may stand until it is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
}

impl Output {
    /// Least [`Self::rotate_at`]: below it there are more files than text.
    pub const MIN_ROTATE: u64 = 64 << 10;
    /// Most [`Self::files`] of a run: whoever looks for the next one looks at each.
    pub const MAX_FILES: u32 = 100;

    /// Whether output is to go before the record of its run.
    #[must_use]
    pub fn goes_early(&self) -> bool {
        self.age.is_some() || self.runs.is_some()
    }
}

/// What changes with a task's runs. No part of the definition: it moves without a new revision.
///
/// Every field of time only moves forward.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskProgress {
    /// Every due time up to here has its record. The next due derives from it; it outlives pruned history.
    pub checkpoint: Option<Timestamp>,
    /// Newest logical time of a run that was accepted from the schedule.
    pub latest_scheduled: Option<Timestamp>,
    /// Newest logical time of a run that ended (skipped and missed ones never began).
    pub latest_completed: Option<Timestamp>,
    /// Newest logical time of a run that succeeded.
    pub latest_success: Option<Timestamp>,
    /// Newest logical time of a run that failed, timed out or was lost. Canceled is neither.
    pub latest_failure: Option<Timestamp>,
    /// How the last run that ended did end.
    pub last_status: Option<RunStateName>,
    /// Why, if it did not succeed.
    pub last_error: Option<String>,
    /// When it ended.
    pub last_finished_at: Option<Timestamp>,
    /// How many runs in a row failed, timed out or were lost, in the order of their ends. A success begins anew, and so
    /// does a task that is made active again. The only field that falls.
    #[serde(default)]
    pub failures_in_row: u32,
    /// Whether the last run that succeeded or failed (or timed out, or was lost) did not succeed, in the order of their
    /// ends: the next success is a recovery.
    #[serde(default)]
    pub failing: bool,
    /// After so many failures in a row the engine paused the task ([`TaskSpec::pause_after_failures`]); none once its
    /// definition is changed by another hand.
    #[serde(default)]
    pub paused_after: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_type_is_the_system_type() {
        let stored: TaskType = serde_json::from_value(json!("")).unwrap();
        assert_eq!(stored.as_str(), "system");
        assert_eq!(TaskType::new(""), TaskType::default());
    }

    #[test]
    fn a_definition_with_defaults_is_small_and_reads_back() {
        let spec = TaskSpec::new("hello", Work::shell("echo hi"));
        let text = serde_json::to_value(&spec).unwrap();
        assert_eq!(text, json!({"name": "hello", "work": {"driver": "shell", "script": "echo hi"}}));
        assert_eq!(serde_json::from_value::<TaskSpec>(text).unwrap(), spec);
    }

    #[test]
    fn fields_of_a_later_version_do_not_hinder_reading() {
        let spec: TaskSpec = serde_json::from_value(
            json!({"name": "n", "colour": "red", "work": {"driver": "shell", "script": "", "new": 1}}),
        )
        .unwrap();
        assert_eq!(spec.name, "n");
    }

    #[test]
    fn every_overlap_policy_but_allow_means_one_at_work() {
        let mut spec = TaskSpec::new("n", Work::shell(""));
        assert_eq!(spec.own_limit(), None);
        spec.concurrency = Some(Concurrency { limit: 3, key: None });
        assert_eq!(spec.own_limit(), Some(3));
        for overlap in [Overlap::Skip, Overlap::QueueOne, Overlap::QueueAll { max: 5 }, Overlap::Replace] {
            spec.overlap = overlap;
            assert_eq!(spec.own_limit(), Some(1));
        }
    }
}
