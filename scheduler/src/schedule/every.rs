//! A fixed interval in real time: multiples counted from an anchor, in both directions.

use super::error::ScheduleError;
use jiff::Timestamp;
use punctual_model::duration;
use punctual_model::schedule::{Every, MAX_SPAN, MIN_EVERY};
use std::time::Duration;

/// 0001-01-01T00:00Z, a Monday at midnight: `1h` falls on the hour and `1w` on Monday, as InfluxDB
/// aligns them.
const DEFAULT_ANCHOR: i64 = -62_135_596_800;

/// A checked interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    seconds: i64,
    anchor: Timestamp,
}

impl Interval {
    pub(super) fn new(every: &Every) -> Result<Self, ScheduleError> {
        let fail = |reason| Err(ScheduleError::Span { field: "every", reason });
        let shown = duration::format(every.interval);
        if every.interval.subsec_nanos() != 0 {
            return fail(format!("{shown} is not a whole number of seconds"));
        }
        if every.interval < MIN_EVERY {
            return fail(format!("{shown} is shorter than {}", duration::format(MIN_EVERY)));
        }
        if every.interval > MAX_SPAN {
            return fail(format!("{shown} is longer than {}", duration::format(MAX_SPAN)));
        }
        let anchor = match every.anchor {
            Some(anchor) => anchor,
            None => Timestamp::from_second(DEFAULT_ANCHOR).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        Ok(Self { seconds: every.interval.as_secs() as i64, anchor })
    }

    /// First multiple strictly after `after`.
    pub(super) fn next(self, after: Timestamp) -> Option<Timestamp> {
        let (after_second, after_nano) = whole(after);
        let (anchor_second, anchor_nano) = whole(self.anchor);
        // Instants fit into 40 bits of seconds, so none of these sums can overflow.
        let elapsed = after_second - anchor_second - i64::from(after_nano < anchor_nano);
        let next = anchor_second + (elapsed.div_euclid(self.seconds) + 1) * self.seconds;
        Timestamp::new(next, anchor_nano).ok()
    }

    pub(super) fn duration(self) -> Duration {
        Duration::from_secs(self.seconds.unsigned_abs())
    }

    pub(super) fn anchor(self) -> Timestamp {
        self.anchor
    }

    /// The canonical form, for sharing.
    pub(super) fn key(self) -> String {
        format!("{}@{}", self.seconds, self.anchor.as_nanosecond())
    }
}

/// Whole seconds, rounded down, and the nanoseconds beyond.
pub(super) fn whole(at: Timestamp) -> (i64, i32) {
    match at.subsec_nanosecond() {
        nano if nano < 0 => (at.as_second() - 1, nano + 1_000_000_000),
        nano => (at.as_second(), nano),
    }
}
