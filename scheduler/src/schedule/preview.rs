//! A due as people read it: weekday, wall time, offset, and the instant in UTC.

use super::timeline::Timeline;
use super::zone::Zone;
use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::Offset;
use std::fmt;

/// One due, on the wall clock of its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preview {
    /// The instant.
    pub at: Timestamp,
    /// What the wall clock of the zone shows then.
    pub local: DateTime,
    /// The zone's distance from UTC then.
    pub offset: Offset,
}

impl Preview {
    /// Looks at an instant in a zone.
    #[must_use]
    pub fn new(at: Timestamp, zone: &Zone) -> Self {
        let offset = zone.time_zone().to_offset(at);
        Self { at, local: offset.to_datetime(at), offset }
    }

    /// The weekday on the wall.
    #[must_use]
    pub fn weekday(&self) -> Weekday {
        self.local.weekday()
    }
}

impl fmt::Display for Preview {
    /// `Mon 2026-11-23 02:30:00 +01:00 (2026-11-23T01:30:00Z)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.offset.seconds();
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.unsigned_abs() / 60;
        let local = self.local.strftime("%a %Y-%m-%d %H:%M:%S");
        write!(f, "{local} {sign}{:02}:{:02} ({})", minutes / 60, minutes % 60, self.at)
    }
}

/// The next `count` dues after `after`; fewer if the timeline ends.
#[must_use]
pub fn preview(timeline: &Timeline, after: Timestamp, count: usize) -> Vec<Preview> {
    let dues = std::iter::successors(timeline.next(after), |due| timeline.next(*due));
    dues.take(count).map(|due| Preview::new(due, timeline.zone())).collect()
}
