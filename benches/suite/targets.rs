//! What is asked of a figure.

use crate::report::number;
use serde::{Deserialize, Serialize};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    More,
    Less,
}

/// A floor, below which something is to be mended, and a goal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) better: Better,
    pub(crate) floor: f64,
    pub(crate) goal: f64,
}

impl Target {
    pub(crate) const fn at_least(floor: f64, goal: f64) -> Self {
        Self { better: Better::More, floor, goal }
    }

    pub(crate) const fn at_most(floor: f64, goal: f64) -> Self {
        Self { better: Better::Less, floor, goal }
    }

    pub(crate) fn verdict(&self, value: f64) -> String {
        let reached = |bound: f64| match self.better {
            Better::More => value >= bound,
            Better::Less => value <= bound,
        };
        let Self { floor, goal, .. } = *self;
        if reached(goal) {
            format!("goal {} reached", number(goal))
        } else if reached(floor) {
            format!("floor {} reached, goal {} missed", number(floor), number(goal))
        } else {
            format!("FLOOR {} MISSED, goal {}", number(floor), number(goal))
        }
    }
}
