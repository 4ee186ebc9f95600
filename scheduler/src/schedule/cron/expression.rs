//! A compiled expression: what tasks with the same text share. Knows the civil calendar only.

use super::calendar::{Calendar, DayFields};
use super::error::{CronError, Problem};
use super::parse::Parsed;

/// The calendar before which no expression matches.
const BEFORE_CALENDAR: i64 = -1;

/// An expression that can be walked.
#[derive(Debug)]
pub(in super::super) struct Expression {
    text: Box<str>,
    fixed: bool,
    /// One walk, or two whose union is "either day field matches".
    walks: Box<[Calendar]>,
}

impl Expression {
    /// Compiles parsed fields.
    ///
    /// # Errors
    /// If no date from 1970 to 2099 matches.
    pub(in super::super) fn new(parsed: &Parsed) -> Result<Self, CronError> {
        let text = parsed.normalised();
        let days = Some(&parsed.days).filter(|days| !(days.star && days.is_full()));
        let weekdays = Some(&parsed.weekdays).filter(|days| !(days.star && days.is_full()));
        let sides: &[DayFields<'_>] = if parsed.either_day() {
            &[DayFields { days, weekdays: None }, DayFields { days: None, weekdays }]
        } else {
            &[DayFields { days, weekdays }]
        };
        let mut walks = Vec::with_capacity(sides.len());
        for fields in sides {
            let walk = Calendar::new(
                &parsed.seconds,
                &parsed.minutes,
                &parsed.hours,
                &parsed.months,
                &parsed.years,
                *fields,
            )
            .map_err(|error| Problem::new(0, error.to_string()).of(&text))?;
            // A side that no date can match would be searched to 2099 at every query of the other.
            walks.extend(walk.filter(|walk| walk.next(BEFORE_CALENDAR).is_some()));
        }
        if walks.is_empty() {
            return Err(Problem::new(
                parsed.day_at,
                "no date from 1970 to 2099 matches: its days, months and years never meet",
            )
            .of(&text));
        }
        Ok(Self { fixed: parsed.is_fixed(), walks: walks.into(), text: text.into() })
    }

    /// The normalised text.
    pub(in super::super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the rules for clock changes apply.
    pub(in super::super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// First matching civil second strictly after `after`, to the end of 2099.
    pub(in super::super) fn next(&self, after: i64) -> Option<i64> {
        self.walks.iter().filter_map(|walk| walk.next(after)).min()
    }
}
