//! The record of a run, as it is shown.

use super::twin;
use jiff::Timestamp;
use punctual_model as model;
use punctual_model::{
    RunId, RunState, RunStateName, TaskId, TraceParent, duration, event, outcome, overlap, run, state,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// A run. `life` is its state with all it carries; `state`, `why` and the events' `text` say it in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::Run`")]
pub struct Run {
    pub id: RunId,
    pub task: TaskId,
    pub task_name: String,
    pub revision: u64,
    pub state: RunStateName,
    #[serde(default)]
    pub why: String,
    pub trigger: Trigger,
    pub scheduled_for: Timestamp,
    pub run_at: Timestamp,
    pub accepted_at: Timestamp,
    pub life: Life,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
    #[serde(default)]
    pub restarts: Restarts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub saved: Value,
    /// The first ones and the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// How many are missing behind the first ten.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub events_dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Run {
    /// How many of the events are from the beginning, before those that were dropped.
    pub const FIRST_EVENTS: usize = event::EventLog::FIRST;

    /// The record with its task's name.
    #[must_use]
    pub fn new(run: model::Run, task_name: String) -> Self {
        let why = why(&run);
        let model::Run {
            id,
            task,
            revision,
            trigger,
            scheduled_for,
            run_at,
            accepted_at,
            life,
            started_at,
            finished_at,
            forced,
            params,
            idempotency_key,
            trace,
            restarts,
            outcome,
            usage,
            saved,
            // What the node keeps for itself is nobody's business.
            local: _,
            events,
        } = run;
        Self {
            id,
            task,
            task_name,
            revision,
            state: life.state.name(),
            why,
            trigger: trigger.into(),
            scheduled_for,
            run_at,
            accepted_at,
            life: Life { state: life.state.into(), attempt: life.attempt, epoch: life.epoch },
            started_at,
            finished_at,
            forced,
            params,
            idempotency_key,
            trace,
            restarts: Restarts { count: restarts.count, window_start: restarts.window_start },
            outcome: outcome.map(Into::into),
            usage: usage.map(Into::into),
            saved,
            events_dropped: events.dropped(),
            events: events.iter().map(Event::new).collect(),
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.is_terminal()
    }
}

/// Why the run is where it is, in a few words: the failure, or the reason that its state carries.
fn why(run: &model::Run) -> String {
    let outcome = run.outcome.as_ref();
    let failure = outcome.and_then(|outcome| outcome.error.as_ref()).map(|failure| failure.message.clone());
    let exit = outcome.and_then(|outcome| outcome.exit).map(|exit| exit.to_string());
    match run.state() {
        RunState::Succeeded => String::new(),
        RunState::Failed | RunState::TimedOut => failure.or(exit).unwrap_or_default(),
        state => state.reason().or(failure).unwrap_or_default(),
    }
}

/// State, attempt and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Life {
    pub state: State,
    pub attempt: u32,
    pub epoch: u64,
}

/// Where a run is in its life, with all that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum State {
    Scheduled { at: Timestamp },
    Queued,
    Starting,
    Running,
    Stopping { why: StopWhy, since: Timestamp },
    Succeeded,
    Failed,
    TimedOut,
    Canceled { why: CancelWhy },
    Lost { why: LostWhy },
    Skipped { why: SkipWhy },
    Missed(Missed),
}

impl From<RunState> for State {
    fn from(value: RunState) -> Self {
        match value {
            RunState::Scheduled { at } => Self::Scheduled { at },
            RunState::Queued => Self::Queued,
            RunState::Starting => Self::Starting,
            RunState::Running => Self::Running,
            RunState::Stopping { why, since } => Self::Stopping { why: why.into(), since },
            RunState::Succeeded => Self::Succeeded,
            RunState::Failed => Self::Failed,
            RunState::TimedOut => Self::TimedOut,
            RunState::Canceled { why } => Self::Canceled { why: why.into() },
            RunState::Lost { why } => Self::Lost { why: why.into() },
            RunState::Skipped { why } => Self::Skipped { why: why.into() },
            RunState::Missed(missed) => Self::Missed(missed.into()),
        }
    }
}

/// Due times that passed unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Missed {
    pub from: Timestamp,
    pub to: Timestamp,
    pub count: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    pub why: MissedWhy,
}

impl From<state::Missed> for Missed {
    fn from(state::Missed { from, to, count, at_least, why }: state::Missed) -> Self {
        Self { from, to, count, at_least, why: why.into() }
    }
}

/// Why they were not caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum MissedWhy {
    PolicySkip,
    PolicyLatest,
    OverLimit,
    OutsideWindow,
}
twin!(MissedWhy, state::MissedWhy { PolicySkip, PolicyLatest, OverLimit, OutsideWindow });

/// Why a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum StopWhy {
    Cancel,
    Timeout,
    Replaced,
    Deleted,
    Restart,
}
twin!(StopWhy, state::StopWhy { Cancel, Timeout, Replaced, Deleted, Restart });

/// What canceled a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum CancelWhy {
    Asked,
    Replaced,
    Deleted,
}
twin!(CancelWhy, state::CancelWhy { Asked, Replaced, Deleted });

/// How an attempt went out of sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum LostWhy {
    NodeDied,
    Interrupted,
    Vanished,
}
twin!(LostWhy, state::LostWhy { NodeDied, Interrupted, Vanished });

/// Why a due time did not become a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum SkipWhy {
    Unfinished(RunId),
    QueueFull { waiting: u64 },
}

impl From<overlap::SkipWhy> for SkipWhy {
    fn from(value: overlap::SkipWhy) -> Self {
        match value {
            overlap::SkipWhy::Unfinished(run) => Self::Unfinished(run),
            overlap::SkipWhy::QueueFull { waiting } => Self::QueueFull { waiting },
        }
    }
}

/// Why a run exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Trigger {
    Schedule,
    CatchUp,
    Manual,
    Retry { of: RunId },
    Resume { of: RunId },
    OnFailure { of: RunId },
    OnRecovered { of: RunId },
}

impl From<run::Trigger> for Trigger {
    fn from(value: run::Trigger) -> Self {
        match value {
            run::Trigger::Schedule => Self::Schedule,
            run::Trigger::CatchUp => Self::CatchUp,
            run::Trigger::Manual => Self::Manual,
            run::Trigger::Retry { of } => Self::Retry { of },
            run::Trigger::Resume { of } => Self::Resume { of },
            run::Trigger::OnFailure { of } => Self::OnFailure { of },
            run::Trigger::OnRecovered { of } => Self::OnRecovered { of },
        }
    }
}

impl std::fmt::Display for Trigger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Schedule => f.write_str("schedule"),
            Self::CatchUp => f.write_str("catch_up"),
            Self::Manual => f.write_str("manual"),
            Self::Retry { of } => write!(f, "retry of {of}"),
            Self::Resume { of } => write!(f, "resume of {of}"),
            Self::OnFailure { of } => write!(f, "on_failure of {of}"),
            Self::OnRecovered { of } => write!(f, "on_recovered of {of}"),
        }
    }
}

/// What the restart tracker remembers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Restarts {
    pub count: u32,
    pub window_start: Option<Timestamp>,
}

/// Processor time and resident bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean: `punctual_model::Usage`")]
pub struct Usage {
    #[serde(with = "duration::text")]
    pub user: Duration,
    #[serde(with = "duration::text")]
    pub system: Duration,
    pub memory: u64,
}

impl From<model::Usage> for Usage {
    fn from(model::Usage { user, system, memory }: model::Usage) -> Self {
        Self { user, system, memory }
    }
}

/// How the last attempt that ended did end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Outcome {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSummary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl From<outcome::Outcome> for Outcome {
    fn from(outcome: outcome::Outcome) -> Self {
        let outcome::Outcome { exit, error, result, output, usage } = outcome;
        Self {
            exit: exit.map(|exit| match exit {
                outcome::Exit::Code(code) => Exit::Code(code),
                outcome::Exit::Signal(signal) => Exit::Signal(signal),
            }),
            error: error.map(|outcome::Failure { kind, message, recoverable }| Failure {
                kind: kind.as_str().to_owned(),
                message,
                recoverable,
            }),
            result,
            output: output.map(|outcome::OutputSummary { bytes, dropped }| OutputSummary { bytes, dropped }),
            usage: usage.map(Into::into),
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Failure {
    /// `start`, `work`, `panic`, `timeout`, `canceled` or `interrupted`.
    pub kind: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recoverable: bool,
}

/// What it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct OutputSummary {
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

/// One thing that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind of event.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    pub text: String,
    /// How long what it tells of takes: until the next attempt (`restarting`), until it is killed (`killing`), until its
    /// end begins (`shutdown_delay`).
    #[serde(default, with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub delay: Option<std::time::Duration>,
    /// Which attempt it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

impl Event {
    pub(crate) fn new(event: &event::Event) -> Self {
        use event::EventKind as K;
        let (kind, attempt, delay) = match &event.kind {
            K::Restarting { attempt, delay, .. } => ("restarting", Some(*attempt), Some(*delay)),
            K::NotRestarting { .. } => ("not_restarting", None, None),
            K::Stopping { .. } => ("stopping", None, None),
            K::RestartAsked { .. } => ("restart_asked", None, None),
            K::Killed => ("killed", None, None),
            K::KillFailed { .. } => ("kill_failed", None, None),
            K::Interrupted { attempt } => ("interrupted", Some(*attempt), None),
            K::LostAttempt { attempt } => ("lost_attempt", Some(*attempt), None),
            K::Reattached => ("reattached", None, None),
            K::OutputFailed { .. } => ("output_failed", None, None),
            K::Setup { .. } => ("setup", None, None),
            K::SetupFailed { .. } => ("setup_failed", None, None),
            K::BuildingDirectory => ("building_directory", None, None),
            K::DownloadingArtifacts { .. } => ("downloading_artifacts", None, None),
            K::ArtifactFailed { .. } => ("artifact_failed", None, None),
            K::DriverFailed { .. } => ("driver_failed", None, None),
            K::Started { attempt, .. } => ("started", Some(*attempt), None),
            K::Terminated { attempt, .. } => ("terminated", Some(*attempt), None),
            K::OutOfMemory { attempt } => ("out_of_memory", Some(*attempt), None),
            K::Killing { grace, .. } => ("killing", None, Some(*grace)),
            K::Signaling { .. } => ("signaling", None, None),
            K::HookFailed { .. } => ("hook_failed", None, None),
            K::ShutdownDelay { delay } => ("shutdown_delay", None, Some(*delay)),
            K::ShutdownDelaySkipped { .. } => ("shutdown_delay_skipped", None, None),
            K::RestoreFailed { .. } => ("restore_failed", None, None),
            K::Updated { .. } => ("updated", None, None),
            K::UpdateDeferred { .. } => ("update_deferred", None, None),
            K::LimitsApplied { .. } => ("limits_applied", None, None),
            K::TaskPaused { .. } => ("task_paused", None, None),
            K::Message { .. } => ("message", None, None),
        };
        Self { at: event.at, kind: kind.to_owned(), text: event.kind.text(), delay, attempt }
    }
}
