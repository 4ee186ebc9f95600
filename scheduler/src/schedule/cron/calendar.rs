//! The walk over the civil calendar, done by the crate `cron` on explicit lists, with a filter for
//! the days that lists cannot name.
//!
//! Times are *civil seconds*: seconds since 1970-01-01T00:00 on the wall, as if the wall were UTC.

use super::day::{Day, Special};
use super::field::Field;
use chrono::{DateTime, Datelike, Timelike, Utc};
use std::fmt::Write as _;
use std::str::FromStr;

/// Last year that an expression can reach.
const LAST_YEAR: i32 = 2099;
/// Names, because the crate counts weekdays from Sunday = 1.
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// One walk: dates that satisfy all of its fields.
#[derive(Debug)]
pub(super) struct Calendar {
    schedule: cron::Schedule,
    filter: Option<Box<Filter>>,
}

/// What a date must satisfy beyond the lists, which then only name candidates.
#[derive(Debug)]
struct Filter {
    days: Option<Side>,
    weekdays: Option<Side>,
}

/// One day field with specials: a bit a plain value, and the rules.
#[derive(Debug)]
struct Side {
    plain: u32,
    specials: Box<[Special]>,
}

/// The day fields that a walk has to obey; `None` is any day.
#[derive(Debug, Clone, Copy)]
pub(super) struct DayFields<'a> {
    pub(super) days: Option<&'a Field>,
    pub(super) weekdays: Option<&'a Field>,
}

impl Calendar {
    /// Builds the walk; `None` if no date is even a candidate.
    pub(super) fn new(
        seconds: &Field,
        minutes: &Field,
        hours: &Field,
        months: &Field,
        years: &Field,
        fields: DayFields<'_>,
    ) -> Result<Option<Self>, cron::error::Error> {
        let days =
            bits(fields.days.map(candidate_days), 31) & bits(fields.weekdays.map(days_of_weekdays), 31);
        let days: Vec<u16> = (1..=31).filter(|day| days & (1 << day) != 0).collect();
        let weekdays = fields.weekdays.map_or_else(|| (0..7).collect(), candidate_weekdays);
        if days.is_empty() || weekdays.is_empty() {
            return Ok(None);
        }
        let mut text = String::with_capacity(64);
        push_list(&mut text, &seconds.values, 60);
        push_list(&mut text, &minutes.values, 60);
        push_list(&mut text, &hours.values, 24);
        push_list(&mut text, &days, 31);
        push_list(&mut text, &months.values, 12);
        if weekdays.len() == 7 {
            text.push_str("* ");
        } else {
            let names: Vec<&str> = weekdays.iter().map(|&day| WEEKDAYS[usize::from(day)]).collect();
            text.push_str(&names.join(","));
            text.push(' ');
        }
        push_list(&mut text, &years.values, if years.is_full() { years.values.len() } else { usize::MAX });
        let side = |field: Option<&Field>| field.filter(|field| !field.specials.is_empty()).map(Side::new);
        let (days, weekdays) = (side(fields.days), side(fields.weekdays));
        let filter = (days.is_some() || weekdays.is_some()).then(|| Box::new(Filter { days, weekdays }));
        Ok(Some(Self { schedule: cron::Schedule::from_str(text.trim_end())?, filter }))
    }

    /// First matching civil second strictly after `after`.
    pub(super) fn next(&self, after: i64) -> Option<i64> {
        // The crate's calendar begins in 1970 and adds a second before it looks.
        let mut from = DateTime::<Utc>::from_timestamp(after.max(-1), 0)?;
        loop {
            if from.year() > LAST_YEAR {
                return None;
            }
            let found = self.schedule.after(&from).next()?;
            if found.year() > LAST_YEAR {
                return None;
            }
            if self.filter.as_ref().is_none_or(|filter| filter.matches(&found)) {
                return Some(found.timestamp());
            }
            let rest_of_day = 86_399 - i64::from(found.num_seconds_from_midnight());
            from = DateTime::from_timestamp(found.timestamp() + rest_of_day, 0)?;
        }
    }
}

impl Filter {
    fn matches(&self, date: &DateTime<Utc>) -> bool {
        let day = Day {
            day: date.day() as u16,
            weekday: date.weekday().num_days_from_sunday() as u16,
            month_len: u16::from(date.num_days_in_month()),
        };
        self.days.as_ref().is_none_or(|side| side.matches(day.day, day))
            && self.weekdays.as_ref().is_none_or(|side| side.matches(day.weekday, day))
    }
}

impl Side {
    fn new(field: &Field) -> Self {
        let plain = field.values.iter().fold(0, |bits, value| bits | 1 << value);
        Self { plain, specials: field.specials.clone().into() }
    }

    fn matches(&self, value: u16, day: Day) -> bool {
        self.plain & (1 << value) != 0 || self.specials.iter().any(|special| special.matches(day))
    }
}

fn candidate_days(field: &Field) -> Vec<u16> {
    field.values.iter().copied().chain(field.specials.iter().flat_map(|special| special.days())).collect()
}

/// The days of the month that a weekday field can fall on: only specials restrict them.
fn days_of_weekdays(field: &Field) -> Vec<u16> {
    if field.values.is_empty() {
        field.specials.iter().flat_map(|special| special.days()).collect()
    } else {
        (1..=31).collect()
    }
}

fn candidate_weekdays(field: &Field) -> Vec<u16> {
    let special = field.specials.iter().filter_map(|special| special.weekday());
    let mut days: Vec<u16> = field.values.iter().copied().chain(special).collect();
    days.sort_unstable();
    days.dedup();
    days
}

/// A bit a value; all up to `last` where there is no restriction.
fn bits(values: Option<Vec<u16>>, last: u16) -> u32 {
    values.unwrap_or_else(|| (1..=last).collect()).iter().fold(0, |bits, value| bits | 1 << value)
}

/// Writes an explicit list, or `*` if it has all `full` values: the crate then allocates no set.
fn push_list(text: &mut String, values: &[u16], full: usize) {
    if values.len() == full {
        text.push('*');
    } else {
        for (index, value) in values.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(text, "{comma}{value}");
        }
    }
    text.push(' ');
}
