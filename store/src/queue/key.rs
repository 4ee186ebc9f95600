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

/// Each lane brings the limit of its own task. As many lanes may go as there are places left for them; the
/// others are parked and not looked at, however many they are.
#[derive(Debug, Default)]
pub(super) struct SharedKey {
    /// Runs at work or claimed under the key.
    pub(super) busy: u32,
    going: Groups,
    parked: Groups,
}

/// Places by limit. Tasks that share a key mostly agree about its limit, so there are few groups.
#[derive(Debug, Default)]
struct Groups {
    by_limit: BTreeMap<u32, BTreeSet<Place>>,
    len: u32,
}

impl Groups {
    fn insert(&mut self, limit: u32, place: Place) {
        if self.by_limit.entry(limit).or_default().insert(place) {
            self.len += 1;
        }
    }

    fn remove(&mut self, limit: u32, place: &Place) -> bool {
        let Some(group) = self.by_limit.get_mut(&limit) else { return false };
        let removed = group.remove(place);
        if removed {
            self.len -= 1;
            if group.is_empty() {
                self.by_limit.remove(&limit);
            }
        }
        removed
    }

    /// The first place of all whose limit is above this.
    fn first_above(&self, limit: u32) -> Option<(Place, u32)> {
        let above = limit.checked_add(1)?;
        self.by_limit.range(above..).filter_map(|(limit, group)| Some((*group.first()?, *limit))).min()
    }

    fn last(&self) -> Option<(Place, u32)> {
        self.by_limit.iter().filter_map(|(limit, group)| Some((*group.last()?, *limit))).max()
    }

    /// One place whose limit is not above this.
    fn any_up_to(&self, limit: u32) -> Option<(Place, u32)> {
        let (limit, group) = self.by_limit.range(..=limit).next()?;
        Some((*group.first()?, *limit))
    }
}

impl SharedKey {
    pub(super) fn is_unused(&self) -> bool {
        self.busy == 0 && self.going.len == 0 && self.parked.len == 0
    }

    /// A lane wants to go; [`Self::balance`] decides.
    pub(super) fn enter(&mut self, place: Place, limit: u32) {
        self.parked.insert(limit, place);
    }

    /// A lane is gone. True if it was among those that may go.
    pub(super) fn leave(&mut self, place: Place, limit: u32) -> bool {
        self.going.remove(limit, &place) || {
            self.parked.remove(limit, &place);
            false
        }
    }

    /// Makes the right lanes go after any change; `ready` is the queue's own set of them. True if any is new
    /// in it.
    pub(super) fn balance(&mut self, ready: &mut BTreeSet<Place>) -> bool {
        while let Some((place, limit)) = self.going.any_up_to(self.busy) {
            self.park(place, limit, ready);
        }
        let mut stirred = false;
        loop {
            let taken = self.busy.saturating_add(self.going.len);
            if let Some((place, limit)) = self.parked.first_above(taken) {
                self.go(place, limit, ready);
                stirred = true;
                continue;
            }
            // No place is left, yet one that comes earlier may have the place of the last.
            let Some((last, last_limit)) = self.going.last() else { return stirred };
            match self.parked.first_above(taken - 1) {
                Some((place, limit)) if place < last => {
                    self.park(last, last_limit, ready);
                    self.go(place, limit, ready);
                    stirred = true;
                }
                _ => return stirred,
            }
        }
    }

    fn go(&mut self, place: Place, limit: u32, ready: &mut BTreeSet<Place>) {
        self.parked.remove(limit, &place);
        self.going.insert(limit, place);
        ready.insert(place);
    }

    fn park(&mut self, place: Place, limit: u32, ready: &mut BTreeSet<Place>) {
        self.going.remove(limit, &place);
        self.parked.insert(limit, place);
        ready.remove(&place);
    }
}
