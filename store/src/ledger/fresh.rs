//! Runs that were written lately and wait, so that a claim that follows soon reads none from the tables.
//!
//! Every write passes here, so what is here is what the tables have.

use super::size;
use punctual_model::{Run, RunId};
use std::collections::HashMap;
use std::sync::Arc;

/// Most runs in each of the two generations: as many callers as wait for the start of theirs at once.
const GENERATION: usize = 1_024;
/// Larger runs are read again: two generations of these are a few megabytes.
const LARGE: usize = 2_048;

/// In two generations: the older one goes when the younger one is full.
#[derive(Debug, Default)]
pub(super) struct FreshRuns {
    young: HashMap<RunId, Arc<Run>>,
    old: HashMap<RunId, Arc<Run>>,
}

impl FreshRuns {
    /// The run is this now, and waits.
    pub(super) fn keep(&mut self, run: Arc<Run>) {
        self.take(run.id);
        if size::of_run(&run) > LARGE {
            return;
        }
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(run.id, run);
    }

    /// Takes it out: it is wanted, or it is another one now.
    pub(super) fn take(&mut self, id: RunId) -> Option<Arc<Run>> {
        self.young.remove(&id).or_else(|| self.old.remove(&id))
    }
}
