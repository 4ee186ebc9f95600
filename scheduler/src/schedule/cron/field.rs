//! One field of an expression: its items, expanded to explicit values and written back normalised.

use super::day::Special;
use super::error::Problem;

/// Most comma-separated items in one field. Every field but the year has at most 60 values, so a
/// longer list repeats itself.
pub const MAX_CRON_ITEMS: usize = 64;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Which field, with its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
    Year,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day of month",
            Self::Month => "month",
            Self::Weekday => "day of week",
            Self::Year => "year",
        }
    }

    /// First and last value that `*` stands for.
    pub(in super::super) fn range(self) -> (u16, u16) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 6),
            // The calendar of the crate `cron` starts in 1970 and its last whole year is 2099.
            Self::Year => (1970, 2099),
        }
    }

    /// Largest value that may be written: Sunday is also 7.
    fn largest(self) -> u16 {
        if self == Self::Weekday { 7 } else { self.range().1 }
    }

    /// Largest step that still can do something, as cronie has it.
    fn largest_step(self) -> u16 {
        if self == Self::Year { 129 } else { self.largest() }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::Weekday => &WEEKDAYS,
            _ => &[],
        }
    }
}

/// A parsed field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Field {
    pub(in super::super) kind: Kind,
    /// Whether the text starts with `*` (or is `?`): what cronie's day rule and the rules for clock
    /// changes ask about.
    pub(in super::super) star: bool,
    /// The plain values, ascending. Weekdays from Sunday = 0.
    pub(in super::super) values: Vec<u16>,
    /// The rules beside them.
    pub(in super::super) specials: Vec<Special>,
    /// The field in its normal form.
    pub(in super::super) text: String,
    /// The step of a field that is only `*/n`.
    pub(in super::super) step: Option<u16>,
}

impl Field {
    /// A field that was not written: second 0, or any year.
    pub(super) fn implied(kind: Kind) -> Self {
        let (first, last) = kind.range();
        let (star, values, text) = match kind {
            Kind::Second => (false, vec![0], "0"),
            _ => (true, (first..=last).collect(), "*"),
        };
        Self { kind, star, values, specials: Vec::new(), text: text.to_owned(), step: None }
    }

    /// Whether every value of the field is in it.
    pub(in super::super) fn is_full(&self) -> bool {
        let (first, last) = self.kind.range();
        self.values.len() == usize::from(last - first) + 1
    }

    /// Parses `text`, which starts at byte `at` of the expression.
    pub(super) fn parse(kind: Kind, text: &str, at: usize) -> Result<Self, Problem> {
        let dated = matches!(kind, Kind::Day | Kind::Weekday);
        if text == "?" && dated {
            return Ok(Self::implied(kind));
        }
        let mut field = Self {
            kind,
            star: text.starts_with('*'),
            values: Vec::new(),
            specials: Vec::new(),
            text: String::new(),
            step: None,
        };
        let mut start = at;
        let mut items: Vec<String> = Vec::new();
        for (count, item) in text.split(',').enumerate() {
            if count == MAX_CRON_ITEMS {
                return Err(Problem::new(
                    start,
                    format!("more than {MAX_CRON_ITEMS} list items in one field"),
                ));
            }
            let normal = field.item(item, start)?;
            if !items.contains(&normal) {
                items.push(normal);
            }
            start += item.len() + 1;
        }
        field.values.sort_unstable();
        field.values.dedup();
        field.text = items.join(",");
        field.step = field.text.strip_prefix("*/").and_then(|step| step.parse().ok());
        Ok(field)
    }

    /// Adds one list item and returns its normal form.
    fn item(&mut self, text: &str, at: usize) -> Result<String, Problem> {
        let kind = self.kind;
        if text.is_empty() {
            return Err(Problem::new(at, format!("expected a {} between the commas", kind.name()))
                .hint("remove the empty list item"));
        }
        if let Some(special) = special(kind, text, at)? {
            if !self.specials.contains(&special) {
                self.specials.push(special);
            }
            return Ok(special.to_string());
        }
        let (base, step) = match text.split_once('/') {
            None => (text, None),
            Some((base, step)) => (base, Some(parse_step(kind, step, at + base.len() + 1)?)),
        };
        let (least, most) = kind.range();
        let star = base == "*";
        let (first, last) = if star {
            (least, most)
        } else if let Some((low, high)) = base.split_once('-') {
            parse_range(kind, low, high, at)?
        } else {
            let (value, _) = parse_value(kind, base, at)?;
            match step {
                Some(_) if value > most => {
                    return Err(Problem::new(at, "7 with a step has no days after it")
                        .hint(format!("write 0{}", &text[base.len()..])));
                }
                Some(_) => (value, most),
                None => (value, value),
            }
        };
        let step = step.unwrap_or(1);
        let wrap = |value: u16| if kind == Kind::Weekday { value % 7 } else { value };
        self.values.extend((first..=last).step_by(usize::from(step)).map(wrap));
        Ok(match (star, step) {
            (true, 1) => "*".to_owned(),
            (true, step) => format!("*/{step}"),
            (false, step) if first + step > last => wrap(first).to_string(),
            (false, 1) => format!("{first}-{last}"),
            (false, step) => format!("{first}-{last}/{step}"),
        })
    }
}

/// Recognises the items with `L`, `W` and `#`.
fn special(kind: Kind, text: &str, at: usize) -> Result<Option<Special>, Problem> {
    let upper = text.to_ascii_uppercase();
    match kind {
        Kind::Day => {
            if upper == "L" {
                return Ok(Some(Special::LastDay));
            }
            if upper == "LW" {
                return Ok(Some(Special::LastWorkday));
            }
            if upper.starts_with('L') {
                return Err(Problem::new(at, format!("expected L or LW, found {text}"))
                    .hint("days counted back from the end of the month are not supported"));
            }
            let Some(day) = upper.strip_suffix('W') else { return Ok(None) };
            let (day, _) = parse_value(kind, day, at)?;
            Ok(Some(Special::NearestWorkday(day)))
        }
        Kind::Weekday => {
            if let Some((day, nth)) = upper.split_once('#') {
                let (day, _) = parse_value(kind, day, at)?;
                let position = at + text.len() - nth.len();
                return match nth.as_bytes() {
                    [digit @ b'1'..=b'5'] => Ok(Some(Special::NthWeekday(day % 7, u16::from(digit - b'0')))),
                    _ => {
                        Err(Problem::new(position, "expected 1 to 5 after #")
                            .hint("5#2 is the second Friday"))
                    }
                };
            }
            if upper == "L" {
                return Err(Problem::new(at, "L alone does not say which day of the week")
                    .hint("write 6 for Saturday, or 6L for the last Saturday of the month"));
            }
            let Some(day) = upper.strip_suffix('L') else { return Ok(None) };
            let (day, _) = parse_value(kind, day, at)?;
            Ok(Some(Special::LastWeekday(day % 7)))
        }
        _ => Ok(None),
    }
}

fn parse_step(kind: Kind, text: &str, at: usize) -> Result<u16, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::new(at, format!("expected a step after /, found {text:?}")));
    }
    let largest = kind.largest_step();
    match text.parse::<u16>() {
        Ok(0) => Err(Problem::new(at, "a step of 0 never moves on").hint("the smallest step is 1")),
        Ok(step) if step <= largest => Ok(step),
        _ => Err(Problem::new(at, format!("step {text} is larger than the {} field", kind.name()))
            .hint(format!("a step starts anew in each round of the field and is at most {largest}; for other intervals use a schedule of kind `every`"))),
    }
}

fn parse_range(kind: Kind, low: &str, high: &str, at: usize) -> Result<(u16, u16), Problem> {
    let (first, low_named) = parse_value(kind, low, at)?;
    let (last, high_named) = parse_value(kind, high, at + low.len() + 1)?;
    if low_named != high_named {
        return Err(Problem::new(at, format!("range {low}-{high} mixes a name and a number"))
            .hint("write both ends as names or both as numbers"));
    }
    if first > last {
        let (least, most) = kind.range();
        let span = |a: u16, b: u16| if a == b { a.to_string() } else { format!("{a}-{b}") };
        return Err(Problem::new(at, format!("range {low}-{high} runs backwards")).hint(format!(
            "to wrap around write {},{}",
            span(first.min(most), most),
            span(least, last)
        )));
    }
    Ok((first, last))
}

/// A number or a name, and whether it was a name.
fn parse_value(kind: Kind, text: &str, at: usize) -> Result<(u16, bool), Problem> {
    let (least, _) = kind.range();
    let largest = kind.largest();
    if let Some(index) = kind.names().iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return Ok((index as u16 + least, true));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse::<u16>() {
            Ok(value) if (least..=largest).contains(&value) => Ok((value, false)),
            _ => {
                let problem =
                    Problem::new(at, format!("{} {text} is out of range {least}-{largest}", kind.name()));
                Err(match (kind, text) {
                    (Kind::Hour, "24") => problem.hint("midnight is hour 0 of the next day"),
                    (Kind::Minute | Kind::Second, "60") => problem.hint("write 0"),
                    _ => problem,
                })
            }
        };
    }
    let problem = Problem::new(at, format!("expected a {}, found {text:?}", kind.name()));
    Err(match text.bytes().next() {
        None => problem,
        Some(b'*') => problem.hint("* stands alone or before a step: */5"),
        Some(b'?') => problem.hint("? stands alone, for the day of the month or of the week"),
        Some(b'%') => problem.hint("% is a crontab's newline; it has no place in the time"),
        Some(b'H' | b'h') if kind.names().is_empty() => {
            problem.hint("H is Jenkins' hash; use `jitter` or `splay` to spread tasks")
        }
        Some(b'~') => problem.hint("~ is OpenBSD's random; use `jitter` or `splay` to spread tasks"),
        _ if text.contains('~') => {
            problem.hint("~ is OpenBSD's random; use `jitter` or `splay` to spread tasks")
        }
        _ => match kind.names().iter().find(|name| starts_with(text, name)) {
            Some(name) => problem.hint(format!("names have three letters: {name}")),
            None if !kind.names().is_empty() => problem.hint(format!(
                "{}-{}, or a number",
                kind.names()[0],
                kind.names()[kind.names().len() - 1]
            )),
            None => problem.hint(format!("a number from {least} to {largest}")),
        },
    })
}

fn starts_with(text: &str, name: &str) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}
