//! The day rules that a plain list cannot say: `L`, `LW`, `15W`, `5L`, `5#2`.

use std::fmt;

/// A day that depends on how its month is laid out. Weekdays are numbered from Sunday = 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Special {
    /// `L`: the last day of the month.
    LastDay,
    /// `LW`: the last Monday-to-Friday day of the month.
    LastWorkday,
    /// `15W`: the Monday-to-Friday day nearest to the 15th, in the same month. A month without
    /// that day has none.
    NearestWorkday(u16),
    /// `5L`: the last Friday of the month.
    LastWeekday(u16),
    /// `5#2`: the second Friday of the month.
    NthWeekday(u16, u16),
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LastDay => f.write_str("L"),
            Self::LastWorkday => f.write_str("LW"),
            Self::NearestWorkday(day) => write!(f, "{day}W"),
            Self::LastWeekday(weekday) => write!(f, "{weekday}L"),
            Self::NthWeekday(weekday, nth) => write!(f, "{weekday}#{nth}"),
        }
    }
}

/// A date, as far as day rules look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Day {
    /// Day of the month, from 1.
    pub(super) day: u16,
    /// Weekday, Sunday = 0.
    pub(super) weekday: u16,
    /// How many days the month has.
    pub(super) month_len: u16,
}

impl Special {
    /// Days of the month on which this can fall at all.
    pub(super) fn days(self) -> std::ops::RangeInclusive<u16> {
        match self {
            Self::LastDay => 28..=31,
            Self::LastWorkday => 26..=31,
            Self::NearestWorkday(day) => day.saturating_sub(2).max(1)..=(day + 2).min(31),
            Self::LastWeekday(_) => 22..=31,
            Self::NthWeekday(_, nth) => (nth * 7 - 6)..=(nth * 7).min(31),
        }
    }

    /// The weekday on which this must fall, if it says one.
    pub(super) fn weekday(self) -> Option<u16> {
        match self {
            Self::LastDay | Self::LastWorkday | Self::NearestWorkday(_) => None,
            Self::LastWeekday(weekday) | Self::NthWeekday(weekday, _) => Some(weekday),
        }
    }

    pub(super) fn matches(self, date: Day) -> bool {
        match self {
            Self::LastDay => date.day == date.month_len,
            Self::LastWorkday => nearest_workday(date.month_len, date) == date.day,
            Self::NearestWorkday(day) => day <= date.month_len && nearest_workday(day, date) == date.day,
            Self::LastWeekday(weekday) => date.weekday == weekday && date.day + 7 > date.month_len,
            Self::NthWeekday(weekday, nth) => date.weekday == weekday && date.day.div_ceil(7) == nth,
        }
    }
}

/// The workday nearest to `day` in the month of `date`, never leaving that month.
fn nearest_workday(day: u16, date: Day) -> u16 {
    let weekday = (date.weekday + 35 + day - date.day) % 7;
    match weekday {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == date.month_len => day - 2,
        0 => day + 1,
        _ => day,
    }
}
