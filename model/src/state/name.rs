//! The names of the states of a run, as they are written everywhere.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a state, without what it carries: for filters, metrics and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of `RunState`, which says what they mean")]
pub enum RunStateName {
    Scheduled,
    Queued,
    Starting,
    Running,
    Stopping,
    Succeeded,
    Failed,
    TimedOut,
    Canceled,
    Lost,
    Skipped,
    Missed,
}

impl RunStateName {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 12] = [
        Self::Scheduled,
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Canceled,
        Self::Lost,
        Self::Skipped,
        Self::Missed,
    ];

    /// The name as it is written everywhere: logs, JSON, metrics, tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Canceled => "canceled",
            Self::Lost => "lost",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Whether a run in such a state has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Scheduled | Self::Queued | Self::Starting | Self::Running | Self::Stopping => false,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::Canceled
            | Self::Lost
            | Self::Skipped
            | Self::Missed => true,
        }
    }
}

impl fmt::Display for RunStateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
