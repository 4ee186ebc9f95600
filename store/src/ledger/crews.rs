//! Who is at work, as it is stored: one record for all runs that began in one commit.
//!
//! A mark of its own for each run, written when it begins and removed when it ends, is a third of all that a short run
//! writes. So the runs that begin together share a record, their *crew*, and whoever leaves it writes nothing: that it
//! works no more is in its own record. Once all have left, the next crew is written in its place.

use super::batch::Batch;
use punctual_model::RunId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most runs in a crew. One of them that works for weeks keeps the record of all, and each start looks at all their
/// records once: so not thousands. One record for this many is next to nothing already.
const CREW: usize = 64;

/// The crews of the runs at work.
#[derive(Debug, Default)]
pub(super) struct Crews {
    /// Run → the crew that it is in.
    of: HashMap<RunId, u64>,
    /// Crew → how many of its runs are at work still; never 0.
    working: BTreeMap<u64, usize>,
    /// Crews that all have left: the next ones take their places.
    free: BTreeSet<u64>,
    highest: u64,
}

impl Crews {
    /// A stored crew, of which these are at work still, and so many cannot be read: for their sake it stays. Crews are
    /// told in the order of their numbers; who is in two of them began anew in the later one or in an earlier place.
    pub(super) fn restore(&mut self, crew: u64, working: &[RunId], unreadable: usize) {
        self.highest = self.highest.max(crew);
        self.free.insert(crew);
        if unreadable > 0 {
            self.free.remove(&crew);
            self.working.insert(crew, unreadable);
        }
        for run in working {
            // One record of it is enough.
            self.leave_silently(*run);
            self.join(crew, *run);
        }
    }

    /// A run begins.
    pub(super) fn enter(&mut self, run: RunId, batch: &mut Batch) {
        self.leave(run, batch);
        let open =
            batch.crew.filter(|crew| batch.crews.get(crew).is_some_and(|runs| has_room(runs.as_ref())));
        let crew = open.unwrap_or_else(|| {
            self.free.pop_first().unwrap_or_else(|| {
                self.highest += 1;
                self.highest
            })
        });
        batch.crew = Some(crew);
        // What a removal of this batch was about is written over now.
        batch.crews.entry(crew).or_default().get_or_insert_default().push(run);
        self.join(crew, run);
    }

    /// A run is at work no more.
    pub(super) fn leave(&mut self, run: RunId, batch: &mut Batch) {
        let Some(emptied) = self.leave_silently(run) else { return };
        // A crew of this batch that nobody is in any more is not even written.
        batch.crews.remove(&emptied);
        batch.crew = batch.crew.filter(|crew| *crew != emptied);
    }

    /// Removes the records of all crews that have no members.
    pub(super) fn sweep(&mut self, batch: &mut Batch) {
        batch.crews.extend(std::mem::take(&mut self.free).into_iter().map(|crew| (crew, None)));
    }

    fn join(&mut self, crew: u64, run: RunId) {
        self.free.remove(&crew);
        *self.working.entry(crew).or_default() += 1;
        self.of.insert(run, crew);
    }

    /// The crew that is without members now.
    fn leave_silently(&mut self, run: RunId) -> Option<u64> {
        let crew = self.of.remove(&run)?;
        let working = self.working.get_mut(&crew)?;
        *working -= 1;
        if *working > 0 {
            return None;
        }
        self.working.remove(&crew);
        self.free.insert(crew);
        Some(crew)
    }
}

fn has_room(runs: Option<&Vec<RunId>>) -> bool {
    runs.is_some_and(|runs| runs.len() < CREW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(id: u64) -> RunId {
        RunId::new(id).unwrap()
    }

    /// What is stored of the crews.
    type Stored = BTreeMap<u64, Vec<RunId>>;

    fn commit(stored: &mut Stored, batch: Batch) {
        for (crew, runs) in batch.crews {
            match runs {
                Some(runs) => drop(stored.insert(crew, runs)),
                None => drop(stored.remove(&crew)),
            }
        }
    }

    fn reopened(stored: &Stored, working: &BTreeSet<RunId>) -> Crews {
        let mut crews = Crews::default();
        for (crew, runs) in stored {
            let working: Vec<_> = runs.iter().filter(|run| working.contains(run)).copied().collect();
            crews.restore(*crew, &working, 0);
        }
        crews
    }

    #[test]
    fn whoever_begins_together_shares_a_record_and_the_next_ones_take_its_place() {
        let (mut crews, mut stored) = (Crews::default(), Stored::new());
        for _ in 0..10 {
            let mut batch = Batch::new();
            (1..=100).for_each(|id| crews.enter(run(id), &mut batch));
            assert_eq!(batch.crews.values().flatten().map(Vec::len).collect::<Vec<_>>(), [CREW, 100 - CREW]);
            commit(&mut stored, batch);
            let mut batch = Batch::new();
            (1..=100).for_each(|id| crews.leave(run(id), &mut batch));
            assert!(batch.crews.is_empty(), "{:?}", batch.crews);
        }
        assert_eq!(stored.len(), 2);
        let mut batch = Batch::new();
        crews.sweep(&mut batch);
        commit(&mut stored, batch);
        assert!(stored.is_empty(), "{stored:?}");
    }

    #[test]
    fn a_crew_with_a_run_that_cannot_be_read_stays() {
        let mut crews = Crews::default();
        crews.restore(3, &[run(1)], 1);
        crews.restore(4, &[], 0);
        let mut batch = Batch::new();
        crews.leave(run(1), &mut batch);
        crews.sweep(&mut batch);
        assert_eq!(batch.crews, [(4, None)].into());
        crews.enter(run(2), &mut batch);
        assert_eq!(batch.crews, [(4, None), (5, Some(vec![run(2)]))].into());
    }

    proptest! {
        /// Whatever begins and ends in whatever batches, with starts of the store in between: each run at work is in
        /// a stored crew, no crew is too large, and none is kept without need.
        #[test]
        fn the_stored_crews_hold_all_runs_at_work(
            batches in proptest::collection::vec(
                (proptest::collection::vec((1u64..200, any::<bool>()), 0..150), prop::bool::weighted(0.1)),
                1..40,
            ),
        ) {
            let (mut crews, mut stored, mut working) = (Crews::default(), Stored::new(), BTreeSet::new());
            for (steps, is_opened) in batches {
                let mut batch = Batch::new();
                if is_opened {
                    crews = reopened(&stored, &working);
                    crews.sweep(&mut batch);
                }
                for (id, begins) in steps {
                    if begins {
                        crews.enter(run(id), &mut batch);
                        working.insert(run(id));
                    } else {
                        crews.leave(run(id), &mut batch);
                        working.remove(&run(id));
                    }
                }
                commit(&mut stored, batch);
                let known: BTreeSet<_> = stored.values().flatten().copied().collect();
                prop_assert!(working.is_subset(&known), "{:?}", working.difference(&known));
                prop_assert!(stored.values().all(|runs| runs.len() <= CREW));
                prop_assert!(stored.keys().all(|crew| crews.working.contains_key(crew) || crews.free.contains(crew)));
                prop_assert_eq!(crews.working.values().sum::<usize>(), working.len());
            }
        }
    }
}
