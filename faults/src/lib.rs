//! Places where a test may let the process die, and defects that a test may seed to see whether the suite
//! notices. Without the feature `inject` all of it is constant and leaves no trace in the program.
//!
//! Floor 0 of the house: knows nothing of anybody; the rooms name their own points.

/// A defect that the suites must catch. Each stands at exactly one place in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Defect {
    /// The store answers before its sync.
    AnswerBeforeSync,
    /// The checkpoint is not part of the commit that makes the runs.
    CheckpointOutsideBatch,
    /// A write under an older epoch or attempt is taken.
    EpochUnchecked,
    /// A terminal record is overwritten.
    TerminalOverwritten,
    /// A promise resolves before the end is recorded.
    PromiseBeforeRecord,
    /// A due at a clock change is swallowed.
    DueSwallowedAtClockChange,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AnswerBeforeSync,
        Self::CheckpointOutsideBatch,
        Self::EpochUnchecked,
        Self::TerminalOverwritten,
        Self::PromiseBeforeRecord,
        Self::DueSwallowedAtClockChange,
    ];

    /// The name by which `PUNCTUAL_DEFECT` turns it on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnswerBeforeSync => "answer-before-sync",
            Self::CheckpointOutsideBatch => "checkpoint-outside-batch",
            Self::EpochUnchecked => "epoch-unchecked",
            Self::TerminalOverwritten => "terminal-overwritten",
            Self::PromiseBeforeRecord => "promise-before-record",
            Self::DueSwallowedAtClockChange => "due-swallowed-at-clock-change",
        }
    }
}

#[cfg(not(feature = "inject"))]
mod points {
    use super::Defect;

    /// Whether a test has seeded this defect; never, in a build that works for a living.
    #[inline(always)]
    #[must_use]
    pub const fn seeded(_: Defect) -> bool {
        false
    }

    /// A place where a test may let the process die.
    #[inline(always)]
    pub const fn crash_point(_: &'static str) {}
}

#[cfg(feature = "inject")]
mod points {
    use super::Defect;
    use std::cell::RefCell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    thread_local! {
        static HERE: RefCell<Vec<Defect>> = const { RefCell::new(Vec::new()) };
    }

    /// Whether this defect is seeded: for the whole process by `PUNCTUAL_DEFECT=name,name`, or for this thread
    /// by [`seed`].
    #[must_use]
    pub fn seeded(defect: Defect) -> bool {
        static EVERYWHERE: OnceLock<Vec<Defect>> = OnceLock::new();
        let everywhere = EVERYWHERE.get_or_init(|| {
            let named = std::env::var("PUNCTUAL_DEFECT").unwrap_or_default();
            Defect::ALL
                .into_iter()
                .filter(|defect| named.split(',').any(|name| name == defect.as_str()))
                .collect()
        });
        everywhere.contains(&defect) || HERE.with_borrow(|here| here.contains(&defect))
    }

    /// Seeds exactly these defects for the current thread: a simulation lives on one.
    pub fn seed(defects: &[Defect]) {
        HERE.with_borrow_mut(|here| *here = defects.to_vec());
    }

    /// A place where a test may let the process die: `PUNCTUAL_CRASH_AT=name:3` ends it, as `kill -9` would,
    /// when it comes by for the third time.
    pub fn crash_point(name: &'static str) {
        static AT: OnceLock<Option<(String, u64)>> = OnceLock::new();
        static SEEN: AtomicU64 = AtomicU64::new(0);
        let at = AT.get_or_init(|| {
            let text = std::env::var("PUNCTUAL_CRASH_AT").ok()?;
            let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
            Some((name.to_owned(), times.parse().unwrap_or(1)))
        });
        if let Some((wanted, times)) = at
            && wanted == name
            && SEEN.fetch_add(1, Ordering::SeqCst) + 1 == *times
        {
            // No destructor, no flush, no exit handler: what was not synced is as lost as after kill -9.
            std::process::abort();
        }
    }
}

pub use points::*;

#[cfg(all(test, feature = "inject"))]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_seeded_for_one_thread_only() {
        assert!(!seeded(Defect::EpochUnchecked));
        seed(&[Defect::EpochUnchecked]);
        assert!(seeded(Defect::EpochUnchecked));
        std::thread::spawn(|| assert!(!seeded(Defect::EpochUnchecked))).join().expect("the thread");
        seed(&[]);
        assert!(!seeded(Defect::EpochUnchecked));
    }
}
