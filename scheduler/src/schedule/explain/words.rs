//! A cron expression as an English sentence.

use super::super::cron::{Field, Parsed, Special};

/// Up to this many times a day are listed one by one ("At 09:00 and 17:00").
const MAX_LISTED_TIMES: usize = 4;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The sentence, without zone and full stop.
pub(super) fn sentence(parsed: &Parsed) -> String {
    let mut parts = times(parsed);
    parts.extend(days(parsed));
    if !parsed.months.is_full() {
        parts.push(format!(
            "in {}",
            list(&parsed.months.values, |month| MONTHS[usize::from(month - 1)].into())
        ));
    }
    if !parsed.years.is_full() {
        parts.push(format!("in {}", list(&parsed.years.values, |year| year.to_string())));
    }
    let mut sentence = parts.join(", ");
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    sentence
}

/// The times of a day.
fn times(parsed: &Parsed) -> Vec<String> {
    let Parsed { seconds, minutes, hours, .. } = parsed;
    let on_the_minute = seconds.values == [0];
    let count = seconds.values.len() * minutes.values.len() * hours.values.len();
    if parsed.is_fixed() && count <= MAX_LISTED_TIMES {
        let mut times = Vec::with_capacity(count);
        for hour in &hours.values {
            for minute in &minutes.values {
                for second in &seconds.values {
                    times.push(if on_the_minute {
                        format!("{hour:02}:{minute:02}")
                    } else {
                        format!("{hour:02}:{minute:02}:{second:02}")
                    });
                }
            }
        }
        return vec![format!("at {}", enumerate(&times))];
    }
    let mut parts = Vec::new();
    if !on_the_minute {
        parts.push(rhythm(seconds, "second", "minute"));
    }
    let every_minute = minutes.is_full();
    if !every_minute || on_the_minute || !is_rhythm(seconds) {
        parts.push(rhythm(minutes, "minute", "hour"));
    }
    if !hours.is_full() {
        parts.push(match contiguous(&hours.values) {
            Some((first, last)) if is_rhythm(minutes) => format!("from {first:02}:00 through {last:02}:59"),
            _ => rhythm(hours, "hour", "day"),
        });
    } else if !is_rhythm(minutes) {
        parts.push("every hour".to_owned());
    }
    parts
}

/// Whether the field reads as "every n".
fn is_rhythm(field: &Field) -> bool {
    field.is_full() || field.step.is_some()
}

/// "every minute", "every 15 minutes", "at minutes 5 and 10", "in hours 9 through 17".
fn rhythm(field: &Field, unit: &str, round: &str) -> String {
    if field.is_full() {
        return format!("every {unit}");
    }
    if let Some(step) = field.step {
        let (first, last) = field.kind.range();
        let anew =
            if (last - first + 1) % step == 0 { String::new() } else { format!(", anew each {round}") };
        return format!("every {step} {unit}s{anew}");
    }
    let plural = if field.values.len() == 1 { "" } else { "s" };
    let preposition = if unit == "hour" { "in" } else { "at" };
    format!("{preposition} {unit}{plural} {}", list(&field.values, |value| value.to_string()))
}

/// The days, with cronie's rule for two restricted fields said in words.
fn days(parsed: &Parsed) -> Option<String> {
    let days = (!parsed.days.is_full()).then(|| days_of_month(&parsed.days));
    let weekdays = (!parsed.weekdays.is_full()).then(|| weekdays(&parsed.weekdays));
    match (days, weekdays) {
        // "0-6" beside a day of the month is a restriction that restricts nothing.
        _ if parsed.either_day() && (parsed.days.is_full() || parsed.weekdays.is_full()) => {
            Some("every day".to_owned())
        }
        (None, None) => parsed.is_fixed().then(|| "every day".to_owned()),
        (Some(days), None) => Some(days),
        (None, Some(weekdays)) => Some(weekdays),
        (Some(days), Some(weekdays)) if parsed.either_day() => {
            let on = if weekdays.starts_with("on ") { "" } else { "on " };
            Some(format!("{days} or {on}{weekdays} (either is enough)"))
        }
        (Some(days), Some(weekdays)) => Some(format!("{days}, but only {weekdays}")),
    }
}

fn days_of_month(field: &Field) -> String {
    if let Some(step) = field.step {
        return format!("every {step} days from day 1 of the month");
    }
    let mut parts = Vec::new();
    if !field.values.is_empty() {
        let plural = if field.values.len() == 1 { "" } else { "s" };
        parts.push(format!("day{plural} {}", list(&field.values, |day| day.to_string())));
    }
    parts.extend(field.specials.iter().map(|special| special_day(*special)));
    format!("on {} of the month", enumerate(&parts))
}

fn weekdays(field: &Field) -> String {
    // Monday first, as a week is read: 5-7 is Friday through Sunday.
    let mut values: Vec<u16> = field.values.iter().map(|day| if *day == 0 { 7 } else { *day }).collect();
    values.sort_unstable();
    let plain = list(&values, |day| WEEKDAYS[usize::from(day % 7)].to_owned());
    if field.specials.is_empty() {
        return plain;
    }
    let specials = field.specials.iter().map(|special| format!("{} of the month", special_day(*special)));
    let parts: Vec<String> =
        Some(plain).filter(|plain| !plain.is_empty()).into_iter().chain(specials).collect();
    format!("on {}", enumerate(&parts))
}

fn special_day(special: Special) -> String {
    let weekday = |day: u16| WEEKDAYS[usize::from(day % 7)];
    match special {
        Special::LastDay => "the last day".to_owned(),
        Special::LastWorkday => "the last workday".to_owned(),
        Special::NearestWorkday(day) => format!("the workday nearest to day {day}"),
        Special::LastWeekday(day) => format!("the last {}", weekday(day)),
        Special::NthWeekday(day, nth) => {
            let nth = ["first", "second", "third", "fourth", "fifth"][usize::from((nth - 1).min(4))];
            format!("the {nth} {}", weekday(day))
        }
    }
}

/// First and last, if all values between are there too.
fn contiguous(values: &[u16]) -> Option<(u16, u16)> {
    let (first, last) = (*values.first()?, *values.last()?);
    (usize::from(last - first) + 1 == values.len()).then_some((first, last))
}

/// "1, 3 and 5 through 9": runs of three and more are folded.
fn list(values: &[u16], name: impl Fn(u16) -> String) -> String {
    let runs = values.chunk_by(|a, b| *b == *a + 1);
    let texts: Vec<String> = runs
        .flat_map(|run| match run {
            [first, _, .., last] => vec![format!("{} through {}", name(*first), name(*last))],
            few => few.iter().map(|value| name(*value)).collect(),
        })
        .collect();
    enumerate(&texts)
}

/// "a", "a and b", "a, b and c".
fn enumerate(texts: &[String]) -> String {
    match texts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
