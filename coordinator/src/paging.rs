//! How much one page of a listing may hold (InfluxDB's bounds).

use crate::error::Error;

/// Items of a page when the caller names no number.
pub const DEFAULT_PAGE: usize = 100;
/// Most items of a page: what one answer can hold without growing beyond a few megabytes.
pub const MAX_PAGE: usize = 500;

/// The number of items for what was asked; 0 means the default.
pub(crate) fn limit(what: &'static str, asked: usize) -> Result<usize, Error> {
    match asked {
        0 => Ok(DEFAULT_PAGE),
        1..=MAX_PAGE => Ok(asked),
        _ => Err(Error::LimitOutOfBounds { what, max: MAX_PAGE }),
    }
}
