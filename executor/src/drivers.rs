//! The drivers that come with the engine: one module a kind of work.

pub mod handler;
pub mod process;
