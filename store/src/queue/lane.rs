//! One lane: the waiting runs of one task and kind. The first few dozen are in memory in order, the rest is
//! counted and comes from the open index when it is needed.

use crate::ledger::OpenKey;
use jiff::Timestamp;
use punctual_model::RunId;
use std::collections::{BTreeSet, VecDeque};

/// Waiting runs of a lane that are fetched at once. Each time costs as much as thirty entries of the index do.
pub(crate) const FRONT: usize = 128;
/// Most of a lane in memory: it takes so many before any are left to the index, and one that gets runs out of order
/// is cut back to its front. Small enough that ten thousand full lanes are 80 MB.
const SPILL: usize = 2 * FRONT;

/// A waiting run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    /// When it is ready.
    pub(crate) ready: Timestamp,
    /// The run.
    pub(crate) run: RunId,
    /// It was started before and waits for its next attempt.
    pub(crate) begun: bool,
}

/// The order within a lane.
pub(crate) type ItemKey = (Timestamp, RunId);

impl Item {
    pub(crate) fn key(&self) -> ItemKey {
        (self.ready, self.run)
    }

    pub(crate) fn of(key: OpenKey, begun: bool) -> Self {
        Self { ready: key.ready, run: key.run, begun }
    }
}

/// Where the queue keeps a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Nowhere: empty, hungry, or of a deleted task.
    Out,
    /// Among the timers, until its first run is ready.
    Timer(Timestamp),
    /// Its task's own limits hold it back; looked at again whenever anything about the task changes.
    Held,
    /// With the shared key, which decides whether it may go.
    Keyed,
    /// Among those that may go.
    Ready,
}

#[derive(Debug)]
pub(super) struct LaneQueue {
    /// In ascending order of key; everything else that waits comes after all of these.
    front: VecDeque<Item>,
    /// Its turn among the lanes of its priority.
    pub(super) turn: u64,
    pub(super) position: Position,
    /// Only lanes that are longer than their front, or whose runs restart, need more.
    deep: Option<Box<Deep>>,
}

#[derive(Debug)]
struct Deep {
    /// How many more wait than are in front.
    behind: u64,
    /// All that wait up to this key are in front; meaningful while any are behind.
    edge: ItemKey,
    /// Those of the lane that wait for a further attempt, in front or behind.
    between: BTreeSet<RunId>,
}

impl LaneQueue {
    pub(super) fn new() -> Self {
        Self { front: VecDeque::new(), turn: 0, position: Position::Out, deep: None }
    }

    pub(super) fn head(&self) -> Option<&Item> {
        self.front.front()
    }

    pub(super) fn front(&self) -> impl Iterator<Item = &Item> {
        self.front.iter()
    }

    pub(super) fn behind(&self) -> u64 {
        self.deep.as_ref().map_or(0, |deep| deep.behind)
    }

    pub(super) fn len(&self) -> u64 {
        self.front.len() as u64 + self.behind()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has to be refilled before it can go on.
    pub(super) fn is_hungry(&self) -> bool {
        self.front.is_empty() && self.behind() > 0
    }

    /// Where the next waiting run is to be looked for, at the earliest.
    pub(super) fn low(&self) -> Option<ItemKey> {
        match (self.front.front(), &self.deep) {
            (Some(item), _) => Some(item.key()),
            (None, Some(deep)) if deep.behind > 0 => Some(deep.edge),
            (None, _) => None,
        }
    }

    pub(super) fn between(&self) -> impl Iterator<Item = RunId> {
        self.deep.iter().flat_map(|deep| deep.between.iter().copied())
    }

    fn deep(&mut self, edge: ItemKey) -> &mut Deep {
        self.deep.get_or_insert_with(|| Box::new(Deep { behind: 0, edge, between: BTreeSet::new() }))
    }

    pub(super) fn insert(&mut self, item: Item) {
        if item.begun {
            self.deep(item.key()).between.insert(item.run);
        }
        if let Some(deep) = self.deep.as_mut().filter(|deep| deep.behind > 0) {
            if item.key() > deep.edge {
                deep.behind += 1;
                return;
            }
        } else if self.front.len() >= SPILL
            && let Some(edge) = self.front.back().map(Item::key)
            && item.key() > edge
        {
            let deep = self.deep(edge);
            deep.edge = edge;
            deep.behind = 1;
            return;
        }
        let at = self.front.partition_point(|other| other.key() < item.key());
        if self.front.capacity() == 0 {
            // Most lanes of a large installation hold one run.
            self.front.reserve_exact(1);
        }
        self.front.insert(at, item);
        if self.front.len() > SPILL {
            self.front.truncate(FRONT);
            if let Some(edge) = self.front.back().map(Item::key) {
                let deep = self.deep(edge);
                deep.edge = edge;
                deep.behind += (SPILL + 1 - FRONT) as u64;
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.front.pop_front()?;
        self.forget(item.run);
        Some(item)
    }

    /// Removes a waiting run that is in front or behind. False if there is none it could be.
    pub(super) fn remove(&mut self, key: ItemKey) -> bool {
        let found = if let Ok(at) = self.front.binary_search_by_key(&key, Item::key) {
            self.front.remove(at);
            true
        } else {
            match &mut self.deep {
                Some(deep) if deep.behind > 0 && key > deep.edge => {
                    deep.behind -= 1;
                    true
                }
                _ => false,
            }
        };
        if found {
            self.forget(key.1);
        }
        found
    }

    fn forget(&mut self, run: RunId) {
        if let Some(deep) = &mut self.deep {
            deep.between.remove(&run);
            if deep.behind == 0 && deep.between.is_empty() {
                self.deep = None;
            }
        }
    }

    /// Takes what the index holds next after [`Self::low`]; `exhausted` if that is all there is.
    pub(super) fn refill(&mut self, items: Vec<Item>, exhausted: bool) {
        let Some(deep) = &mut self.deep else { return };
        deep.behind = deep.behind.saturating_sub(items.len() as u64);
        if let Some(last) = items.last() {
            deep.edge = last.key();
        }
        if exhausted {
            deep.behind = 0;
        }
        if deep.behind == 0 && deep.between.is_empty() {
            self.deep = None;
        }
        self.front.extend(items);
    }
}
