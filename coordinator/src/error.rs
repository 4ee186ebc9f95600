//! What can go wrong with owning tasks and runs, by what the caller can do about it.

use jiff::Timestamp;
use punctual_executor as executor;
use punctual_model::{Error as Edge, ErrorCode, RunId, TaskId};
use punctual_store as store;

/// A request to the coordinator failed. Work that fails is not among it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such task, or it is not one of the caller's type.
    #[error("task not found")]
    TaskNotFound,
    /// There is no such run, or its task is not one of the caller's type.
    #[error("run not found")]
    RunNotFound,
    /// What was given cannot be accepted; the message says all that is wrong. Give something else.
    #[error(transparent)]
    Invalid(Edge),
    /// More was asked for in one page than there may be.
    #[error("{what} limit is out of bounds, must be between 1 and {max}")]
    LimitOutOfBounds {
        /// What was to be listed.
        what: &'static str,
        /// The most.
        max: usize,
    },
    /// The task has changed since it was read. Read it again.
    #[error("task {task} is at revision {current}, not {expected}")]
    Changed {
        /// The task.
        task: TaskId,
        /// The revision that the caller had seen.
        expected: u64,
        /// The one it has now.
        current: u64,
    },
    /// Somebody else changed the task each time. Try again.
    #[error("task {0} is being changed by others, try again")]
    Contended(TaskId),
    /// The name is in use. Take another one.
    #[error("a task named {name:?} exists already: {task}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        task: TaskId,
    },
    /// The task belongs to a file. Change it there.
    #[error("task {name:?} belongs to the file {path}, change it there")]
    OwnedByFile {
        /// The task.
        name: String,
        /// Its file.
        path: String,
    },
    /// The idempotency key stands for another request to this task. Ask for the same again, or take a new key.
    #[error(
        "this idempotency key was given with another {field} before, for run {run}; ask for the same or take a new key"
    )]
    KeyReused {
        /// The run that the key stands for.
        run: RunId,
        /// The first field in which the requests differ.
        field: &'static str,
    },
    /// Only what has ended can be done again. Wait, or cancel it.
    #[error("run {0} has not yet finished")]
    NotFinished(RunId),
    /// Nothing of the run is at work that this could be done to. Wait until it is.
    #[error("run {run} is {state}: nothing of it is at work")]
    NotAtWork {
        /// The run.
        run: RunId,
        /// Where it is, in words.
        state: String,
    },
    /// The work cannot be given that signal.
    #[error("run {run} was not signalled: {why}")]
    NotSignaled {
        /// The run.
        run: RunId,
        /// Why, in the driver's words.
        why: String,
    },
    /// The run is being repeated already. Wait for that.
    #[error("previous retry {retry} for scheduled time {scheduled_for} has not yet finished")]
    RetryUnfinished {
        /// The retry that is under way.
        retry: RunId,
        /// The logical time of both.
        scheduled_for: Timestamp,
    },
    /// The run is of a kind that this cannot be done to.
    #[error("run {run} {why}")]
    NotRepeatable {
        /// The run.
        run: RunId,
        /// What it is, and what can be done instead.
        why: &'static str,
    },
    /// The task takes other parameters by now than those of the run that is to be repeated. Ask for a run with others,
    /// for the same logical time.
    #[error(
        "run {run} cannot be repeated, its task takes other parameters now: {why}; run the task with others, for the \
         same logical time"
    )]
    OtherParameters {
        /// The run.
        run: RunId,
        /// What is wrong with its parameters.
        why: String,
    },
    /// The node is stopping. Ask again when it is back: what was accepted is kept.
    #[error("the node is stopping")]
    Stopped,
    /// The store refused or failed; [`store::Error`] says what can be done.
    #[error(transparent)]
    Store(store::Error),
}

impl Error {
    /// Whether nothing can be written any more in this process: the engine has to end.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Store(store::Error::Failed { .. } | store::Error::Fenced { .. }))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<executor::Error> for Error {
    fn from(error: executor::Error) -> Self {
        match error {
            executor::Error::Store(error) => Self::Store(error),
            executor::Error::Forgotten(_) => Self::RunNotFound,
            executor::Error::Stopped => Self::Stopped,
        }
    }
}

impl From<Error> for Edge {
    fn from(error: Error) -> Self {
        use store::Error as S;
        let code = match &error {
            Error::Invalid(edge) => return edge.clone(),
            Error::TaskNotFound | Error::RunNotFound => ErrorCode::NotFound,
            Error::LimitOutOfBounds { .. } | Error::NotSignaled { .. } => ErrorCode::UnprocessableEntity,
            Error::Changed { .. }
            | Error::Contended(_)
            | Error::NameTaken { .. }
            | Error::KeyReused { .. }
            | Error::NotFinished(_)
            | Error::NotAtWork { .. }
            | Error::RetryUnfinished { .. }
            | Error::NotRepeatable { .. }
            | Error::OtherParameters { .. } => ErrorCode::Conflict,
            Error::OwnedByFile { .. } => ErrorCode::Forbidden,
            Error::Store(S::TooLarge { .. }) => ErrorCode::RequestTooLarge,
            Error::Stopped | Error::Store(S::Full { .. } | S::Fenced { .. }) => ErrorCode::Unavailable,
            // Their texts name files and keys of ours: for the log only.
            Error::Store(S::Failed { .. } | S::Unreadable { .. }) => return Self::untyped(error),
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_leaves_the_house_with_a_code_and_keeps_our_secrets() {
        let flat = |error: Error| Edge::from(error).flatten();
        assert_eq!(flat(Error::TaskNotFound).code, ErrorCode::NotFound);
        assert_eq!(flat(Error::TaskNotFound).message, "task not found");
        assert_eq!(flat(Error::RunNotFound).message, "run not found");
        let file = Error::OwnedByFile { name: "a".to_owned(), path: "/etc/tasks.toml".to_owned() };
        assert_eq!(flat(file).message, "task \"a\" belongs to the file /etc/tasks.toml, change it there");
        let limit = Error::LimitOutOfBounds { what: "run", max: 500 };
        assert_eq!(flat(limit).code, ErrorCode::UnprocessableEntity);
        let full = Error::Store(store::Error::Full { free: 1, needed: 2 });
        assert_eq!(flat(full).code, ErrorCode::Unavailable);
        let failed = Error::Store(store::Error::Failed { reason: "/var/secret".to_owned() });
        assert!(failed.is_fatal());
        let flat = flat(failed);
        assert_eq!(flat.code, ErrorCode::Internal);
        assert!(!flat.message.contains("secret"), "{}", flat.message);
    }
}
