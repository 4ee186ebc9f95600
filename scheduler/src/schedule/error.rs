//! Why a schedule, a zone or a spread was refused. Every message says where, what was expected, and
//! where possible what to write instead; callers show it to the user unchanged.

use super::cron::CronError;
use std::fmt;

/// Longest piece of user text that an error repeats: enough to recognise it, too short to flood a log.
const MAX_QUOTED: usize = 80;

/// A schedule, or what belongs to it, that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The cron text is wrong, or no date can ever match it.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// The zone is not in the time zone database.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// A duration outside its limits: an interval, an offset, a jitter or a splay.
    #[error("invalid {field}: {reason}")]
    Span {
        /// Which setting: `every`, `offset`, `jitter` or `splay`.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// More schedules than a task may have.
    #[error("{count} schedules, but a task has at most {max}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The schedule is well-formed but has no due after the moment asked about.
    #[error("schedule {schedule:?} will never be due again: {reason}")]
    Exhausted {
        /// The schedule as text.
        schedule: String,
        /// Why nothing is left.
        reason: String,
    },
}

/// A zone name that is not in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneError {
    /// The name, cut to a printable length.
    pub name: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown time zone {:?}: expected an IANA name such as Europe/Berlin", self.name)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for ZoneError {}

/// The start of a user's text, for an error message.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
