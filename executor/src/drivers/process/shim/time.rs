//! The shim's clocks. It has no injected one: it is a process of its own, and what it does is not simulated.

use jiff::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

/// What moves only forward.
pub(super) fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// What the wall shows.
pub(super) fn wall() -> Timestamp {
    let now = clock_gettime(ClockId::Realtime);
    Timestamp::new(now.tv_sec, i32::try_from(now.tv_nsec).unwrap_or_default()).unwrap_or_default()
}

/// So long from now, for a wait; a little more rather than less, lest it wakes before its time.
pub(super) fn until(deadline: Duration) -> Timespec {
    let rest = deadline.saturating_sub(monotonic()).saturating_add(Duration::from_micros(1));
    let seconds = i64::try_from(rest.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::from(rest.subsec_nanos()) }
}
