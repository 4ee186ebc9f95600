//! What is done to daemons, and what has to hold afterwards.

mod kills;
mod pauses;
mod points;
mod reattach;

use crate::chance::Chance;
use std::collections::BTreeMap;

/// A name and what it does.
pub(crate) type Scenario = (&'static str, Box<dyn FnOnce(Chance) -> Met + Send>);

/// In which states kills have met runs, and how often.
#[derive(Debug, Default)]
pub(crate) struct Met(pub(crate) BTreeMap<&'static str, usize>);

/// Least meetings of each state in the whole suite.
const LEAST: usize = 20;

impl Met {
    pub(crate) fn add(&mut self, other: Self) {
        for (state, times) in other.0 {
            *self.0.entry(state).or_default() += times;
        }
    }

    /// Tells, and answers whether it is enough.
    pub(crate) fn tell(&self) -> bool {
        println!("runs that a kill met: {:?}", self.0);
        let mut enough = true;
        for state in ["waiting", "starting", "running", "stopping", "between exit and record"] {
            let times = self.0.get(state).copied().unwrap_or_default();
            if times < LEAST {
                println!("only {times} were {state}, at least {LEAST} are wanted");
                enough = false;
            }
        }
        enough
    }
}

/// All of them.
pub(crate) fn all(cycles: u64) -> Vec<Scenario> {
    vec![
        ("kills", Box::new(move |chance| kills::random(chance, cycles))),
        ("points", Box::new(points::each_point)),
        ("recovery", Box::new(kills::in_recovery)),
        ("deletion", Box::new(points::while_deleting)),
        ("making", Box::new(points::while_making)),
        ("prune", Box::new(points::while_pruning)),
        ("reattach", Box::new(reattach::a_hundred)),
        ("pauses", Box::new(pauses::longer_than_any_timeout)),
        ("two", Box::new(pauses::two_daemons)),
    ]
}
