//! A cron text taken apart: 5 fields are unix, 6 put the seconds first, 7 the year last.
//!
//! Reads text and nothing else; whether any date matches is asked of the calendar afterwards.

use super::error::{CronError, Problem};
use super::field::{Field, Kind};

/// Longest accepted text. The longest sensible expression is well below it, and it bounds the work
/// that a hostile text can cause.
pub const MAX_CRON_BYTES: usize = 256;

const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// How many fields were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// minute hour day month weekday
    Five,
    /// second, then as five
    Six,
    /// as six, then year
    Seven,
}

/// An expression in fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Parsed {
    form: Form,
    pub(in super::super) seconds: Field,
    pub(in super::super) minutes: Field,
    pub(in super::super) hours: Field,
    pub(in super::super) days: Field,
    pub(in super::super) months: Field,
    pub(in super::super) weekdays: Field,
    pub(in super::super) years: Field,
    /// Whether the text looks like Quartz (`?` for the day) and numbers its weekdays: there Sunday is 1.
    pub(in super::super) quartz_weekday: bool,
    /// Where the day of the month is written, for the error that no date matches.
    pub(super) day_at: usize,
}

impl Parsed {
    /// Takes `expr` apart.
    ///
    /// # Errors
    /// At the first byte that is not understood.
    pub(in super::super) fn new(expr: &str) -> Result<Self, CronError> {
        Self::parse(expr).map_err(|problem| problem.of(expr))
    }

    fn parse(expr: &str) -> Result<Self, Problem> {
        if expr.len() > MAX_CRON_BYTES {
            return Err(Problem::new(MAX_CRON_BYTES, format!("longer than {MAX_CRON_BYTES} bytes")));
        }
        let strange = |c: char| !c.is_ascii() || (c.is_ascii_control() && c != '\t');
        if let Some((at, found)) = expr.char_indices().find(|(_, c)| strange(*c)) {
            return Err(Problem::new(at, format!("unexpected character {found:?}"))
                .hint("only ASCII letters, digits, blanks and * , - / ? # are used"));
        }
        let fields: Vec<(usize, &str)> = expr
            .split([' ', '\t'])
            .filter(|field| !field.is_empty())
            // The fields are slices of `expr`, so their distance from its start is their position.
            .map(|field| (field.as_ptr() as usize - expr.as_ptr() as usize, field))
            .collect();
        match *fields.as_slice() {
            [] => Err(Problem::new(0, "empty").hint("for example 30 2 * * 1-5")),
            [(at, word), ..] if word.starts_with('@') => Self::word(&fields, at, word),
            [(at, first), ..] if is_zone_prefix(first) => {
                Err(Problem::new(at, "the zone is not part of the expression")
                    .hint("remove the prefix and set the field `timezone`"))
            }
            [minute, hour, day, month, weekday] => {
                Self::fields(Form::Five, None, [minute, hour, day, month, weekday], None)
            }
            [second, minute, hour, day, month, weekday] => {
                Self::fields(Form::Six, Some(second), [minute, hour, day, month, weekday], None)
            }
            [second, minute, hour, day, month, weekday, year] => {
                Self::fields(Form::Seven, Some(second), [minute, hour, day, month, weekday], Some(year))
            }
            ref other => {
                let at = if other.len() > 7 { other[7].0 } else { expr.len() };
                Err(Problem::new(at, format!("expected 5, 6 or 7 fields, found {}", other.len())).hint(
                    "minute hour day month weekday; with seconds first for 6; with the year last for 7",
                ))
            }
        }
    }

    fn word(fields: &[(usize, &str)], at: usize, word: &str) -> Result<Self, Problem> {
        let lower = word.to_ascii_lowercase();
        if lower == "@every" {
            return Err(Problem::new(at, "@every is not cron").hint("use a schedule of kind `every`: 5m"));
        }
        if lower == "@reboot" {
            return Err(Problem::new(at, "@reboot names no time")
                .hint("a durable schedule does not depend on when the machine starts"));
        }
        let Some((_, expr)) = WORDS.iter().find(|(name, _)| *name == lower) else {
            return Err(Problem::new(at, format!("unknown word {word}"))
                .hint("@hourly @daily @midnight @weekly @monthly @yearly @annually"));
        };
        if let Some((at, _)) = fields.get(1) {
            return Err(Problem::new(*at, format!("nothing may follow {word}")));
        }
        // The word stands for its expansion, so a problem of the days is one of the word.
        Self::parse(expr).map(|parsed| Self { day_at: at, ..parsed })
    }

    fn fields(
        form: Form,
        second: Option<(usize, &str)>,
        [minute, hour, day, month, weekday]: [(usize, &str); 5],
        year: Option<(usize, &str)>,
    ) -> Result<Self, Problem> {
        let field = |kind, (at, text): (usize, &str)| Field::parse(kind, text, at);
        let implied = |kind, written: Option<(usize, &str)>| {
            written.map_or_else(|| Ok(Field::implied(kind)), |written| field(kind, written))
        };
        Ok(Self {
            form,
            seconds: implied(Kind::Second, second)?,
            minutes: field(Kind::Minute, minute)?,
            hours: field(Kind::Hour, hour)?,
            days: field(Kind::Day, day)?,
            months: field(Kind::Month, month)?,
            weekdays: field(Kind::Weekday, weekday)?,
            years: implied(Kind::Year, year)?,
            quartz_weekday: day.1 == "?"
                && weekday.1.split(',').any(|item| item.starts_with(|c: char| c.is_ascii_digit())),
            day_at: day.0,
        })
    }

    /// Minute and hour are both written as times, so the expression means moments of a day rather
    /// than a rhythm: the rules for clock changes apply.
    pub(in super::super) fn is_fixed(&self) -> bool {
        !self.minutes.star && !self.hours.star
    }

    /// Day of month and day of week are both restricted, and one of them is enough (cronie's rule:
    /// neither text starts with `*`).
    pub(in super::super) fn either_day(&self) -> bool {
        !self.days.star && !self.weekdays.star
    }

    /// The text that stands for all texts of the same meaning and spelling of stars.
    pub(in super::super) fn normalised(&self) -> String {
        let five = [&self.minutes, &self.hours, &self.days, &self.months, &self.weekdays];
        let mut texts: Vec<&str> = five.iter().map(|field| field.text.as_str()).collect();
        if self.form != Form::Five {
            texts.insert(0, &self.seconds.text);
        }
        if self.form == Form::Seven {
            texts.push(&self.years.text);
        }
        texts.join(" ")
    }
}

fn is_zone_prefix(field: &str) -> bool {
    let upper = field.to_ascii_uppercase();
    upper.starts_with("CRON_TZ=") || upper.starts_with("TZ=")
}
