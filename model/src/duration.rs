//! The one duration grammar: `1h10m3s`, `3d2h`, `250ms`, `-5m`, `0`.
//!
//! Units: `w d h m s ms us ns`; a day is 24 h. Months and years are refused because their length
//! depends on where in the calendar they start. Semantics: `reference` of InfluxDB's
//! `options.Duration`, without its rejected `1d` offset.

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de};
use std::time::Duration;

/// Longest text that is looked at; every useful duration is shorter.
const MAX_TEXT: usize = 64;

const UNITS: [(&str, i128); 8] = [
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a duration text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {text:?} at byte {at}: {reason}")]
pub struct ParseDurationError {
    /// The text, cut to a printable length.
    pub text: String,
    /// Byte offset of the problem.
    pub at: usize,
    /// What was expected, with a hint.
    pub reason: &'static str,
}

/// Parses a duration that may be negative (offsets).
///
/// # Errors
/// Names the byte at which the text stops being a duration and what was expected there.
pub fn parse_signed(text: &str) -> Result<SignedDuration, ParseDurationError> {
    let fail =
        |at: usize, reason| ParseDurationError { text: text.chars().take(MAX_TEXT).collect(), at, reason };
    if text.len() > MAX_TEXT {
        return Err(fail(MAX_TEXT, "longer than 64 bytes"));
    }
    let (negative, start) = match text.as_bytes().first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let mut rest = &text[start..];
    if rest.is_empty() {
        return Err(fail(start, "expected a number and a unit, such as 90s, 5m or 1h30m"));
    }
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(fail(at, "expected a whole number, such as 90s, 5m or 1h30m"));
        }
        let number: i128 = rest[..digits].parse().map_err(|_| fail(at, "the number is too large"))?;
        rest = &rest[digits..];
        let at = text.len() - rest.len();
        let letters = rest.bytes().take_while(|b| b.is_ascii_alphabetic()).count();
        let unit = rest.get(..letters).unwrap_or_default();
        let size = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, size)) => *size,
            None if unit == "y" || unit == "mo" => {
                return Err(fail(at, "months and years have no fixed length; use days, or a cron schedule"));
            }
            None => return Err(fail(at, "expected a unit: w, d, h, m, s, ms, us or ns")),
        };
        total = number
            .checked_mul(size)
            .and_then(|n| total.checked_add(n))
            .ok_or_else(|| fail(at, "too large"))?;
        rest = &rest[letters..];
    }
    let total = if negative { -total } else { total };
    let (seconds, nanos) = (total / 1_000_000_000, total % 1_000_000_000);
    let seconds = i64::try_from(seconds).map_err(|_| fail(0, "too large"))?;
    Ok(SignedDuration::new(seconds, nanos as i32))
}

/// Parses a duration that must not be negative.
///
/// # Errors
/// As [`parse_signed`]; a leading minus is refused.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let signed = parse_signed(text)?;
    Duration::try_from(signed).map_err(|_| ParseDurationError {
        text: text.to_owned(),
        at: 0,
        reason: "must not be negative",
    })
}

/// Writes a duration in the same grammar, largest unit first (`25h10m3s`); days and weeks are not
/// used, so that the text reads the same whatever a reader takes a day to be.
#[must_use]
pub fn format_signed(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if nanos < 0 {
        out.push('-');
    }
    let mut rest = nanos.unsigned_abs();
    for (name, size) in &UNITS[2..] {
        let size = size.unsigned_abs();
        let count = rest / size;
        if count > 0 {
            out.push_str(&format!("{count}{name}"));
            rest %= size;
        }
    }
    out
}

/// [`format_signed`] for a duration that cannot be negative.
#[must_use]
pub fn format(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| format!("{}s", duration.as_secs()), format_signed)
}

/// `#[serde(with = "duration::text")]`: a non-negative duration as its text.
pub mod text {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    /// Writes the text form.
    ///
    /// # Errors
    /// Only what the serializer itself reports.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*value))
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// The parse error, with its position.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        super::parse(&text).map_err(de::Error::custom)
    }
}

/// `#[serde(with = "duration::optional")]`: an optional non-negative duration as its text.
pub mod optional {
    use super::{Deserialize, Deserializer, Duration, Serializer, de};

    /// Writes the text form, or nothing.
    ///
    /// # Errors
    /// Only what the serializer itself reports.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_str(&super::format(*value)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the text form, if there is one.
    ///
    /// # Errors
    /// The parse error, with its position.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.map(|text| super::parse(&text)).transpose().map_err(de::Error::custom)
    }
}

/// `#[serde(with = "duration::signed")]`: a duration that may be negative, as its text.
pub mod signed {
    use super::{Deserialize, Deserializer, Serializer, SignedDuration, de};

    /// Writes the text form.
    ///
    /// # Errors
    /// Only what the serializer itself reports.
    pub fn serialize<S: Serializer>(value: &SignedDuration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_signed(*value))
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// The parse error, with its position.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        super::parse_signed(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: SignedDuration) {
        assert_eq!(parse_signed(text), Ok(expect), "{text}");
    }

    /// OP04
    #[test]
    fn op04_duration_text_means_what_it_says() {
        check("1h10m3s", SignedDuration::from_secs(4203));
        check("1d1h10m3s", SignedDuration::from_secs(25 * 3600 + 603));
        check("3d2h", SignedDuration::from_hours(74));
        check("22d", SignedDuration::from_hours(22 * 24));
        check("0h0s", SignedDuration::ZERO);
        check("0", SignedDuration::ZERO);
        check("-1h", SignedDuration::from_hours(-1));
        check("2w", SignedDuration::from_hours(14 * 24));
        check("1s500ms", SignedDuration::from_millis(1500));
        assert_eq!(format_signed(SignedDuration::from_secs(4203)), "1h10m3s");
        assert_eq!(format_signed(SignedDuration::from_secs(25 * 3600 + 603)), "25h10m3s");
        assert_eq!(format_signed(SignedDuration::from_secs(-90)), "-1m30s");
    }

    #[test]
    fn months_years_and_nonsense_are_refused_with_the_position() {
        for (text, at) in [
            ("1y", 1),
            ("3mo", 1),
            ("", 0),
            ("-", 1),
            ("5", 1),
            ("h", 0),
            ("1h5", 3),
            ("1.5h", 1),
            ("1 h", 1),
            ("٣h", 0),
            ("1H", 1),
        ] {
            assert_eq!(parse_signed(text).map_err(|e| e.at), Err(at), "{text:?}");
        }
        assert!(parse("-1s").is_err());
        assert!(parse_signed("99999999999999999999999999999999999999999w").is_err());
    }

    proptest! {
        #[test]
        fn every_duration_survives_its_text(seconds in any::<i32>(), nanos in 0..1_000_000_000i32) {
            let value = SignedDuration::new(i64::from(seconds), if seconds < 0 { -nanos } else { nanos });
            prop_assert_eq!(parse_signed(&format_signed(value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = parse_signed(&text);
        }
    }
}
