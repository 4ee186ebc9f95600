//! Numbers as people write them in a definition: decimals that compare exactly, and ranges of codes.

use crate::outcome::{Exit, FailureKind, Outcome};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A decimal with three digits behind the point, kept as a whole number of thousandths so that definitions
/// compare exactly. Written as a plain number: `0.25`, `1.5`, `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Decimal(u32);

impl Decimal {
    /// One.
    pub const ONE: Self = Self(1000);

    /// So many thousandths.
    #[must_use]
    pub const fn thousandths(count: u32) -> Self {
        Self(count)
    }

    /// How many thousandths it is.
    #[must_use]
    pub const fn as_thousandths(self) -> u32 {
        self.0
    }
}

impl TryFrom<f64> for Decimal {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        let scaled = value * 1000.0;
        // Beyond these bounds, and for what is no number, the cast would answer something else.
        if (0.0..=f64::from(u32::MAX)).contains(&scaled) && (scaled - scaled.round()).abs() < 1e-6 {
            return Ok(Self(scaled.round() as u32));
        }
        let most = u32::MAX / 1000;
        Err(format!("{value}: expected 0 to {most} with at most three digits behind the point"))
    }
}

impl From<Decimal> for f64 {
    fn from(value: Decimal) -> Self {
        Self::from(value.0) / 1000.0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

/// A code, or all from one to another, both included: `75`, `"64-78"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Codes {
    /// The lowest.
    pub first: u16,
    /// The highest; not below the lowest.
    pub last: u16,
}

impl Codes {
    /// Just this one.
    #[must_use]
    pub const fn one(code: u16) -> Self {
        Self { first: code, last: code }
    }

    /// Both ends and all between.
    #[must_use]
    pub const fn range(first: u16, last: u16) -> Self {
        Self { first, last }
    }

    /// Whether this code is among them.
    #[must_use]
    pub fn contains(self, code: i32) -> bool {
        (i32::from(self.first)..=i32::from(self.last)).contains(&code)
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some(Self { first, last })
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// A class of bad ends, by which a restart policy tells those that may go better from those that will not:
/// exit codes (`75`, `"64-78"`), any signal (`"signal"`), or where it went wrong (`"start"`, `"work"`, `"panic"`,
/// `"timeout"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum EndClass {
    /// A process that ended by itself with one of these codes.
    Codes(Codes),
    /// A process that ended by a signal.
    Signal,
    /// It could not be started.
    Start,
    /// It ended badly by its own account, with whatever code or signal.
    Work,
    /// It panicked.
    Panic,
    /// It took too long.
    Timeout,
}

impl EndClass {
    const WORDS: [(&'static str, Self); 5] = [
        ("signal", Self::Signal),
        ("start", Self::Start),
        ("work", Self::Work),
        ("panic", Self::Panic),
        ("timeout", Self::Timeout),
    ];

    /// Whether an attempt that ended like this is of the class. A good end is of none.
    #[must_use]
    pub fn holds(self, outcome: &Outcome) -> bool {
        if outcome.is_success() {
            return false;
        }
        // A process that ends badly has no failure of its own; its exit says it.
        let kind = outcome.error.as_ref().map_or(FailureKind::Work, |failure| failure.kind);
        match self {
            // What was ended because it took too long has the signal of that, which says nothing of the work.
            Self::Codes(codes) => {
                kind == FailureKind::Work
                    && matches!(outcome.exit, Some(Exit::Code(code)) if codes.contains(code))
            }
            Self::Signal => kind == FailureKind::Work && matches!(outcome.exit, Some(Exit::Signal(_))),
            Self::Start => kind == FailureKind::Start,
            Self::Work => kind == FailureKind::Work,
            Self::Panic => kind == FailureKind::Panic,
            Self::Timeout => kind == FailureKind::Timeout,
        }
    }
}

impl fmt::Display for EndClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codes(codes) => write!(f, "{codes}"),
            word => f.write_str(Self::WORDS.iter().find(|(_, it)| it == word).map_or("", |(text, _)| text)),
        }
    }
}

/// A number or a word.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, a range such as \"64-78\", or a word")]
enum Written {
    Number(u16),
    Text(String),
}

impl From<Codes> for Written {
    fn from(codes: Codes) -> Self {
        if codes.first == codes.last { Self::Number(codes.first) } else { Self::Text(codes.to_string()) }
    }
}

impl TryFrom<Written> for Codes {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(code) => Ok(Self::one(code)),
            Written::Text(text) => Self::parse(&text)
                .ok_or_else(|| format!("{text:?}: expected a code or a range such as \"64-78\"")),
        }
    }
}

impl From<EndClass> for Written {
    fn from(class: EndClass) -> Self {
        match class {
            EndClass::Codes(codes) => codes.into(),
            word => Self::Text(word.to_string()),
        }
    }
}

impl TryFrom<Written> for EndClass {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if let Written::Text(text) = &written {
            if let Some((_, class)) = Self::WORDS.iter().find(|(word, _)| word == text) {
                return Ok(*class);
            }
            return Codes::parse(text).map(Self::Codes).ok_or_else(|| {
                let words: Vec<_> = Self::WORDS.iter().map(|(word, _)| *word).collect();
                format!(
                    "{text:?}: expected an exit code, a range such as \"64-78\", or one of {}",
                    words.join(", ")
                )
            });
        }
        Codes::try_from(written).map(Self::Codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Failure;
    use serde_json::json;

    #[test]
    fn decimals_are_exact_to_three_digits() {
        for (number, thousandths) in [(json!(0.25), 250), (json!(2), 2000), (json!(1.5), 1500), (json!(0), 0)]
        {
            assert_eq!(serde_json::from_value::<Decimal>(number).unwrap(), Decimal::thousandths(thousandths));
        }
        for bad in [json!(0.0001), json!(-1), json!(1e12), json!("1")] {
            assert!(serde_json::from_value::<Decimal>(bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_value(Decimal::thousandths(250)).unwrap(), json!(0.25));
    }

    #[test]
    fn classes_are_written_as_they_are_read() {
        for (text, class) in [
            (json!(75), EndClass::Codes(Codes::one(75))),
            (json!("64-78"), EndClass::Codes(Codes::range(64, 78))),
            (json!("timeout"), EndClass::Timeout),
            (json!("signal"), EndClass::Signal),
        ] {
            assert_eq!(serde_json::from_value::<EndClass>(text.clone()).unwrap(), class);
            assert_eq!(serde_json::to_value(class).unwrap(), text);
        }
        for bad in [json!("78-64"), json!("maybe"), json!(-1), json!(1.5)] {
            assert!(serde_json::from_value::<EndClass>(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_class_holds_ends_of_its_kind_only() {
        let exit = |exit| Outcome { exit: Some(exit), ..Outcome::default() };
        let failed = |kind| Outcome::failed(Failure::new(kind, "no"));
        let late = Outcome { exit: Some(Exit::Signal(15)), ..failed(FailureKind::Timeout) };
        let codes = EndClass::Codes(Codes::range(64, 78));
        assert!(codes.holds(&exit(Exit::Code(75))) && !codes.holds(&exit(Exit::Code(1))));
        assert!(
            EndClass::Work.holds(&exit(Exit::Code(1))) && EndClass::Work.holds(&failed(FailureKind::Work))
        );
        assert!(EndClass::Signal.holds(&exit(Exit::Signal(9))) && !EndClass::Signal.holds(&late));
        assert!(EndClass::Timeout.holds(&late) && !EndClass::Work.holds(&late));
        assert!(EndClass::Start.holds(&failed(FailureKind::Start)));
        assert!(EndClass::Panic.holds(&failed(FailureKind::Panic)));
        let every = EndClass::WORDS.map(|(_, class)| class);
        assert!(every.iter().all(|class| !class.holds(&exit(Exit::Code(0)))), "a good end is of no class");
    }
}
