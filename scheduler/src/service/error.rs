//! Why a task could not be scheduled.

use crate::schedule::{ScheduleError, ZoneError};

/// What to do about it: change the task, except for [`Error::Full`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A schedule or the spread is not valid.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The zone is not known here.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// The schedule is valid, yet its evaluation panicked: a bug of ours that must not stop other tasks.
    #[error("{reason}")]
    Evaluation {
        /// The panic's message.
        reason: String,
    },
    /// More tasks than one node can hold.
    #[error("the timetable is full")]
    Full,
}
