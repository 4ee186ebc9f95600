//! A concurrency key shared by tasks: how many runs are at work under it, and which of the lanes that would
//! like to go may.

use crate::ledger::Lane;
use std::collections::{BTreeMap, BTreeSet};

/// A lane's place among all that may go: by priority, then by turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Negated priority: the highest comes first.
    pub(super) class: i16,
    pub(super) turn: u64,
    pub(super) lane: Lane,
}

/// Each lane brings the limit of its own task. At most one of them is among the queue's ready lanes: the first
/// by place of those whose limit has room. The others are parked and not looked at, however many they are; after
/// each change the next one is found.
#[derive(Debug, Default)]
pub(super) struct SharedKey {
    /// Runs at work or claimed under the key.
    pub(super) busy: u32,
    /// All lanes that would like to go, by limit. Tasks that share a key mostly agree about its limit, so there
    /// are few groups.
    lanes: BTreeMap<u32, BTreeSet<Place>>,
    going: Option<Place>,
}

impl SharedKey {
    pub(super) fn is_unused(&self) -> bool {
        self.busy == 0 && self.lanes.is_empty()
    }

    /// A lane wants to go; [`Self::balance`] decides.
    pub(super) fn enter(&mut self, place: Place, limit: u32) {
        self.lanes.entry(limit).or_default().insert(place);
    }

    /// A lane is gone.
    pub(super) fn leave(&mut self, place: Place, limit: u32) {
        if let Some(group) = self.lanes.get_mut(&limit) {
            group.remove(&place);
            if group.is_empty() {
                self.lanes.remove(&limit);
            }
        }
    }

    /// Makes the right lane go after any change; `ready` is the queue's own set of those. True if another one
    /// goes now.
    pub(super) fn balance(&mut self, ready: &mut BTreeSet<Place>) -> bool {
        let above = self.busy.checked_add(1);
        let roomy = above.into_iter().flat_map(|above| self.lanes.range(above..));
        let first = roomy.filter_map(|(_, group)| group.first().copied()).min();
        if first == self.going {
            return false;
        }
        if let Some(place) = std::mem::replace(&mut self.going, first) {
            ready.remove(&place);
        }
        ready.extend(first);
        first.is_some()
    }
}
