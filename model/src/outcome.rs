//! How an attempt ended, as data. Work that fails is no error of ours.

use crate::usage::Usage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of the end of a run's last attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How the process went, if the work was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// What went wrong, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// What the work gave back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What it wrote, if it wrote anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSummary>,
    /// What it took of the machine, where that is known: of processes that have a shim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl Outcome {
    /// Largest result in bytes of JSON; the rest of the 64 KiB of a record is the run's own.
    pub const MAX_RESULT: usize = 32 << 10;

    /// An end without anything to tell.
    #[must_use]
    pub fn success() -> Self {
        Self::default()
    }

    /// An end that somebody has to hear of.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self { error: Some(failure), ..Self::default() }
    }

    /// Whether nothing went wrong.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.error.is_none() && matches!(self.exit, None | Some(Exit::Code(0)))
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
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

/// What went wrong with an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where it went wrong.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
    /// Whether another attempt could go better. What is not known to be is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recoverable: bool,
}

impl Failure {
    /// Longest message in bytes; longer ones are cut at the end.
    pub const MAX_MESSAGE: usize = 4096;

    /// A failure of this kind, its message cut to [`Self::MAX_MESSAGE`].
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let message = Self::cut(message.into(), Self::MAX_MESSAGE);
        Self { kind, message, recoverable: false }
    }

    /// A text of at most so many bytes: a longer one loses its end, at a character, for a `…`.
    #[must_use]
    pub fn cut(mut text: String, most: usize) -> String {
        if text.len() > most {
            let mut end = most.saturating_sub('…'.len_utf8());
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push('…');
        }
        text
    }

    /// The same, worth another attempt.
    #[must_use]
    pub fn recoverable(mut self) -> Self {
        self.recoverable = true;
        self
    }
}

/// Where an attempt went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It could not be started.
    Start,
    /// It ended badly by its own account: an exit code, a signal, an error given back.
    Work,
    /// It panicked.
    Panic,
    /// It took too long.
    Timeout,
    /// It was stopped on request.
    Canceled,
    /// Our own stop cut it short.
    Interrupted,
}

impl FailureKind {
    /// The name as it is written in metrics and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Work => "work",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a run wrote; the bytes are in its output file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputSummary {
    /// Bytes kept.
    pub bytes: u64,
    /// Bytes over the cap, which are gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exit_code_zero_without_an_error_is_success() {
        assert!(Outcome::success().is_success());
        assert!(Outcome { exit: Some(Exit::Code(0)), ..Outcome::default() }.is_success());
        for exit in [Exit::Code(1), Exit::Code(-1), Exit::Signal(15)] {
            assert!(!Outcome { exit: Some(exit), ..Outcome::default() }.is_success());
        }
        assert!(!Outcome::failed(Failure::new(FailureKind::Work, "no")).is_success());
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let failure = Failure::new(FailureKind::Work, "é".repeat(5000));
        assert!(failure.message.len() <= Failure::MAX_MESSAGE);
        assert!(failure.message.ends_with('…'));
    }
}
