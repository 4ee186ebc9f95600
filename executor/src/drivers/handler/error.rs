//! What a handler gives back when it has not done its work.

use punctual_model::{Failure, FailureKind};
use std::fmt;

/// Why a handler has not done its work, and whether another attempt could.
///
/// Every standard error becomes one with `?`, as one that is worth another attempt (how often is the task's
/// restart policy; by default never). It is no standard error itself, so that this can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    kind: FailureKind,
    message: String,
    recoverable: bool,
}

impl TaskError {
    /// Another attempt may go better.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self { kind: FailureKind::Work, message: reason.to_string(), recoverable: true }
    }

    /// Another attempt would be no better.
    pub fn fail(reason: impl fmt::Display) -> Self {
        Self { kind: FailureKind::Work, message: reason.to_string(), recoverable: false }
    }

    /// The handler has stopped because it was asked to; by its own decision, the run ends as canceled too.
    #[must_use]
    pub fn canceled() -> Self {
        Self { kind: FailureKind::Canceled, message: "canceled".to_owned(), recoverable: false }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            // Many errors print their source themselves.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = inner.source();
        }
        Self::retry(message)
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        let failure = Self::new(error.kind, error.message);
        if error.recoverable { failure.recoverable() } else { failure }
    }
}
