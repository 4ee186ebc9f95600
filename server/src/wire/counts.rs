//! How many runs of a task are in which state.

use punctual_coordinator as coordinator;
use punctual_model::RunStateName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many runs of a task are in which state; in the order of a life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunCounts {
    /// Those states in which there are any.
    pub states: BTreeMap<RunStateName, u64>,
    /// There are more than were counted; the older ones are not among the numbers.
    pub more: bool,
}

impl From<coordinator::RunCounts> for RunCounts {
    fn from(coordinator::RunCounts { states, more }: coordinator::RunCounts) -> Self {
        Self { states, more }
    }
}
