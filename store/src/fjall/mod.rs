//! The embedded store: one directory, one process, one writer thread over the database fjall, one that syncs, and one that
//! frees what was flushed.
//!
//! Decides what is safe to open ([`OpenError`]), groups writes into synced commits, and turns records and keys
//! into bytes. Never decides what a write means (the ledger does) nor which run is next (the queue). fjall is
//! used as a log with indexes: nothing is ever searched from the head of a keyspace that is eaten from there.

mod blank;
mod definitions;
mod directory;
mod embedded;
mod in_order;
mod inbox;
mod journal_sync;
mod journals;
mod key;
mod keyspaces;
mod memtables;
mod open;
mod open_error;
mod options;
mod remains;
mod repair;
mod seal;
mod shared;
mod space;
mod syncer;
mod tables;
mod writer;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod timing_tests;
#[cfg(test)]
mod writer_tests;

pub use embedded::FjallStore;
pub use open_error::OpenError;
pub use options::{FreeSpace, Options};
pub use repair::{RepairError, Repaired, Survey, repair, survey};
