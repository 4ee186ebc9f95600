//! Identities: 64 bits, sorted by time of creation, shown as 16 hex digits. Never zero, never reused.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid id {text:?}: expected 16 hexadecimal digits, not all zero")]
pub struct ParseIdError {
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The id with this number; zero is none.
            #[must_use]
            pub fn new(number: u64) -> Option<Self> {
                NonZeroU64::new(number).map(Self)
            }

            /// The number behind the id.
            #[must_use]
            pub fn get(self) -> u64 {
                self.0.get()
            }

            /// Big endian, so that keys sort as ids do.
            #[must_use]
            pub fn to_key(self) -> [u8; 8] {
                self.get().to_be_bytes()
            }

            /// Reads what [`Self::to_key`] wrote.
            #[must_use]
            pub fn from_key(key: [u8; 8]) -> Option<Self> {
                Self::new(u64::from_be_bytes(key))
            }
        }

        impl From<NonZeroU64> for $name {
            fn from(number: NonZeroU64) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let valid = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
                valid
                    .then(|| u64::from_str_radix(text, 16).ok())
                    .flatten()
                    .and_then(Self::new)
                    .ok_or_else(|| ParseIdError { text: text.chars().take(32).collect() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

id! {
    /// A task, for good: a deleted task's id is never given out again.
    TaskId
}
id! {
    /// A run; the same through all its attempts.
    RunId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_sixteen_hex_digits_and_never_zero() {
        let id = TaskId::new(0x0123_4567_89ab_cdef).unwrap();
        assert_eq!(id.to_string(), "0123456789abcdef");
        assert_eq!("0123456789abcdef".parse(), Ok(id));
        assert_eq!(TaskId::from_key(id.to_key()), Some(id));
        for bad in ["", "0", "0000000000000000", "0123456789abcde", "0123456789abcdeg", "+123456789abcdef"] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
    }
}
