//! The drivers that come with the engine: one module a kind of work.

pub mod handler;
#[cfg(feature = "http")]
pub mod http;
pub mod process;
#[cfg(test)]
mod third_attempt;
mod trace;
