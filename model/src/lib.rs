//! The words and the rules of Punctual: what a task is, what a run is, how a run's life may go on.
//!
//! Floor 0 of the house. Everything here is data and pure functions over values given to it: no I/O,
//! no clock reads, no randomness, no async, no logging.

pub mod duration;
pub mod schedule;
