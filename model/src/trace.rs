//! The place of a run in a trace of others, as W3C Trace Context writes it (`traceparent`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What the caller of a run said about its trace. Carried on as it came, in the form of version 00: no span of ours
/// stands between the caller and the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace: u128,
    /// The caller's span; never zero.
    pub span: u64,
    /// Flags: of version 00 only the lowest bit says something, that the caller records.
    pub flags: u8,
}

/// A text that is no `traceparent`: whoever gets one goes on as without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct NoTraceParent;

impl TraceParent {
    /// Length of the fields that each version begins with.
    const LENGTH: usize = 55;
}

/// A number of as many lower-case hexadecimal digits as it has; others are none, by the specification.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let good = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    good.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// Reads one of this version or, as far as this one goes, of a later one.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let known = text.get(..Self::LENGTH).ok_or(NoTraceParent)?;
        let [version, trace, span, flags] = known.split('-').collect::<Vec<_>>()[..] else {
            return Err(NoTraceParent);
        };
        let version = hex(version, 2).filter(|version| *version != 0xff).ok_or(NoTraceParent)?;
        // A later version may say more, behind another minus sign; this one says no more.
        let rest = &text[Self::LENGTH..];
        if !rest.is_empty() && (version == 0 || !rest.starts_with('-')) {
            return Err(NoTraceParent);
        }
        let trace = hex(trace, 32).filter(|trace| *trace != 0).ok_or(NoTraceParent)?;
        let span = hex(span, 16).and_then(|span| u64::try_from(span).ok()).filter(|span| *span != 0);
        let flags = hex(flags, 2).and_then(|flags| u8::try_from(flags).ok());
        Ok(Self { trace, span: span.ok_or(NoTraceParent)?, flags: flags.ok_or(NoTraceParent)? })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the flag that this version knows may be passed on.
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags & 1)
    }
}

impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USUAL: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_specification_shows_is_read_and_written_as_it_was() {
        let read: TraceParent = USUAL.parse().unwrap();
        assert_eq!((read.span, read.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(read.to_string(), USUAL);
        assert_eq!(serde_json::from_value::<TraceParent>(serde_json::json!(USUAL)).unwrap(), read);
        // A later version is read as far as it is known, with flags of its own.
        let later = format!("cc{}-what the future will be like", &USUAL[2..]);
        assert_eq!(later.parse(), Ok(read));
        let flags = format!("{}ff", &USUAL[..53]);
        assert_eq!(flags.parse::<TraceParent>().unwrap().to_string(), USUAL);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NoTraceParent), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_reads_back(text in ".{0,70}", trace in 1u128.., span in 1u64.., flags in 0u8..2) {
            let _ = text.parse::<TraceParent>();
            let parent = TraceParent { trace, span, flags };
            prop_assert_eq!(parent.to_string().parse(), Ok(parent));
        }
    }
}
