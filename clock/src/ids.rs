//! Ids sorted by time: 64 bits, unique within a node without asking anybody.
//!
//! Layout, from the top: 1 spare bit (ids fit a signed 64-bit column), 41 bits of milliseconds since
//! 2020-01-01T00:00Z (until September 2089), 10 bits of node, 12 bits of sequence.

use crate::clock::Clock;
use jiff::Timestamp;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// 2020-01-01T00:00Z. Zero is before anything that could get an id, and 41 bits from here reach 2089.
const EPOCH: Timestamp = Timestamp::constant(1_577_836_800, 0);
const MILLI_BITS: u32 = 41;
const NODE_BITS: u32 = 10;
/// 4,096 ids a millisecond and node before the generator borrows from the future.
const SEQUENCE_BITS: u32 = 12;
const NODES: u16 = 1 << NODE_BITS;
const SEQUENCE: u64 = (1 << SEQUENCE_BITS) - 1;

/// A node number that does not fit an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {0} is not below {NODES}")]
pub struct InvalidNode(pub u16);

/// Gives out ids that rise strictly, whatever the wall clock does: when it stands, goes back or has used
/// up a millisecond, the generator counts on ahead of it until it has caught up. Ids that must rise
/// across a restart as well need [`raise_floor`](Self::raise_floor). Thread-safe without a lock.
#[derive(Debug)]
pub struct IdGenerator {
    clock: Arc<dyn Clock>,
    ids: IdSequence,
}

/// The same for whoever is told the time: a store, for the records that it makes by itself.
#[derive(Debug)]
pub struct IdSequence {
    node: u64,
    /// The last id given out, without its node: milliseconds, then sequence.
    last: AtomicU64,
}

impl IdGenerator {
    /// A generator for the only node, number 0.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ids: IdSequence { node: 0, last: AtomicU64::new(0) } }
    }

    /// A generator for one of up to 1,024 nodes that share a store.
    ///
    /// # Errors
    /// When `node` is not below 1,024.
    pub fn for_node(clock: Arc<dyn Clock>, node: u16) -> Result<Self, InvalidNode> {
        if node >= NODES {
            return Err(InvalidNode(node));
        }
        Ok(Self { clock, ids: IdSequence { node: u64::from(node), last: AtomicU64::new(0) } })
    }

    /// An id greater than all given out before and than every floor.
    pub fn next_id(&self) -> NonZeroU64 {
        self.ids.next_at(self.clock.now())
    }

    /// Makes every id from now on greater than `seen`: the highest id that the store remembers, so that
    /// a clock set back during downtime cannot bring an id out twice. A number with the spare bit set was
    /// never an id of ours and is ignored, lest one damaged record use up the range.
    pub fn raise_floor(&self, seen: u64) {
        self.ids.raise_floor(seen);
    }

    /// The highest id that any node gives out at this moment, unless it counts on ahead of its clock: a floor for
    /// whoever cannot know which ids were given out until then.
    #[must_use]
    pub fn highest_at(at: Timestamp) -> u64 {
        let millis = u64::try_from(at.duration_since(EPOCH).as_millis()).unwrap_or(0);
        let millis = if millis >> MILLI_BITS == 0 { millis } else { 0 };
        millis << (NODE_BITS + SEQUENCE_BITS) | ((1 << (NODE_BITS + SEQUENCE_BITS)) - 1)
    }
}

impl IdSequence {
    /// The sequence of a store itself: it has the highest node number, which no other generator beside it may have.
    #[must_use]
    pub fn of_store() -> Self {
        Self { node: u64::from(NODES) - 1, last: AtomicU64::new(0) }
    }

    /// An id greater than all given out before and than every floor; it shows this time, unless it has to count on
    /// ahead of it.
    pub fn next_at(&self, now: Timestamp) -> NonZeroU64 {
        // A clock outside the years of the layout tells nothing; counting on is still right.
        let millis = u64::try_from(now.duration_since(EPOCH).as_millis()).unwrap_or(0);
        let time = if millis >> MILLI_BITS == 0 { millis << SEQUENCE_BITS } else { 0 };
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = time.max(last + 1);
            match self.last.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
                // Greater than a last one, so never zero.
                Ok(_) => return NonZeroU64::new(self.id(next)).unwrap_or(NonZeroU64::MIN),
                Err(seen) => last = seen,
            }
        }
    }

    /// As [`IdGenerator::raise_floor`].
    pub fn raise_floor(&self, seen: u64) {
        if i64::try_from(seen).is_err() {
            return;
        }
        let sequence = seen & SEQUENCE;
        let node = (seen >> SEQUENCE_BITS) & (u64::from(NODES) - 1);
        // An id of a higher node sorts behind all of ours of the same millisecond: skip what is left of it.
        let sequence = if node > self.node { SEQUENCE } else { sequence };
        let tick = ((seen >> (NODE_BITS + SEQUENCE_BITS)) << SEQUENCE_BITS) | sequence;
        self.last.fetch_max(tick, Ordering::Relaxed);
    }

    fn id(&self, tick: u64) -> u64 {
        ((tick >> SEQUENCE_BITS) << (NODE_BITS + SEQUENCE_BITS))
            | (self.node << SEQUENCE_BITS)
            | (tick & SEQUENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VirtualClock;
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use std::time::Duration;

    const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

    fn generator(node: u16) -> (VirtualClock, IdGenerator) {
        let clock = VirtualClock::new(START);
        let ids = IdGenerator::for_node(Arc::new(clock.clone()), node).unwrap();
        (clock, ids)
    }

    #[test]
    fn an_id_shows_its_millisecond_node_and_sequence() {
        let (clock, ids) = generator(5);
        clock.advance_now(Duration::from_millis(7));
        let millis = u64::try_from(START.duration_since(EPOCH).as_millis()).unwrap() + 7;
        assert_eq!(ids.next_id().get(), millis << 22 | 5 << 12);
        assert_eq!(ids.next_id().get(), millis << 22 | 5 << 12 | 1);
        assert!(IdGenerator::for_node(Arc::new(clock), 1024).is_err());
    }

    #[test]
    fn the_highest_id_of_a_moment_is_a_floor_above_every_id_until_then() {
        for node in [0, 1023] {
            let (clock, ids) = generator(node);
            clock.advance_now(Duration::from_millis(7));
            let highest = IdGenerator::highest_at(clock.now());
            assert!(ids.next_id().get() <= highest);
            ids.raise_floor(highest);
            assert!(ids.next_id().get() > highest);
        }
        assert!(IdGenerator::highest_at(Timestamp::MAX) < IdGenerator::highest_at(START));
    }

    #[test]
    fn a_store_and_a_node_beside_it_never_give_out_the_same_id() {
        let (clock, ids) = generator(0);
        let store = IdSequence::of_store();
        let mut all = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            assert!(all.insert(ids.next_id()) && all.insert(store.next_at(clock.now())));
        }
        let highest = all.last().unwrap().get();
        store.raise_floor(highest);
        ids.raise_floor(highest);
        assert!(store.next_at(START).get() > highest && ids.next_id().get() > highest);
    }

    #[test]
    fn ids_rise_when_the_clock_goes_back_or_a_millisecond_is_used_up() {
        let (clock, ids) = generator(0);
        let mut last = ids.next_id().get();
        for n in 0..20_000 {
            if n == 10_000 {
                clock.set_wall(START - SignedDuration::from_hours(48));
            }
            let next = ids.next_id().get();
            assert!(next > last);
            last = next;
        }
        // Twenty thousand ids are five milliseconds ahead; the clock passes them and is followed again.
        clock.set_wall(START + SignedDuration::from_secs(1));
        assert_eq!(
            ids.next_id().get() >> 22,
            u64::try_from(START.duration_since(EPOCH).as_millis()).unwrap() + 1000
        );
    }

    #[test]
    fn no_clock_however_wrong_brings_out_zero_or_an_id_twice() {
        let (clock, ids) = generator(0);
        let mut last = 0;
        for wall in [Timestamp::MIN, EPOCH, Timestamp::MAX, START, Timestamp::MIN] {
            clock.set_wall(wall);
            let next = ids.next_id().get();
            assert!(next > last, "{wall}");
            last = next;
        }
        assert!(i64::try_from(last).is_ok());
    }

    #[test]
    fn a_damaged_floor_uses_up_nothing() {
        let (_, ids) = generator(0);
        let before = ids.next_id().get();
        ids.raise_floor(u64::MAX);
        assert_eq!(ids.next_id().get(), before + 1);
    }

    #[test]
    fn threads_never_share_an_id() {
        let (_, ids) = generator(1);
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..5000).map(|_| ids.next_id().get()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20_000);
    }

    proptest! {
        #[test]
        fn every_id_is_above_every_floor(node in 0..1024u16, floors in prop::collection::vec(0..u64::MAX >> 1, 1..8)) {
            let (_, ids) = generator(node);
            let mut last = ids.next_id().get();
            for floor in floors {
                ids.raise_floor(floor);
                let next = ids.next_id().get();
                prop_assert!(next > floor && next > last);
                prop_assert_eq!((next >> 12) & 1023, u64::from(node));
                last = next;
            }
        }
    }
}
