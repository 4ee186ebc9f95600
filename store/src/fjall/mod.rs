//! The embedded store: one directory, one process, one writer thread over the database fjall.

mod definitions;
mod directory;
mod embedded;
mod inbox;
mod journals;
mod key;
mod keyspaces;
mod open;
mod open_error;
mod options;
mod seal;
mod shared;
mod space;
mod tables;
mod writer;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod writer_tests;

pub use embedded::FjallStore;
pub use open_error::OpenError;
pub use options::{FreeSpace, Options};
