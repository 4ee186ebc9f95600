//! Cron: text to fields, fields to a walk over the civil calendar, civil times to instants of a zone.
//!
//! ```text
//! text ──parse──► Parsed ──► Expression (civil calendar, crate `cron`) ──firing──► instants
//! ```
//!
//! The crate `cron` is only ever given explicit lists with weekday names, and only walks the civil
//! calendar as if it were UTC: evaluated in a zone it runs backwards in autumn, and its weekday
//! numbers and its day rule are not those of unix.

mod calendar;
mod day;
mod error;
mod expression;
mod field;
pub(super) mod firing;
mod parse;

pub use error::CronError;
pub use field::MAX_CRON_ITEMS;
pub use parse::MAX_CRON_BYTES;

pub(super) use day::Special;
pub(super) use expression::Expression;
pub(super) use field::{Field, Kind};
pub(super) use parse::Parsed;
