//! The embedded store: one directory, one process, one writer thread over the database fjall.

mod definitions;
mod directory;
mod inbox;
mod journals;
mod key;
mod keyspaces;
mod open;
mod open_error;
mod options;
mod seal;
mod space;
mod tables;

#[cfg(test)]
mod open_tests;

pub use open_error::OpenError;
pub use options::{FreeSpace, Options};
