//! A run: one execution of a task for one logical time, through all its attempts.

use crate::event::EventLog;
use crate::id::{RunId, TaskId};
use crate::outcome::Outcome;
use crate::restart::RestartCount;
use crate::state::{IllegalTransition, Life, RunEvent, RunState};
use crate::trace::TraceParent;
use crate::usage::Usage;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::state::RunStateName;

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The same through all attempts.
    pub id: RunId,
    /// Whose run it is.
    pub task: TaskId,
    /// The revision of the task that the last attempt used; before the first, the one at acceptance.
    pub revision: u64,
    /// Why it exists.
    pub trigger: Trigger,
    /// Its logical time, which the work is told; a late run still computes the right window.
    pub scheduled_for: Timestamp,
    /// When it was or is to start at the earliest: the due time with offset, jitter and splay, or the time it
    /// was parked for.
    pub run_at: Timestamp,
    /// When the promise was given.
    pub accepted_at: Timestamp,
    /// State, attempt and epoch.
    pub life: Life,
    /// When the last attempt was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Whether it passes the overlap policy by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Parameters of this run, laid over the task's arguments.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// The caller's key that makes asking twice harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The trace of whoever asked for it, if it said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
    /// What the restart tracker remembers.
    #[serde(default)]
    pub restarts: RestartCount,
    /// The end of the last attempt that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The newest look at what its work takes while it lives, if its task wants one now and then. Soft: never written
    /// for its own sake, and gone with the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What its work stored for a later attempt or a resume.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub saved: Value,
    /// What the executor has to find again after a restart of the node: the state of hooks, a driver's own data.
    /// Opaque to everybody else and no part of the public record. It goes with an end that an attempt made, whose hooks
    /// were told of it by then; after any other it stays for those who still have to tell them. One that is missing or
    /// cannot be read is null.
    #[serde(skip)]
    pub local: Value,
    /// What happened to it that its other fields do not tell.
    #[serde(default, skip_serializing_if = "EventLog::is_empty")]
    pub events: EventLog,
}

impl Run {
    /// Longest idempotency key in bytes.
    pub const MAX_KEY: usize = 255;
    /// Largest parameters and largest saved state in bytes of JSON (Nomad's bound for a dispatch payload).
    pub const MAX_PARAMS: usize = 16 << 10;
    /// Largest local state in bytes of JSON: half of what parameters and saved state leave of a record of 64 KiB.
    pub const MAX_LOCAL: usize = 16 << 10;

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.life.state
    }

    /// When the run may be queued: its own time, or that of its next attempt.
    #[must_use]
    pub fn ready_at(&self) -> Timestamp {
        match self.life.state {
            RunState::Scheduled { at } => at,
            _ => self.run_at,
        }
    }

    /// Applies an event to the state and keeps the times beside it true.
    ///
    /// # Errors
    /// [`IllegalTransition`] if that cannot happen now; nothing has changed then.
    pub fn apply(&mut self, event: RunEvent, at: Timestamp) -> Result<(), IllegalTransition> {
        let life = self.life.apply(event)?;
        if !life.state.is_at_work() || life.attempt != self.life.attempt {
            self.usage = None;
        }
        match life.state {
            RunState::Starting if life.attempt != self.life.attempt => self.started_at = Some(at),
            state if state.is_terminal() => {
                self.finished_at = Some(at);
                if !self.life.ends_untold(event) {
                    self.local = Value::Null;
                }
            }
            _ => {}
        }
        self.life = life;
        Ok(())
    }
}

/// Why a run exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Its time had come.
    Schedule,
    /// Its time had passed unseen, and the task wants it all the same.
    CatchUp,
    /// Somebody asked for it.
    Manual,
    /// A run of the past, once more for the same logical time.
    Retry {
        /// The run it repeats.
        of: RunId,
    },
    /// A lost run goes on, with the state it had saved.
    Resume {
        /// The run it goes on with.
        of: RunId,
    },
    /// A run of its task has failed, timed out or was lost, and somebody is to be told ([`crate::follow_up`]).
    OnFailure {
        /// The run that did.
        of: RunId,
    },
    /// A run of its task has succeeded after one that had not, and somebody is to be told.
    OnRecovered {
        /// The run that did.
        of: RunId,
    },
}

impl Trigger {
    /// The name as it is written in metrics and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch_up",
            Self::Manual => "manual",
            Self::Retry { .. } => "retry",
            Self::Resume { .. } => "resume",
            Self::OnFailure { .. } => "on_failure",
            Self::OnRecovered { .. } => "on_recovered",
        }
    }

    /// Whether it came from the task's own schedule.
    #[must_use]
    pub fn is_due(self) -> bool {
        matches!(self, Self::Schedule | Self::CatchUp)
    }
}
