//! What the end of a process says about an attempt.

use super::signal;
use punctual_model::{Exit, Failure, FailureKind, Outcome};

/// The outcome of a process that ended like this.
pub(super) fn outcome(exit: Exit) -> Outcome {
    match exit {
        Exit::Code(0) => Outcome { exit: Some(exit), ..Outcome::default() },
        Exit::Code(code) => failed(Some(exit), format!("exit code {code}")),
        Exit::Signal(number) => failed(Some(exit), format!("ended by {}", signal::describe(number))),
    }
}

/// The outcome of a process of whose end so much is known.
pub(super) fn failed(exit: Option<Exit>, text: String) -> Outcome {
    let error = Some(Failure::new(FailureKind::Work, text).recoverable());
    Outcome { exit, error, ..Outcome::default() }
}
