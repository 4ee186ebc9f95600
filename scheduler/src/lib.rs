//! Decides *when*: which dues a task has, and when each of them starts.
//!
//! Floor 2 of the house. Touches schedules, the clock and its own timer; knows no store, no run
//! states and no processes.
pub mod catch_up;
pub mod schedule;
mod service;
pub mod timetable;

pub use service::{Due, Error, Fault, MAX_PREVIEW, Scheduled, Scheduler, Statistics};
