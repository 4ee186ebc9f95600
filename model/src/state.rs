//! The life of a run: its states, what can happen to it, and the one function by which it changes.

mod name;

pub use name::RunStateName;

use crate::id::RunId;
use crate::overlap::SkipWhy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for a time: parked for later, or for its next attempt.
    Scheduled {
        /// When it may be queued.
        at: Timestamp,
    },
    /// Waits for a place: a worker and every limit it is subject to.
    Queued,
    /// Claimed for an attempt, durably, before anything of it starts.
    Starting,
    /// The attempt is known to have started. Soft: never written for its own sake.
    Running,
    /// The intent to stop it is durable; the attempt may still live.
    Stopping {
        /// How the run ends, whatever the work's own end is.
        why: StopWhy,
        /// Since when.
        since: Timestamp,
    },
    /// The work succeeded.
    Succeeded,
    /// The work failed.
    Failed,
    /// The last attempt took longer than it may.
    TimedOut,
    /// Somebody did not want it any more.
    Canceled {
        /// Who or what.
        why: CancelWhy,
    },
    /// Nobody saw how the last attempt ended.
    Lost {
        /// How it went out of sight.
        why: LostWhy,
    },
    /// A due time that did not become a run.
    Skipped {
        /// The reason.
        why: SkipWhy,
    },
    /// Due times that passed without anybody looking, in one record.
    Missed(Missed),
}

/// The due times that one [`RunState::Missed`] record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The oldest of them.
    pub from: Timestamp,
    /// The newest of them.
    pub to: Timestamp,
    /// How many they are.
    pub count: u64,
    /// Whether there are more than counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// Why they were not caught up.
    pub why: MissedWhy,
}

/// Why missed dues were not caught up: the rule that decided about the newest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedWhy {
    /// The task's policy is to skip them.
    PolicySkip,
    /// The task's policy is to run only the latest.
    PolicyLatest,
    /// More than the task's limit.
    OverLimit,
    /// Older than the task's window.
    OutsideWindow,
}

/// Why a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopWhy {
    /// Somebody asked for it.
    Cancel,
    /// The attempt took too long.
    Timeout,
    /// A newer run takes its place.
    Replaced,
    /// Its task was deleted.
    Deleted,
    /// Somebody wants its work begun again: not the run is to end, but this attempt.
    Restart,
}

/// What canceled a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelWhy {
    /// Somebody asked for it.
    Asked,
    /// A newer run took its place.
    Replaced,
    /// Its task was deleted.
    Deleted,
}

/// How an attempt went out of sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostWhy {
    /// The node died while the attempt was at work.
    NodeDied,
    /// The node stopped and cut it short.
    Interrupted,
    /// It vanished while the node lived.
    Vanished,
}

/// A run's state with the two numbers that only rise: they fence off whoever still acts on an older attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Where it is.
    pub state: RunState,
    /// Number of the last attempt that was started; 0 before the first.
    pub attempt: u32,
    /// Session under which the last attempt is at work.
    pub epoch: u64,
}

/// What happened to a run. Time and every other number arrive inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// Its time has come.
    Due {
        /// The time it is now.
        now: Timestamp,
    },
    /// A worker took it, under this session.
    Claimed {
        /// The session's epoch.
        epoch: u64,
    },
    /// The attempt has started.
    Started,
    /// It shall stop.
    StopAsked {
        /// Why.
        why: StopWhy,
        /// When that was asked.
        at: Timestamp,
    },
    /// The attempt ended well.
    Succeeded,
    /// The attempt ended badly and there will be no other.
    Failed,
    /// The attempt was stopped for taking too long and there will be no other.
    TimedOut,
    /// The attempt ended and another one follows.
    Restarting {
        /// Not before this.
        at: Timestamp,
    },
    /// It is over because nobody wants it; nothing of it lives.
    Canceled {
        /// Who or what.
        why: CancelWhy,
    },
    /// Our own stop cut the attempt short and the work may be repeated; the attempt does not count.
    Interrupted,
    /// The attempt is gone and nobody saw its end.
    Lost {
        /// How it went out of sight.
        why: LostWhy,
    },
    /// Something about the attempt was written down; where it is in its life stays as it is.
    Noted,
    /// A later session found the attempt alive and goes on watching it.
    Adopted {
        /// The later session's epoch.
        epoch: u64,
    },
}

/// An event that cannot happen in that state. A bug of ours, or a fact that came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {} (attempt {}, epoch {}) cannot take {:?}", .life.state.name(), .life.attempt, .life.epoch, .event)]
pub struct IllegalTransition {
    /// Where the run is.
    pub life: Life,
    /// What was to happen to it.
    pub event: RunEvent,
}

impl Life {
    /// The life of a run that was just accepted.
    #[must_use]
    pub fn born(state: RunState) -> Self {
        Self { state, attempt: 0, epoch: 0 }
    }

    /// The only way a run changes.
    ///
    /// # Errors
    /// [`IllegalTransition`] if that cannot happen to a run in this state; nothing has changed then.
    pub fn apply(self, event: RunEvent) -> Result<Self, IllegalTransition> {
        use {RunEvent as E, RunState as S};
        let illegal = Err(IllegalTransition { life: self, event });
        let to = |state| Ok(Self { state, ..self });
        match (self.state, event) {
            // Terminal records never change.
            (
                S::Succeeded
                | S::Failed
                | S::TimedOut
                | S::Canceled { .. }
                | S::Lost { .. }
                | S::Skipped { .. }
                | S::Missed(_),
                _,
            ) => illegal,

            (S::Scheduled { at }, E::Due { now }) if at <= now => to(S::Queued),
            (S::Scheduled { .. } | S::Queued, E::Canceled { why }) => to(S::Canceled { why }),
            (S::Queued, E::Claimed { epoch }) if epoch >= self.epoch => match self.attempt.checked_add(1) {
                Some(attempt) => Ok(Self { state: S::Starting, attempt, epoch }),
                None => illegal,
            },
            (S::Scheduled { .. } | S::Queued, _) => illegal,

            (S::Starting, E::Started) => to(S::Running),
            (S::Starting | S::Running, E::StopAsked { why, at }) => to(S::Stopping { why, since: at }),
            (S::Starting | S::Running, E::Succeeded) => to(S::Succeeded),
            (S::Starting | S::Running, E::Failed) => to(S::Failed),
            (S::Starting | S::Running, E::TimedOut) => to(S::TimedOut),
            (S::Starting | S::Running, E::Restarting { at }) => to(S::Scheduled { at }),
            (S::Starting | S::Running, E::Canceled { why }) => to(S::Canceled { why }),
            (S::Starting | S::Running, E::Interrupted) => to(S::Queued),
            (S::Starting | S::Running, E::Lost { why }) => to(S::Lost { why }),

            // These may be followed by another attempt, until somebody asks for an end.
            (S::Stopping { why: StopWhy::Timeout | StopWhy::Restart, .. }, E::Restarting { at }) => {
                to(S::Scheduled { at })
            }
            (S::Stopping { why: StopWhy::Timeout | StopWhy::Restart, since }, E::StopAsked { why, .. })
                if !matches!(why, StopWhy::Timeout | StopWhy::Restart) =>
            {
                to(S::Stopping { why, since })
            }
            // Whatever the end of the work is, the run ends as what it was stopped for, or goes on if that was it.
            (
                S::Stopping { why, since },
                E::Succeeded
                | E::Failed
                | E::TimedOut
                | E::Restarting { .. }
                | E::Canceled { .. }
                | E::Interrupted
                | E::Lost { .. },
            ) => to(why.end(since)),

            (S::Starting | S::Running | S::Stopping { .. }, E::Adopted { epoch }) if epoch > self.epoch => {
                Ok(Self { epoch, ..self })
            }
            (S::Starting | S::Running | S::Stopping { .. }, E::Noted) => to(self.state),
            (S::Starting | S::Running | S::Stopping { .. }, _) => illegal,
        }
    }
}

impl Life {
    /// Whether a run that ends by this has hooks that were not told: whoever lives an attempt tells them of the end
    /// that it makes before that is written, and nobody does of any other.
    #[must_use]
    pub fn ends_untold(self, event: RunEvent) -> bool {
        let was_to_go_on = matches!(event, RunEvent::Restarting { .. } | RunEvent::Interrupted);
        self.attempt > 0 && (self.state.is_waiting() || (self.state.is_at_work() && was_to_go_on))
    }
}

impl StopWhy {
    /// How a run ends that was stopped for this, or goes on: with another attempt as soon as this was asked for.
    #[must_use]
    pub fn end(self, since: Timestamp) -> RunState {
        match self {
            Self::Restart => RunState::Scheduled { at: since },
            Self::Cancel => RunState::Canceled { why: CancelWhy::Asked },
            Self::Timeout => RunState::TimedOut,
            Self::Replaced => RunState::Canceled { why: CancelWhy::Replaced },
            Self::Deleted => RunState::Canceled { why: CancelWhy::Deleted },
        }
    }
}

impl From<CancelWhy> for StopWhy {
    fn from(why: CancelWhy) -> Self {
        match why {
            CancelWhy::Asked => Self::Cancel,
            CancelWhy::Replaced => Self::Replaced,
            CancelWhy::Deleted => Self::Deleted,
        }
    }
}

impl RunState {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> RunStateName {
        match self {
            Self::Scheduled { .. } => RunStateName::Scheduled,
            Self::Queued => RunStateName::Queued,
            Self::Starting => RunStateName::Starting,
            Self::Running => RunStateName::Running,
            Self::Stopping { .. } => RunStateName::Stopping,
            Self::Succeeded => RunStateName::Succeeded,
            Self::Failed => RunStateName::Failed,
            Self::TimedOut => RunStateName::TimedOut,
            Self::Canceled { .. } => RunStateName::Canceled,
            Self::Lost { .. } => RunStateName::Lost,
            Self::Skipped { .. } => RunStateName::Skipped,
            Self::Missed(_) => RunStateName::Missed,
        }
    }

    /// Whether the run has ended; nothing changes it any more.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.name().is_terminal()
    }

    /// Whether it waits in the queue: for a time, a worker or a limit.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Scheduled { .. } | Self::Queued)
    }

    /// Whether an attempt is, or may be, alive.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping { .. })
    }

    /// Whether the end counts as a failure of the task. Canceled is neither success nor failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Lost { .. })
    }

    /// Why a due did not run, in words; none for runs that are or were real.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Skipped { why: SkipWhy::Unfinished(run) } => {
                Some(format!("run {run} of the same task was unfinished"))
            }
            Self::Skipped { why: SkipWhy::QueueFull { waiting } } => {
                Some(format!("{waiting} runs of the same task were waiting already"))
            }
            Self::Missed(Missed { count, at_least, why, .. }) => {
                let count = if *at_least { format!("at least {count}") } else { count.to_string() };
                let why = match why {
                    MissedWhy::PolicySkip => "the catch-up policy is skip",
                    MissedWhy::PolicyLatest => "the catch-up policy runs only the latest",
                    MissedWhy::OverLimit => "more than the catch-up limit",
                    MissedWhy::OutsideWindow => "older than the catch-up window",
                };
                let times = if count == "1" { "due time" } else { "due times" };
                Some(format!("{count} {times} passed unseen: {why}"))
            }
            Self::Canceled { why } => Some(
                match why {
                    CancelWhy::Asked => "canceled on request",
                    CancelWhy::Replaced => "replaced by a newer run",
                    CancelWhy::Deleted => "its task was deleted",
                }
                .to_owned(),
            ),
            Self::Lost { why } => Some(
                match why {
                    LostWhy::NodeDied => "the node died while it was at work; nobody saw its end",
                    LostWhy::Interrupted => "cut short by the stop of the node",
                    LostWhy::Vanished => "it vanished; nobody saw its end",
                }
                .to_owned(),
            ),
            Self::Scheduled { .. }
            | Self::Queued
            | Self::Starting
            | Self::Running
            | Self::Stopping { .. }
            | Self::Succeeded
            | Self::Failed
            | Self::TimedOut => None,
        }
    }
}

/// The run that a skip was for, if it names one.
impl SkipWhy {
    /// The unfinished run that was in the way.
    #[must_use]
    pub fn run(self) -> Option<RunId> {
        match self {
            Self::Unfinished(run) => Some(run),
            Self::QueueFull { .. } => None,
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
