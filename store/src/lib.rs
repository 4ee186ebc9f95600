//! Remembers: tasks, runs, their order in the queue, and nothing else.
//!
//! Floor 1 of the house. Judges conditions and keeps the queue; never decides *why* a state changes, knows no
//! restart rules and no processes.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
pub mod faulty;
pub mod fjall;
mod hints;
mod history;
pub mod ledger;
mod memory;
mod queue;
mod record;
mod store;
mod tally;

pub use error::Error;
pub use hints::Hints;
pub use memory::MemoryStore;
pub use store::*;
pub use tally::{Histogram, MAX_TYPES, OTHER, Tallies, TypeTally};
