//! What about a cron expression may surprise its author.

use super::super::cron::firing::{self, Change};
use super::super::cron::{Expression, Field, Kind, Parsed};
use super::super::zone::Zone;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use punctual_model::schedule::{Cron, DstGap, DstOverlap};
use std::fmt;

/// How far ahead clock changes are looked for: a year has met every rule of a zone.
const AHEAD: i64 = 366 * 86_400;

/// Something that is right but may not be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Day of month and day of week are both set, and one of them is enough.
    EitherDay,
    /// Day of month and day of week are both set, and one starts with `*`, so both must match.
    BothDays,
    /// `?` and a numbered weekday look like Quartz, where 1 is Sunday.
    WeekdayNumbers,
    /// The seconds are `*`.
    EverySecond {
        /// Most runs on a matching day.
        per_day: u64,
    },
    /// A `*/n` that does not divide its field starts anew each round.
    RestartingStep {
        /// The unit: second, minute, hour, day or month.
        unit: &'static str,
        /// What starts anew.
        round: &'static str,
        /// The step.
        step: u16,
    },
    /// A time that the clock skips in the next 12 months.
    Gap {
        /// The first skipped time, on the wall.
        time: DateTime,
        /// Where the clock jumps to.
        to: DateTime,
        /// What happens.
        rule: DstGap,
    },
    /// A time that the clock shows twice in the next 12 months.
    Overlap {
        /// The first repeated time, on the wall.
        time: DateTime,
        /// What happens.
        rule: DstOverlap,
    },
    /// Only 29 February matches.
    LeapDay,
    /// Only days that not every month has match.
    ShortMonths {
        /// The first such day.
        day: u16,
    },
}

impl Warning {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::EitherDay => "either_day",
            Self::BothDays => "both_days",
            Self::WeekdayNumbers => "weekday_numbers",
            Self::EverySecond { .. } => "every_second",
            Self::RestartingStep { .. } => "restarting_step",
            Self::Gap { .. } => "dst_gap",
            Self::Overlap { .. } => "dst_overlap",
            Self::LeapDay => "leap_day",
            Self::ShortMonths { .. } => "short_months",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EitherDay => f.write_str(
                "day of month and day of week are both set: a day that matches either of them is enough",
            ),
            Self::BothDays => f.write_str(
                "day of month and day of week are both set and one starts with `*`: a day must match both",
            ),
            Self::WeekdayNumbers => f.write_str("1 = Monday here (in Quartz it is Sunday)"),
            Self::EverySecond { per_day } => {
                write!(f, "seconds are `*`: 60 runs in each matching minute, {per_day} on a matching day")
            }
            Self::RestartingStep { unit, round, step } => {
                write!(f, "*/{step} starts anew each {round}, so it is not always {step} {unit}s")
            }
            Self::Gap { time, to, rule } => {
                let (date, skipped) = (time.date(), time.time());
                write!(f, "on {date} the clock skips {skipped}: ")?;
                match rule {
                    DstGap::RunAtEnd => write!(f, "it runs at {} instead", to.time()),
                    DstGap::Skip => f.write_str("it does not run at that time"),
                }
            }
            Self::Overlap { time, rule } => {
                let (date, repeated) = (time.date(), time.time());
                let runs = match rule {
                    DstOverlap::First => "it runs the first time",
                    DstOverlap::Second => "it runs the second time",
                    DstOverlap::Both => "it runs both times",
                };
                write!(f, "on {date} the clock shows {repeated} twice: {runs}")
            }
            Self::LeapDay => f.write_str("only 29 February matches: every fourth year"),
            Self::ShortMonths { day } => write!(f, "months without a day {day} are passed over"),
        }
    }
}

/// All warnings for an expression.
pub(super) fn of_cron(
    parsed: &Parsed,
    expression: &Expression,
    cron: &Cron,
    zone: &Zone,
    now: Timestamp,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if parsed.either_day() {
        warnings.push(Warning::EitherDay);
    } else if !parsed.days.is_full() && !parsed.weekdays.is_full() {
        warnings.push(Warning::BothDays);
    }
    if parsed.quartz_weekday {
        warnings.push(Warning::WeekdayNumbers);
    }
    if parsed.seconds.is_full() {
        let per_day =
            [&parsed.seconds, &parsed.minutes, &parsed.hours].map(|field| field.values.len() as u64);
        warnings.push(Warning::EverySecond { per_day: per_day.iter().product() });
    }
    let fields = [&parsed.seconds, &parsed.minutes, &parsed.hours, &parsed.days, &parsed.months];
    warnings.extend(fields.into_iter().filter_map(restarting));
    warnings.extend(rare_day(parsed));
    let from = now.as_second();
    let changes = firing::changes(expression, zone, from, from + AHEAD);
    warnings.extend(changes.into_iter().map(|change| of_change(change, cron)));
    warnings
}

fn restarting(field: &Field) -> Option<Warning> {
    let step = field.step.filter(|step| *step > 1)?;
    let (first, last) = field.kind.range();
    let (unit, round, even) = match field.kind {
        Kind::Second => ("second", "minute", 60 % step == 0),
        Kind::Minute => ("minute", "hour", 60 % step == 0),
        Kind::Hour => ("hour", "day", 24 % step == 0),
        // Months differ in length, so no step fits them all.
        Kind::Day => ("day", "month", false),
        Kind::Month => ("month", "year", 12 % step == 0),
        Kind::Weekday | Kind::Year => return None,
    };
    (!even && first + step <= last).then_some(Warning::RestartingStep { unit, round, step })
}

/// Days that are rarer than they look.
fn rare_day(parsed: &Parsed) -> Option<Warning> {
    let days = &parsed.days;
    let first = *days.values.first()?;
    if parsed.either_day() || !days.specials.is_empty() || first < 29 {
        return None;
    }
    let lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if parsed.months.values == [2] {
        return Some(Warning::LeapDay);
    }
    // In February even the 29th is missing in most years.
    let short = |month: &u16| *month == 2 || lengths[usize::from(month - 1)] < first;
    parsed.months.values.iter().any(short).then_some(Warning::ShortMonths { day: first })
}

fn of_change(change: Change, cron: &Cron) -> Warning {
    if change.from < change.to {
        Warning::Gap { time: civil(change.hits), to: civil(change.to), rule: cron.dst_gap }
    } else {
        Warning::Overlap { time: civil(change.hits), rule: cron.dst_overlap }
    }
}

/// Civil seconds as a date and time.
fn civil(seconds: i64) -> DateTime {
    Offset::UTC.to_datetime(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}
