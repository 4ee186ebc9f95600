//! What runs came to since the store was opened, as numbers for whoever exports them.
//!
//! Counted where a step of a run's life becomes durable, and nowhere else: whoever ends a run, and however often
//! it is told, it counts once. Knows no metrics system.

use punctual_model::{RunStateName, Trigger};
use std::time::Duration;

/// Types of tasks that are counted apart; types are set by systems, so there are a few. What goes beyond is
/// counted together, under [`OTHER`], lest a mistake of a system fill a metrics database.
pub const MAX_TYPES: usize = 16;

/// What the types beyond [`MAX_TYPES`] are counted under.
pub const OTHER: &str = "other";

/// Most bounds of a [`Histogram`].
const MAX_BOUNDS: usize = 12;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// From what a punctual start takes to what nobody would call late any more but missed.
const DELAYS: &[Duration] =
    &[ms(1), ms(5), ms(25), ms(100), ms(500), ms(1_000), ms(5_000), ms(30_000), ms(60_000), ms(600_000)];

/// From a handler's moment to a night's work.
const DURATIONS: &[Duration] = &[
    ms(5),
    ms(50),
    ms(250),
    ms(1_000),
    ms(5_000),
    ms(30_000),
    ms(60_000),
    ms(300_000),
    ms(900_000),
    ms(3_600_000),
    ms(21_600_000),
];

/// From a fast disk's sync to one that needs help.
const COMMITS: &[Duration] =
    &[ms(1), ms(2), ms(5), ms(10), ms(25), ms(50), ms(100), ms(250), ms(1_000), ms(5_000)];

/// How many durations fell between which bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static [Duration],
    counts: [u64; MAX_BOUNDS + 1],
    sum: Duration,
}

impl Histogram {
    const fn new(bounds: &'static [Duration]) -> Self {
        assert!(bounds.len() <= MAX_BOUNDS);
        Self { bounds, counts: [0; MAX_BOUNDS + 1], sum: Duration::ZERO }
    }

    pub(crate) fn observe(&mut self, value: Duration) {
        let slot = self.bounds.iter().take_while(|bound| **bound < value).count();
        self.counts[slot] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// How many were at most this bound and above the one before; the last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        self.bounds.iter().map(|bound| Some(*bound)).chain([None]).zip(self.counts)
    }
}

/// The numbers of all runs of one type of task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeTally {
    ended: [[u64; TRIGGERS.len()]; ENDS.len()],
    duration: [Histogram; ENDS.len()],
    /// From when a run was to start until it was started, of first attempts.
    pub start_delay: Histogram,
    /// Attempts that were begun.
    pub attempts: u64,
}

/// What a run may end as.
const ENDS: [RunStateName; 7] = [
    RunStateName::Succeeded,
    RunStateName::Failed,
    RunStateName::TimedOut,
    RunStateName::Canceled,
    RunStateName::Lost,
    RunStateName::Skipped,
    RunStateName::Missed,
];

/// The names of all triggers, in the order of [`place_of`].
const TRIGGERS: [&str; 7] =
    ["schedule", "catch_up", "manual", "retry", "resume", "on_failure", "on_recovered"];

fn place_of(trigger: Trigger) -> usize {
    match trigger {
        Trigger::Schedule => 0,
        Trigger::CatchUp => 1,
        Trigger::Manual => 2,
        Trigger::Retry { .. } => 3,
        Trigger::Resume { .. } => 4,
        Trigger::OnFailure { .. } => 5,
        Trigger::OnRecovered { .. } => 6,
    }
}

impl Default for TypeTally {
    fn default() -> Self {
        Self {
            ended: Default::default(),
            duration: [Histogram::new(DURATIONS); ENDS.len()],
            start_delay: Histogram::new(DELAYS),
            attempts: 0,
        }
    }
}

impl TypeTally {
    /// Runs that ended: as what, why they existed, how many. Only what there was.
    pub fn ended(&self) -> impl Iterator<Item = (RunStateName, &'static str, u64)> {
        let all = ENDS.iter().zip(&self.ended).flat_map(|(state, counts)| {
            TRIGGERS.iter().zip(counts).map(|(trigger, count)| (*state, *trigger, *count))
        });
        all.filter(|(_, _, count)| *count > 0)
    }

    /// How long the last attempts of runs were at work, by how they ended. Only what there was.
    pub fn duration(&self) -> impl Iterator<Item = (RunStateName, &Histogram)> {
        ENDS.iter().copied().zip(&self.duration).filter(|(_, duration)| duration.count() > 0)
    }
}

/// All numbers at one moment. They only rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tallies {
    types: Vec<(String, TypeTally)>,
    /// Dues that `Missed` records stand for.
    pub missed_dues: u64,
    /// From handing a batch to the disk until it was durable; nothing where there is no disk.
    pub commit: Histogram,
}

impl Default for Tallies {
    fn default() -> Self {
        Self { types: Vec::new(), missed_dues: 0, commit: Histogram::new(COMMITS) }
    }
}

impl Tallies {
    /// By type of task, in the order in which the types were met.
    pub fn types(&self) -> impl Iterator<Item = (&str, &TypeTally)> {
        self.types.iter().map(|(name, tally)| (name.as_str(), tally))
    }

    /// Where a type's runs are counted.
    pub(crate) fn of(&mut self, kind: &str) -> &mut TypeTally {
        let place = self.types.iter().position(|(name, _)| name == kind).unwrap_or_else(|| {
            let name = if self.types.len() < MAX_TYPES { kind } else { OTHER };
            self.types.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
                self.types.push((name.to_owned(), TypeTally::default()));
                self.types.len() - 1
            })
        });
        &mut self.types[place].1
    }
}

/// A step of a run's life that is counted once it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// An attempt began; of the first one, how long after the run was to start.
    Began(Option<Duration>),
    /// The run ended, and how long its last attempt was at work, if there was one.
    Ended(RunStateName, Trigger, Option<Duration>),
}

impl TypeTally {
    pub(crate) fn count(&mut self, step: Step) {
        match step {
            Step::Began(delay) => {
                self.attempts += 1;
                if let Some(delay) = delay {
                    self.start_delay.observe(delay);
                }
            }
            Step::Ended(state, trigger, took) => {
                let Some(place) = ENDS.iter().position(|end| *end == state) else { return };
                self.ended[place][place_of(trigger)] += 1;
                if let Some(took) = took {
                    self.duration[place].observe(took);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_model::RunId;

    #[test]
    fn a_value_on_a_bound_belongs_below_it_and_nothing_falls_between() {
        let mut histogram = Histogram::new(DELAYS);
        for value in [ms(0), ms(1), ms(2), ms(600_000), ms(600_001), Duration::MAX] {
            histogram.observe(value);
        }
        let counts: Vec<_> = histogram.buckets().collect();
        assert_eq!(counts.len(), DELAYS.len() + 1);
        assert_eq!((counts[0], counts[1]), ((Some(ms(1)), 2), (Some(ms(5)), 1)));
        assert_eq!((counts[9], counts[10]), ((Some(ms(600_000)), 1), (None, 2)));
        assert_eq!((histogram.count(), histogram.sum()), (6, Duration::MAX));
    }

    #[test]
    fn types_beyond_the_bound_are_counted_together() {
        let mut tallies = Tallies::default();
        for n in 0..1_000 {
            tallies.of(&format!("type-{n}")).count(Step::Began(None));
        }
        let types: Vec<_> = tallies.types().map(|(name, tally)| (name.to_owned(), tally.attempts)).collect();
        assert_eq!(types.len(), MAX_TYPES + 1);
        assert_eq!(types[MAX_TYPES], (OTHER.to_owned(), 1_000 - MAX_TYPES as u64));
    }

    #[test]
    fn every_end_and_every_trigger_has_its_place() {
        let of = RunId::new(1).unwrap();
        let triggers = [
            Trigger::Schedule,
            Trigger::CatchUp,
            Trigger::Manual,
            Trigger::Retry { of },
            Trigger::Resume { of },
            Trigger::OnFailure { of },
            Trigger::OnRecovered { of },
        ];
        let mut tally = TypeTally::default();
        for state in RunStateName::ALL.into_iter().filter(|state| state.is_terminal()) {
            for trigger in triggers {
                tally.count(Step::Ended(state, trigger, None));
                assert_eq!(TRIGGERS[place_of(trigger)], trigger.as_str());
            }
        }
        assert_eq!(tally.ended().map(|(_, _, count)| count).collect::<Vec<_>>(), [1; 49]);
        assert_eq!(tally.duration().count(), 0);
    }
}
