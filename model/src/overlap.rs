//! What becomes of a due while an earlier run of its task is unfinished.

use crate::id::RunId;
use serde::{Deserialize, Serialize};

/// The policy of a task. All but `allow` mean at most one run at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Runs go side by side, up to the concurrency limit.
    #[default]
    Allow,
    /// The due is skipped.
    Skip,
    /// One run waits; later dues are skipped.
    QueueOne,
    /// Up to `max` runs wait; later dues are skipped.
    QueueAll {
        /// The most that wait.
        max: u32,
    },
    /// The unfinished run ends, waiting or at work, and the new one takes its place.
    Replace,
}

/// The unfinished runs of a task at the moment of a due, oldest first. A run that waits for its next attempt
/// counts as unfinished. Forced runs stand outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Runs that have been started: starting, running, stopping, or between two attempts.
    pub begun: Vec<RunId>,
    /// Runs that wait for their first start.
    pub waiting: Vec<RunId>,
    /// How many more wait than are listed.
    pub more_waiting: u64,
}

impl Unfinished {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.waiting.is_empty() && self.more_waiting == 0
    }

    fn count_waiting(&self) -> u64 {
        self.waiting.len() as u64 + self.more_waiting
    }
}

/// What to do with a due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverlapDecision {
    /// It becomes a run, which waits for its place if it must.
    Run,
    /// It becomes a record of why it did not run.
    Skip(SkipWhy),
    /// It becomes a run, and these end in the same commit.
    Replace(Vec<RunId>),
}

/// Why a due time did not become a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipWhy {
    /// An earlier run was unfinished.
    Unfinished(RunId),
    /// As many runs as allowed were waiting.
    QueueFull {
        /// How many waited.
        waiting: u64,
    },
}

/// Decides about one due of a task.
#[must_use]
pub fn decide(policy: Overlap, unfinished: &Unfinished) -> OverlapDecision {
    use OverlapDecision::{Replace, Run, Skip};
    let oldest = unfinished.begun.first().or(unfinished.waiting.first());
    let queue_up_to = |max: u64| match unfinished.count_waiting() {
        waiting if waiting < max => Run,
        waiting => Skip(SkipWhy::QueueFull { waiting }),
    };
    match (policy, oldest) {
        (Overlap::Allow, _) => Run,
        (_, None) if unfinished.more_waiting == 0 => Run,
        (Overlap::Skip, Some(run)) => Skip(SkipWhy::Unfinished(*run)),
        (Overlap::Skip, None) => Skip(SkipWhy::QueueFull { waiting: unfinished.more_waiting }),
        // Nothing at work: a single waiting run is the one whose turn it is, so one more may queue behind it
        // only once it has begun.
        (Overlap::QueueOne, _) => queue_up_to(1),
        (Overlap::QueueAll { max }, _) => queue_up_to(u64::from(max)),
        (Overlap::Replace, _) => {
            Replace(unfinished.begun.iter().chain(&unfinished.waiting).copied().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> RunId {
        RunId::new(n).unwrap()
    }

    fn unfinished(begun: &[u64], waiting: &[u64]) -> Unfinished {
        Unfinished {
            begun: begun.iter().map(|n| id(*n)).collect(),
            waiting: waiting.iter().map(|n| id(*n)).collect(),
            more_waiting: 0,
        }
    }

    #[test]
    fn each_policy_decides_by_what_is_unfinished() {
        use OverlapDecision::{Replace, Run, Skip};
        let full = |waiting| Skip(SkipWhy::QueueFull { waiting });
        let none = unfinished(&[], &[]);
        let at_work = unfinished(&[1], &[]);
        let waits = unfinished(&[], &[2]);
        let both = unfinished(&[1], &[2, 3]);
        for (policy, cases) in [
            (Overlap::Allow, [Run, Run, Run, Run]),
            (
                Overlap::Skip,
                [
                    Run,
                    Skip(SkipWhy::Unfinished(id(1))),
                    Skip(SkipWhy::Unfinished(id(2))),
                    Skip(SkipWhy::Unfinished(id(1))),
                ],
            ),
            (Overlap::QueueOne, [Run, Run, full(1), full(2)]),
            (Overlap::QueueAll { max: 2 }, [Run, Run, Run, full(2)]),
            (
                Overlap::Replace,
                [Run, Replace(vec![id(1)]), Replace(vec![id(2)]), Replace(vec![id(1), id(2), id(3)])],
            ),
        ] {
            for (state, expect) in [&none, &at_work, &waits, &both].into_iter().zip(cases) {
                assert_eq!(decide(policy, state), expect, "{policy:?} {state:?}");
            }
        }
    }
}
