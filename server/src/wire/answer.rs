//! Requests and answers around tasks and runs.

use super::spec::TaskSpec;
use jiff::Timestamp;
use punctual_coordinator as coordinator;
use punctual_executor::output::{Content, Frame};
use punctual_model as model;
use punctual_model::{ErrorCode, RunId, RunStateName, TaskId};
use punctual_scheduler::schedule::{Explanation, Preview};
use punctual_store as store;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How every error looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// For programs: one of 13.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Give it as `after` to get the next page; none on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A task as it is stored. `S` is the definition; a client that only passes it on takes any JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::Task`")]
pub struct Task<S = TaskSpec> {
    pub id: TaskId,
    #[serde(rename = "type")]
    pub kind: String,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub owner: Owner,
    pub spec: S,
    pub progress: Progress,
    pub schedule: ScheduleText,
}

impl Task {
    /// The task with the meaning of its schedule.
    #[must_use]
    pub fn new(stored: &store::StoredTask, schedule: &coordinator::ScheduleReport) -> Self {
        let task = &*stored.task;
        Self {
            id: task.id,
            kind: task.kind.as_str().to_owned(),
            revision: task.revision,
            created_at: task.created_at,
            updated_at: task.updated_at,
            owner: task.owner.clone().into(),
            spec: task.spec.clone().into(),
            progress: stored.progress.clone().into(),
            schedule: schedule.into(),
        }
    }
}

/// Whose a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Owner {
    Local,
    File(String),
    Named(String),
}

impl From<model::Owner> for Owner {
    fn from(owner: model::Owner) -> Self {
        match owner {
            model::Owner::Local => Self::Local,
            model::Owner::File(path) => Self::File(path),
            model::Owner::Named(name) => Self::Named(name),
        }
    }
}

/// What moves with a task's runs, without a new revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::TaskProgress`")]
pub struct Progress {
    pub checkpoint: Option<Timestamp>,
    pub latest_scheduled: Option<Timestamp>,
    pub latest_completed: Option<Timestamp>,
    pub latest_success: Option<Timestamp>,
    pub latest_failure: Option<Timestamp>,
    pub last_status: Option<RunStateName>,
    pub last_error: Option<String>,
    pub last_finished_at: Option<Timestamp>,
    #[serde(default)]
    pub failures_in_row: u32,
    #[serde(default)]
    pub failing: bool,
    /// After so many of them the engine paused the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_after: Option<u32>,
}

impl From<model::TaskProgress> for Progress {
    fn from(progress: model::TaskProgress) -> Self {
        let model::TaskProgress {
            checkpoint,
            latest_scheduled,
            latest_completed,
            latest_success,
            latest_failure,
            last_status,
            last_error,
            last_finished_at,
            failures_in_row,
            failing,
            paused_after,
        } = progress;
        Self {
            checkpoint,
            latest_scheduled,
            latest_completed,
            latest_success,
            latest_failure,
            last_status,
            last_error,
            last_finished_at,
            failures_in_row,
            failing,
            paused_after,
        }
    }
}

/// What a task's schedules mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleText {
    /// The zone whose wall clock counts.
    pub zone: String,
    /// Each schedule in words; empty if the task runs only when told to.
    pub schedules: Vec<Explained>,
    /// The next due times, before offset, jitter and splay.
    pub next: Vec<Due>,
}

impl From<&coordinator::ScheduleReport> for ScheduleText {
    fn from(report: &coordinator::ScheduleReport) -> Self {
        Self {
            zone: report.zone.clone(),
            schedules: report.schedules.iter().map(Into::into).collect(),
            next: report.next.iter().map(Into::into).collect(),
        }
    }
}

/// One schedule in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// In its normal form.
    pub normalised: String,
    /// In a sentence.
    pub sentence: String,
    /// What may surprise.
    pub warnings: Vec<Warned>,
}

impl From<&Explanation> for Explained {
    fn from(explanation: &Explanation) -> Self {
        let warned = |warning: &punctual_scheduler::schedule::Warning| Warned {
            code: warning.code().to_owned(),
            text: warning.to_string(),
        };
        Self {
            normalised: explanation.normalised.clone(),
            sentence: explanation.sentence.clone(),
            warnings: explanation.warnings.iter().map(warned).collect(),
        }
    }
}

/// Something that is right but may not be meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warned {
    /// For programs.
    pub code: String,
    /// For people.
    pub text: String,
}

/// A due time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// The instant.
    pub at: Timestamp,
    /// Weekday, wall clock, offset and UTC.
    pub text: String,
}

impl From<&Preview> for Due {
    fn from(preview: &Preview) -> Self {
        Self { at: preview.at, text: preview.to_string() }
    }
}

/// The answer to a definition that was only judged (`?dry_run=true`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// What its schedules would mean.
    pub schedule: ScheduleText,
}

/// What becomes of the dues that passed while a task was paused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resumption {
    /// They are forgotten.
    #[default]
    FromNow,
    /// The task's catch-up policy decides.
    CatchUp,
}

impl From<Resumption> for coordinator::Resumption {
    fn from(resumption: Resumption) -> Self {
        match resumption {
            Resumption::FromNow => Self::FromNow,
            Resumption::CatchUp => Self::CatchUp,
        }
    }
}

/// The body of `tasks/{id}:resume`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskResume {
    /// What becomes of the dues that passed meanwhile.
    pub dues: Resumption,
}

/// The body of `tasks/{id}:run`. All of it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunNow {
    /// An object that is laid over the task's arguments.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// The logical time that the work is told; none means when it is to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<Timestamp>,
    /// When it is to run; none means now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Makes asking twice harmless, and asking for something else under it a conflict; may be given as the header
    /// `Idempotency-Key` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Passes the task's overlap policy by.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

impl From<RunNow> for coordinator::RunRequest {
    fn from(RunNow { params, scheduled_for, run_at, idempotency_key, force }: RunNow) -> Self {
        // A trace comes as a header.
        Self { params, scheduled_for, run_at, idempotency_key, force, trace: None }
    }
}

/// One line of a followed log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogLine {
    /// A piece of output, as it was written at once. Has `text`, or `base64` where the bytes are no UTF-8.
    Log {
        /// Rises by one from piece to piece, through all attempts.
        seq: u64,
        /// When it was written.
        at: Timestamp,
        /// `stdout`, `stderr` or `log`.
        stream: String,
        /// What was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// What was written, where it is no text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    /// Output over the cap, which is gone.
    Dropped {
        /// As of a piece of output.
        seq: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Nothing happened for a while, and the connection is alive.
    Heartbeat,
    /// The run has ended and this was all.
    End {
        /// The run.
        run: RunId,
        /// How it ended.
        state: RunStateName,
    },
    /// No more can be told; the run may go on.
    Error(Error),
}

/// One line of what happens to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventLine {
    /// Something happened.
    Event {
        /// What.
        event: super::Event,
    },
    /// So many events are gone; only the first and the last ones of a run are kept.
    Missed {
        /// How many.
        events: u64,
    },
    /// It is in this state now.
    State {
        /// Which.
        state: RunStateName,
    },
    /// Nothing happened for a while, and the connection is alive.
    Heartbeat,
    /// The run has ended and this was all.
    End {
        /// The run.
        run: RunId,
        /// How it ended.
        state: RunStateName,
    },
    /// No more can be told; the run may go on.
    Error(Error),
}

impl LogLine {
    /// The bytes of a piece of output, as they were written.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Log { text: Some(text), .. } => Some(text.clone().into_bytes()),
            Self::Log { base64: Some(base64), .. } => crate::encoding::from_base64(base64),
            _ => None,
        }
    }

    /// A frame of a run's output.
    #[must_use]
    pub fn of(frame: Frame) -> Self {
        let Frame { sequence: seq, at, content } = frame;
        match content {
            Content::Bytes { stream, bytes } => {
                let (text, base64) = match String::from_utf8(bytes) {
                    Ok(text) => (Some(text), None),
                    Err(error) => (None, Some(crate::encoding::base64(error.as_bytes()))),
                };
                Self::Log { seq, at, stream: stream.as_str().to_owned(), text, base64 }
            }
            Content::Dropped(bytes) => Self::Dropped { seq, bytes },
        }
    }
}

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`; `behind` if a due time waits for its record longer than it should; `stopping`.
    pub status: String,
    /// The program's version.
    pub version: String,
    /// The node's clock.
    pub now: Timestamp,
    /// Where time zones come from.
    pub time_zones: Zones,
    /// The oldest due time that is owed and not yet recorded; none is how it should be.
    pub oldest_unrecorded_due: Option<Timestamp>,
    /// What the scheduler knows.
    pub scheduler: Scheduling,
    /// Runs that have not ended.
    pub runs: RunTotals,
    /// Figures of the store.
    pub store: StoreFigures,
    /// Tasks without dues until they are changed.
    pub unschedulable: Vec<Unschedulable>,
    /// Records that cannot be read and are set aside.
    pub quarantined: Vec<Quarantined>,
}

/// Where time zones come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zones {
    /// Of tasks that name none.
    pub default: String,
    /// The system, or the bundled database.
    pub source: String,
}

/// What the scheduler knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduling {
    /// Active tasks.
    pub tasks: usize,
    /// Of these, those with a next due.
    pub waiting: usize,
    /// When the next due is to run.
    pub next_run_at: Option<Timestamp>,
    /// Dues handed out since the start.
    pub dues_handed_out: u64,
}

/// Runs that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTotals {
    /// For a time, a place or a limit.
    pub waiting: u64,
    /// In an attempt.
    pub at_work: u64,
}

/// Figures of the store since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFigures {
    /// Commits.
    pub commits: u64,
    /// Requests answered by them.
    pub requests: u64,
    /// Number of the last commit.
    pub sequence: u64,
}

/// A task without dues until it is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unschedulable {
    /// Its id.
    pub task: TaskId,
    /// Its name, where it is known.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// What kind of record.
    pub kind: String,
    /// Its key, in hex.
    pub key: String,
    /// Why it cannot be read.
    pub reason: String,
}
