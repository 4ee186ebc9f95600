//! What a task may do, as the checker has to know it: when it is due, and what its policies allow.

use serde::{Deserialize, Serialize};

/// A second in nanoseconds.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) task: String,
    pub(crate) dues: Dues,
    /// Most of its runs that may be at work at once.
    #[serde(default)]
    pub(crate) at_once: Option<usize>,
    /// A limit that it shares with all tasks of the same key.
    #[serde(default)]
    pub(crate) shared: Option<(String, usize)>,
    /// Attempts after the first that failures may lead to.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// An attempt whose end nobody saw is followed by another.
    #[serde(default)]
    pub(crate) repeats_lost: bool,
    /// It has a timeout, so its work may be ended without a word.
    #[serde(default)]
    pub(crate) times_out: bool,
    /// Its runs may be ended though no caller asked for it: by a newer one, or with their task.
    #[serde(default)]
    pub(crate) displaced: bool,
    /// Most runs caught up after one downtime.
    #[serde(default)]
    pub(crate) caught_up: Option<usize>,
}

/// The independent list of due instants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dues {
    /// Every so many seconds of the epoch.
    Every(i64),
    /// At these seconds of each minute: a cron expression as a table.
    Seconds(Vec<i64>),
    /// Never by itself.
    Never,
}

impl Dues {
    /// Whether an instant, in nanoseconds of the epoch, is due.
    pub(crate) fn has(&self, at: i64) -> bool {
        let second = at.div_euclid(SECOND);
        at.rem_euclid(SECOND) == 0
            && match self {
                // The anchor, 0001-01-01T00:00Z, lies so many whole days before the epoch.
                Self::Every(every) => (second + 719_162 * 86_400).rem_euclid(*every) == 0,
                Self::Seconds(seconds) => seconds.contains(&second.rem_euclid(60)),
                Self::Never => false,
            }
    }

    /// The instants after `from`, up to `to`.
    pub(crate) fn between(&self, from: i64, to: i64) -> impl Iterator<Item = i64> {
        let (first, last) = (from.div_euclid(SECOND) + 1, to.div_euclid(SECOND));
        (first..=last).map(|second| second * SECOND).filter(|at| self.has(*at))
    }
}
