//! What the end of a process says about an attempt.

use super::signal;
#[cfg(target_os = "linux")]
use crate::driver::Attempt;
use punctual_model::{Exit, Failure, FailureKind, Outcome};

/// The outcome of a process that ended like this.
pub(super) fn outcome(exit: Exit) -> Outcome {
    match exit {
        Exit::Code(0) => Outcome { exit: Some(exit), ..Outcome::default() },
        Exit::Code(code) => failed(Some(exit), format!("exit code {code}")),
        Exit::Signal(number) => failed(Some(exit), format!("ended by {}", signal::describe(number))),
    }
}

/// Makes a failure of an end at which the kernel had killed so many of its processes for want of memory, also where
/// those that were left made nothing of it: what they did is not the whole work.
#[cfg(target_os = "linux")]
pub(super) fn killed_for_memory(outcome: &mut Outcome, killed: u64, attempt: &Attempt) {
    if killed == 0 {
        return;
    }
    let limit = attempt.task.spec.work.context().and_then(|context| context.resources.memory);
    let limit = limit.map(|bytes| format!(" of {}", super::cgroup::size(bytes))).unwrap_or_default();
    let end = match (&outcome.error, outcome.exit) {
        (Some(failure), _) => failure.message.clone(),
        (None, Some(exit)) => exit.to_string(),
        (None, None) => "its end was not seen".to_owned(),
    };
    let text =
        format!("out of memory: at its limit{limit} the kernel killed {killed} of its processes; {end}");
    outcome.error = Some(Failure::new(FailureKind::Work, text).recoverable());
}

/// The outcome of a process of whose end so much is known.
pub(super) fn failed(exit: Option<Exit>, text: String) -> Outcome {
    let error = Some(Failure::new(FailureKind::Work, text).recoverable());
    Outcome { exit, error, ..Outcome::default() }
}
