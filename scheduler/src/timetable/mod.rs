//! Who is due when: all tasks by `run_at`, in a few tens of bytes each.
//!
//! A pure data structure that the service asks and moves; it reads no clock and computes no schedule.
//! Three parts: the entries, numbered without gaps, an index from task id to entry, and a four-ary heap of
//! times that points into the entries (four children share a cache line; each entry knows its place in
//! the heap, so that a change or a release finds it). Equal times go by task id, so the order never
//! depends on history.

mod blocks;
mod instant;

#[cfg(test)]
mod tests;

pub use instant::{EARLIEST, LATEST};

use blocks::Blocks;
use hashbrown::HashTable;
use instant::Nanos;
use jiff::Timestamp;
use punctual_model::TaskId;
use std::sync::Arc;

const CHILDREN: usize = 4;

/// The place of an entry that has no time.
const NOWHERE: u32 = u32::MAX;

/// A due and the moment at which its run may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// The logical time.
    pub due: Timestamp,
    /// Not before this the run starts.
    pub run_at: Timestamp,
}

/// The next due of a task, seen in its place.
#[derive(Debug)]
pub struct Head<'a, P> {
    /// The task.
    pub id: TaskId,
    /// The revision of the definition that it was placed with.
    pub revision: u64,
    /// Its next due.
    pub when: When,
    /// What it was placed with.
    pub plan: &'a Arc<P>,
}

impl<P> Clone for Head<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Head<'_, P> {}

/// What became of a task that was to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Placed {
    /// It is in the timetable as asked.
    Done,
    /// A newer revision of it is there already, and stays.
    Older,
    /// Four billion tasks are here; nothing has changed.
    Full,
}

/// All known tasks, those with a next due in order of its `run_at`.
#[derive(Debug)]
pub struct Timetable<P> {
    entries: Blocks<Entry<P>>,
    /// Of each entry, where in the heap its time stands.
    places: Blocks<u32>,
    /// Numbers of entries, by the hash of their task id.
    by_id: HashTable<u32>,
    /// The heap: times and, beside each, the number of its entry.
    times: Blocks<Nanos>,
    order: Blocks<u32>,
}

#[derive(Debug)]
struct Entry<P> {
    id: TaskId,
    revision: u64,
    due: Nanos,
    plan: Arc<P>,
}

impl<P> Default for Timetable<P> {
    fn default() -> Self {
        Self {
            entries: Blocks::default(),
            places: Blocks::default(),
            by_id: HashTable::new(),
            times: Blocks::default(),
            order: Blocks::default(),
        }
    }
}

impl<P> Timetable<P> {
    /// An empty timetable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tasks are known, with or without a next due.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no task is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many tasks have a next due.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.order.len()
    }

    /// The revision under which a task is known.
    #[must_use]
    pub fn revision(&self, id: TaskId) -> Option<u64> {
        Some(self.entries[self.find(id)?].revision)
    }

    /// Adds a task or replaces what is known of it, unless that is of a newer revision. Without a `when`
    /// (and with one outside [`EARLIEST`] to [`LATEST`]) the task is known but never comes up.
    pub fn put(&mut self, id: TaskId, revision: u64, plan: Arc<P>, when: Option<When>) -> Placed {
        let time = when.and_then(|when| Nanos::from_when(&when));
        let due = time.map_or(Nanos::ZERO, |(due, _)| due);
        let slot = match self.find(id) {
            Some(slot) => {
                let entry = &mut self.entries[slot];
                if entry.revision > revision {
                    return Placed::Older;
                }
                (entry.revision, entry.due, entry.plan) = (revision, due, plan);
                slot
            }
            None => {
                let slot = self.entries.len();
                let Some(number) = u32::try_from(slot).ok().filter(|number| *number != NOWHERE) else {
                    return Placed::Full;
                };
                self.entries.push(Entry { id, revision, due, plan });
                self.places.push(NOWHERE);
                let entries = &self.entries;
                self.by_id.insert_unique(hash(id), number, |slot| hash(entries[*slot as usize].id));
                slot
            }
        };
        self.set_time(slot, time.map(|(_, run_at)| run_at));
        Placed::Done
    }

    /// Forgets a task; answers whether it was known.
    pub fn remove(&mut self, id: TaskId) -> bool {
        let Some(slot) = self.find(id) else { return false };
        self.set_time(slot, None);
        let Self { entries, places, by_id, .. } = self;
        if let Ok(found) = by_id.find_entry(hash(id), |known| *known as usize == slot) {
            found.remove();
        }
        entries.swap_remove(slot);
        places.swap_remove(slot);
        // The entry that was last has moved into the gap.
        if let Some(moved) = entries.get(slot) {
            let (last, slot) = (entries.len(), slot as u32);
            if let Some(known) = by_id.find_mut(hash(moved.id), |known| *known as usize == last) {
                *known = slot;
            }
            let place = places[slot as usize];
            if place != NOWHERE {
                self.order[place as usize] = slot;
            }
        }
        true
    }

    /// The task that comes up next.
    #[must_use]
    pub fn head(&self) -> Option<Head<'_, P>> {
        let entry = &self.entries[*self.order.first()? as usize];
        let when = When { due: entry.due.into(), run_at: (*self.times.first()?).into() };
        Some(Head { id: entry.id, revision: entry.revision, when, plan: &entry.plan })
    }

    /// When the next task comes up.
    #[must_use]
    pub fn next_run_at(&self) -> Option<Timestamp> {
        self.times.first().map(|time| (*time).into())
    }

    /// Takes the head if its time has come by `now`, and moves its task to the due that `next` answers.
    ///
    /// The new due is strictly later, else the task ends up without one: a schedule that stands still
    /// would come up for ever. Its `run_at` is not before that of the old one, whatever jitter says, so
    /// that the runs of a task start in the order of their dues.
    pub fn pop(
        &mut self,
        now: Timestamp,
        next: impl FnOnce(Head<'_, P>) -> Option<When>,
    ) -> Option<(TaskId, u64, When)> {
        let head = self.head().filter(|head| head.when.run_at <= now)?;
        let taken = (head.id, head.revision, head.when);
        let time = next(head).filter(|when| when.due > taken.2.due).and_then(|when| Nanos::from_when(&when));
        let (slot, before) = (*self.order.first()? as usize, *self.times.first()?);
        if let Some((due, _)) = time {
            self.entries[slot].due = due;
        }
        self.set_time(slot, time.map(|(_, run_at)| run_at.max(before)));
        Some(taken)
    }

    fn find(&self, id: TaskId) -> Option<usize> {
        self.by_id.find(hash(id), |slot| self.entries[*slot as usize].id == id).map(|slot| *slot as usize)
    }

    /// Gives an entry its place in the heap, another one, or none.
    fn set_time(&mut self, slot: usize, time: Option<Nanos>) {
        let place = self.places[slot];
        match (time, place) {
            (None, NOWHERE) => {}
            (None, place) => {
                let place = place as usize;
                self.places[slot] = NOWHERE;
                self.times.swap_remove(place);
                self.order.swap_remove(place);
                if place < self.order.len() {
                    self.settle(place);
                }
            }
            (Some(time), NOWHERE) => {
                self.times.push(time);
                self.order.push(slot as u32);
                self.settle(self.order.len() - 1);
            }
            (Some(time), place) => {
                self.times[place as usize] = time;
                self.settle(place as usize);
            }
        }
    }

    /// Moves what stands at `place` up or down to where it belongs, and writes down where that is.
    fn settle(&mut self, place: usize) {
        let mut place = place;
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if !self.before(place, parent) {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
        loop {
            let children = place * CHILDREN + 1..(place * CHILDREN + 1 + CHILDREN).min(self.order.len());
            let Some(first) = children.reduce(|a, b| if self.before(b, a) { b } else { a }) else { break };
            if !self.before(first, place) {
                break;
            }
            self.swap(place, first);
            place = first;
        }
        self.places[self.order[place] as usize] = place as u32;
    }

    fn before(&self, a: usize, b: usize) -> bool {
        let id = |place: usize| self.entries[self.order[place] as usize].id;
        // The ids lie elsewhere in memory and are looked at only when the times are equal.
        self.times[a] < self.times[b] || (self.times[a] == self.times[b] && id(a) < id(b))
    }

    /// Exchanges two places; the one of what is being settled is written down at its end.
    fn swap(&mut self, settling: usize, other: usize) {
        self.times.swap(settling, other);
        self.order.swap(settling, other);
        self.places[self.order[settling] as usize] = settling as u32;
    }
}

/// Spreads ids that rise with time over the whole word. They are ours, so nobody can aim at collisions.
fn hash(id: TaskId) -> u64 {
    let mixed = id.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}
