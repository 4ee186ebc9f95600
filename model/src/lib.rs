//! The words and the rules of Punctual: what a task is, what a run is, how a run's life may go on.
//!
//! Floor 0 of the house. Everything here is data and pure functions over values given to it: no I/O,
//! no clock reads, no randomness, no async, no logging.

mod build;
pub mod duration;
pub mod error;
pub mod event;
pub mod follow_up;
pub mod form;
pub mod hook;
mod id;
pub mod number;
pub mod outcome;
pub mod overlap;
pub mod parameters;
pub mod process;
pub mod restart;
pub mod run;
pub mod schedule;
pub mod state;
pub mod task;
pub mod template;
mod timing;
pub mod trace;
pub mod usage;
pub mod validate;
pub mod work;

pub use error::{Error, ErrorCode};
pub use id::{ParseIdError, RunId, TaskId};
pub use outcome::{Exit, Failure, FailureKind, Outcome};
pub use overlap::Overlap;
pub use parameters::Parameters;
pub use run::{Run, Trigger};
pub use schedule::{CatchUp, CatchUpPolicy, Schedule};
pub use state::{CancelWhy, Life, LostWhy, RunEvent, RunState, RunStateName, StopWhy};
pub use task::{Owner, Task, TaskProgress, TaskSpec, TaskStatus, TaskType};
pub use timing::Timing;
pub use trace::TraceParent;
pub use usage::Usage;
pub use work::Work;
