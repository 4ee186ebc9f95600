//! What the runner of attempts knows of one run besides its public record: what its hooks have stored. Kept with
//! the run, written when it has changed; where there is none, or none that can be read, everything starts anew.

use crate::hook::Prestarted;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The local state of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Local {
    /// What each hook did before the start, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hooks: BTreeMap<String, Prestarted>,
}

impl Local {
    /// What was stored.
    pub(super) fn restore(stored: &Value) -> Self {
        if stored.is_null() {
            return Self::default();
        }
        Self::deserialize(stored).unwrap_or_else(|error| {
            tracing::warn!(%error, "the local state of the run cannot be read; its hooks start anew");
            Self::default()
        })
    }

    /// As it is stored.
    pub(super) fn stored(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// What a hook did when it was asked last.
    pub(super) fn did(&self, hook: &str) -> Option<&Prestarted> {
        self.hooks.get(hook)
    }

    /// What a hook did, if it need not be asked again.
    pub(super) fn done(&self, hook: &str) -> Option<&Prestarted> {
        self.hooks.get(hook).filter(|did| did.done)
    }

    /// What a hook has stored.
    pub(super) fn state(&self, hook: &str) -> BTreeMap<String, String> {
        self.hooks.get(hook).map(|did| did.state.clone()).unwrap_or_default()
    }

    /// Remembers what a hook did; answers whether that is anything new.
    pub(super) fn remember(&mut self, hook: &str, did: Prestarted) -> bool {
        let nothing = did == Prestarted::default();
        if nothing {
            return self.hooks.remove(hook).is_some();
        }
        if self.hooks.get(hook) == Some(&did) {
            return false;
        }
        self.hooks.insert(hook.to_owned(), did);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// TR32: what is not there, or cannot be read, is empty and no error.
    #[test]
    fn what_is_missing_or_cannot_be_read_starts_anew() {
        for stored in [Value::Null, json!({}), json!("garbage"), json!({"hooks": [1]}), json!({"later": 1})] {
            assert_eq!(Local::restore(&stored), Local::default(), "{stored}");
        }
    }

    #[test]
    fn only_what_is_new_is_worth_a_write_and_it_reads_back() {
        let mut local = Local::default();
        assert!(!local.remember("a", Prestarted::default()), "nothing is nothing new");
        let did = Prestarted {
            done: true,
            env: BTreeMap::from([("A".into(), "1".into())]),
            ..Prestarted::default()
        };
        assert!(local.remember("a", did.clone()));
        assert!(!local.remember("a", did.clone()));
        let again = Local::restore(&local.stored());
        assert_eq!(again, local);
        assert_eq!(again.done("a"), Some(&did));
        assert_eq!(again.done("b"), None);
        assert!(local.remember("a", Prestarted::default()));
        assert_eq!(local.stored(), json!({}));
    }
}
