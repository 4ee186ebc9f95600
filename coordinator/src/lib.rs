//! Owns tasks and runs: feeds due, manual, retried and resumed runs to the executor.
//!
//! Floor 3 of the house. Every task and every run is created, changed and ended through here: the store first,
//! then the scheduler or the executor. Knows no cron maths, no pipes, no keys and no HTTP.

mod births;
mod coordinator;
mod definition;
mod deletion;
mod dues;
mod engine;
mod error;
mod janitor;
mod known_tasks;
mod output;
mod paging;
mod recovery;
mod runs;
mod tasks;

pub use coordinator::Coordinator;
pub use definition::{SHOWN_DUES, ScheduleReport, check};
pub use dues::MAX_BATCH;
pub use engine::{Parts, Unschedulable};
pub use error::Error;
pub use output::{NoOutput, OutputRemover};
pub use paging::{DEFAULT_PAGE, MAX_PAGE};
pub use recovery::{Resumed, StartReport};
pub use runs::{Accepted, BulkRetry, MAX_BULK_RETRY, MAX_COUNTED, RunCounts, RunQuery, RunRequest};
pub use tasks::{
    Change, Face, FileConflict, FileReport, FileSet, NewTask, Resumption, TaskQuery, Tasks, WriteOutcome,
    Written,
};
