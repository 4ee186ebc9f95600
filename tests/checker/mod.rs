//! The checker: judges a history from outside.
//!
//! It knows what jobs witnessed (each line one write to a file outside the data directory), what callers were
//! told, what the records say at the end and said in between, and which instants are due (by arithmetic of its
//! own). Of the engine it knows only the JSON that `punctual run list --output json` prints. The invariants are
//! those of `docs/durability.md`. Used by the crash tests and by the example `check_history`.

mod acknowledgements;
mod attempts;
mod dues;
mod ends;
pub(crate) mod history;
pub(crate) mod rule;

use history::History;
use std::fmt;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which invariant.
    pub(crate) invariant: &'static str,
    /// What is wrong, with names.
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// Where checks put what they find.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, invariant: &'static str, text: impl fmt::Display) {
        self.0.push(Violation { invariant, text: text.to_string() });
    }
}

/// All that is wrong with a history; nothing, if every promise was kept as far as can be seen.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut findings = Findings::default();
    dues::check(history, &mut findings);
    attempts::check(history, &mut findings);
    acknowledgements::check(history, &mut findings);
    ends::check(history, &mut findings);
    findings.0
}
