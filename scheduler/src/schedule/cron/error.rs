//! What is wrong with a cron text.

use super::super::error::quoted;
use std::fmt;

/// A cron text that was refused: where, why, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronError {
    /// The expression, cut to a printable length.
    pub expr: String,
    /// Byte offset of the problem in the text as it was given.
    pub at: usize,
    /// What was found and what was expected.
    pub reason: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl CronError {
    /// The same error about the text that the user wrote.
    pub(in super::super) fn quoting(self, expr: &str) -> Self {
        Self { expr: quoted(expr), ..self }
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid cron expression {:?} at byte {}: {}", self.expr, self.at, self.reason)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for CronError {}

/// A problem before it is known which expression it is in.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

impl Problem {
    pub(super) fn new(at: usize, reason: impl Into<String>) -> Self {
        Self { at, reason: reason.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn of(self, expr: &str) -> CronError {
        CronError { expr: quoted(expr), at: self.at, reason: self.reason, hint: self.hint }
    }
}
