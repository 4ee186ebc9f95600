//! An instant in eight bytes, half of what a `Timestamp` takes.

use super::When;
use jiff::Timestamp;

/// First instant that has a place in the timetable: 1677-09-21.
pub const EARLIEST: Timestamp = Timestamp::constant(i64::MIN / 1_000_000_000, 0);
/// Last one: 2262-04-11. No process of ours will live to see it, and cron ends with 2099.
pub const LATEST: Timestamp = Timestamp::constant(i64::MAX / 1_000_000_000, 0);

/// Nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nanos(i64);

impl Nanos {
    pub(super) const ZERO: Self = Self(0);

    /// Due and `run_at`, if both have a place. A `run_at` before all is as good as the first instant.
    pub(super) fn from_when(when: &When) -> Option<(Self, Self)> {
        Some((Self::new(when.due)?, Self::new(when.run_at.max(EARLIEST))?))
    }

    fn new(at: Timestamp) -> Option<Self> {
        i64::try_from(at.as_nanosecond()).ok().map(Self)
    }
}

impl From<Nanos> for Timestamp {
    fn from(nanos: Nanos) -> Self {
        // Every 64-bit number of nanoseconds lies within the years of a timestamp.
        Self::from_nanosecond(i128::from(nanos.0)).unwrap_or(Self::MAX)
    }
}
