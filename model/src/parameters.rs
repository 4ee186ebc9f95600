//! What a run of a task takes when somebody asks for it: whether parameters at all, and which.
//!
//! Part of the definition, judged with it; what comes with a run is judged by it when the run is asked for, and again
//! when it is asked for once more. A run that was accepted is never judged again: not by its restarts, nor by a
//! definition that changes while it waits. A task that declares nothing takes anything.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run takes. Dues bring no parameters, so a task with a schedule can require none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parameters {
    /// Whether any are to be given.
    #[serde(skip_serializing_if = "Payload::is_optional")]
    pub payload: Payload,
    /// Names without which no run is accepted; what is given for one, be it null, is the work's business.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    /// Names that may be given too. As soon as there are names, here or in `required`, no others are taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<String>,
}

impl Parameters {
    /// Most names of each list: a run has [`Run::MAX_PARAMS`](crate::Run::MAX_PARAMS) bytes for their values.
    pub const MAX_NAMES: usize = 64;

    /// Whether nothing is declared, so that anything is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether no run is accepted without parameters.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.payload == Payload::Required || !self.required.is_empty()
    }

    /// All names, the required ones first; none means that any are taken, unless none at all may be given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.required.iter().chain(&self.optional).map(String::as_str)
    }
}

/// In words, without what introduces them: `region (required), dry_run`.
impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload {
            Payload::Forbidden => return f.write_str("none"),
            Payload::Required if self.names().next().is_none() => return f.write_str("any, at least one"),
            Payload::Optional if self.names().next().is_none() => return f.write_str("any"),
            Payload::Required | Payload::Optional => {}
        }
        for (n, name) in self.names().enumerate() {
            f.write_str(if n == 0 { "" } else { ", " })?;
            f.write_str(name)?;
            f.write_str(if n < self.required.len() { " (required)" } else { "" })?;
        }
        let one_of = self.payload == Payload::Required && self.required.is_empty();
        f.write_str(if one_of { ", at least one" } else { "" })
    }
}

/// Whether parameters are to be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// They may be.
    #[default]
    Optional,
    /// At least one has to be.
    Required,
    /// None may be.
    Forbidden,
}

impl Payload {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_optional(&self) -> bool {
        *self == Self::Optional
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn they_are_said_in_words() {
        for (written, words, asks) in [
            (json!({}), "any", false),
            (json!({"payload": "required"}), "any, at least one", true),
            (json!({"payload": "forbidden"}), "none", false),
            (json!({"required": ["a", "b"], "optional": ["c"]}), "a (required), b (required), c", true),
            (json!({"optional": ["c", "d"]}), "c, d", false),
            (json!({"payload": "required", "optional": ["c"]}), "c, at least one", true),
        ] {
            let parameters: Parameters = serde_json::from_value(written.clone()).unwrap();
            assert_eq!((parameters.to_string().as_str(), parameters.asks()), (words, asks));
            assert_eq!(parameters.is_empty(), words == "any");
            assert_eq!(serde_json::to_value(parameters).unwrap(), written);
        }
    }
}
