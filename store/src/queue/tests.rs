//! What goes next, on its own: no records, no clock, no store.

use super::*;
use crate::ledger::SharedLimit;
use jiff::SignedDuration;
use punctual_model::task::Retention;

fn task(n: u64) -> TaskId {
    TaskId::new(n).unwrap()
}

fn run(n: u64) -> RunId {
    RunId::new(n).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn plain() -> Digest {
    Digest {
        on_failure: false,
        on_recovered: false,
        serial: false,
        own_limit: None,
        shared: None,
        catch_up_rate: 10,
        priority: 0,
        pause_after: None,
        retention: Retention::default(),
        timing: None,
        kind: None,
    }
}

fn shared(key: &str, limit: u32) -> Digest {
    Digest { shared: Some(SharedLimit { key: key.into(), limit }), ..plain() }
}

fn lane(n: u64) -> Lane {
    Lane { task: task(n), kind: LaneKind::Regular }
}

fn kind(n: u64, kind: LaneKind) -> Lane {
    Lane { task: task(n), kind }
}

fn item(seconds: i64, id: u64) -> Item {
    Item { ready: at(seconds), run: run(id), begun: false }
}

fn queue() -> Queue {
    Queue::new(at(0))
}

/// Claims all there is and answers the runs in order.
fn drain(queue: &mut Queue, now: Timestamp) -> Vec<u64> {
    std::iter::from_fn(|| queue.claim(now)).map(|(_, item)| item.run.get()).collect()
}

fn start(queue: &mut Queue, now: Timestamp) -> Option<u64> {
    let (_, item) = queue.claim(now)?;
    queue.begun(item.run);
    Some(item.run.get())
}

#[test]
fn lanes_take_turns_and_the_oldest_of_a_lane_goes_first() {
    let mut queue = queue();
    for n in 0..3 {
        queue.add(lane(1), item(-10 + n, 10 + n.unsigned_abs()), &plain());
    }
    queue.add(lane(2), item(-1, 20), &plain());
    queue.add(lane(3), item(-1, 31), &plain());
    queue.add(lane(3), item(-2, 32), &plain());
    assert_eq!(drain(&mut queue, at(0)), [10, 20, 32, 11, 31, 12]);
}

#[test]
fn of_what_tells_of_ends_two_go_at_once_for_each_task_whatever_its_limits() {
    let mut queue = queue();
    let told = |n| kind(n, LaneKind::FollowUp);
    let limited = Digest { own_limit: Some(1), ..plain() };
    queue.add(lane(1), item(-9, 10), &limited);
    for n in 11..=13 {
        queue.add(told(1), item(-5, n), &limited);
    }
    queue.add(told(2), item(-1, 20), &plain());
    let mut begun: Vec<u64> = std::iter::from_fn(|| start(&mut queue, at(0))).collect();
    begun.sort_unstable();
    assert_eq!(begun, [10, 11, 12, 20]);
    queue.ended(task(1), run(11));
    assert_eq!(start(&mut queue, at(0)), Some(13));
    assert_eq!(start(&mut queue, at(0)), None);
}

#[test]
fn a_higher_priority_goes_first_and_equal_ones_take_turns() {
    let mut queue = queue();
    let of = |priority| Digest { priority, ..plain() };
    queue.add(lane(1), item(-1, 1), &of(0));
    queue.add(lane(2), item(-1, 2), &of(-5));
    queue.add(lane(3), item(-1, 3), &of(i8::MAX));
    queue.add(lane(4), item(-1, 4), &of(i8::MIN));
    queue.add(lane(5), item(-1, 5), &of(0));
    assert_eq!(drain(&mut queue, at(0)), [3, 1, 5, 2, 4]);
}

#[test]
fn what_is_not_ready_waits_for_its_time_and_the_earliest_is_known() {
    let mut queue = queue();
    queue.add(lane(1), item(20, 1), &plain());
    queue.add(lane(2), item(10, 2), &plain());
    queue.add(lane(2), item(5, 3), &plain());
    assert_eq!(queue.next_ready(), Some(at(5)));
    assert_eq!(drain(&mut queue, at(4)), [0; 0]);
    assert_eq!(drain(&mut queue, at(5)), [3]);
    assert_eq!(queue.next_ready(), Some(at(10)));
    assert_eq!(drain(&mut queue, at(30)), [2, 1]);
    assert_eq!(queue.next_ready(), None);
}

#[test]
fn a_clock_that_goes_back_makes_nothing_start_early() {
    let mut queue = queue();
    queue.add(lane(1), item(10, 1), &plain());
    queue.add(lane(2), item(10, 2), &plain());
    assert_eq!(queue.claim(at(10)).map(|(_, item)| item.run), Some(run(1)));
    assert_eq!(queue.claim(at(3)), None);
    assert_eq!(queue.next_ready(), Some(at(10)));
    assert_eq!(drain(&mut queue, at(10)), [2]);
}

#[test]
fn a_full_limit_parks_the_lane_and_its_end_unparks_it() {
    let mut queue = queue();
    let two = Digest { own_limit: Some(2), ..plain() };
    for n in 1..=4 {
        queue.add(lane(1), item(-1, n), &two);
    }
    queue.add(lane(2), item(-1, 9), &plain());
    assert_eq!(start(&mut queue, at(0)), Some(1));
    assert_eq!(drain(&mut queue, at(0)), [9, 2]);
    queue.take_stirred();
    queue.ended(task(1), run(1));
    assert!(queue.take_stirred());
    assert_eq!(drain(&mut queue, at(0)), [3]);
    queue.release(run(2));
    assert_eq!(drain(&mut queue, at(0)), [2]);
}

#[test]
fn lanes_parked_on_one_key_go_in_turn_and_each_by_its_own_limit() {
    let mut queue = queue();
    for (n, limit) in [(1, 1), (2, 1), (3, 2)] {
        for k in 0..2 {
            queue.add(lane(n), item(-1, n * 10 + k), &shared("db", limit));
        }
    }
    // One of limit 1, then the one whose own limit still has a place.
    assert_eq!(start(&mut queue, at(0)), Some(10));
    assert_eq!(start(&mut queue, at(0)), Some(30));
    assert_eq!(start(&mut queue, at(0)), None);
    queue.ended(task(3), run(30));
    // One is at work: that is too many for limit 1.
    assert_eq!(start(&mut queue, at(0)), Some(31));
    queue.ended(task(1), run(10));
    assert_eq!(start(&mut queue, at(0)), None);
    queue.ended(task(3), run(31));
    assert_eq!(start(&mut queue, at(0)), Some(20));
    queue.ended(task(2), run(20));
    assert_eq!(start(&mut queue, at(0)), Some(11));
    queue.ended(task(1), run(11));
    assert_eq!(start(&mut queue, at(0)), Some(21));
}

#[test]
fn a_parked_lane_of_higher_priority_takes_the_place_of_one_that_may_go() {
    let mut queue = queue();
    queue.add(lane(1), item(-1, 1), &shared("db", 1));
    queue.add(lane(2), item(-1, 2), &Digest { priority: 3, ..shared("db", 1) });
    assert_eq!(start(&mut queue, at(0)), Some(2));
    assert_eq!(start(&mut queue, at(0)), None);
    queue.ended(task(2), run(2));
    assert_eq!(start(&mut queue, at(0)), Some(1));
}

#[test]
fn a_lane_that_leaves_without_going_passes_its_place_under_the_key_on() {
    let mut queue = queue();
    queue.add(lane(1), item(-1, 1), &shared("db", 1));
    queue.add(lane(2), item(-1, 2), &shared("db", 1));
    queue.remove(lane(1), (at(-1), run(1)));
    assert_eq!(drain(&mut queue, at(0)), [2]);
    queue.remove(lane(2), (at(-1), run(2)));
    assert_eq!(queue.waiting(), 0);
    assert!(queue.keys.is_empty() && queue.tasks.is_empty());
}

#[test]
fn forced_runs_pass_the_overlap_policy_and_no_concurrency_limit() {
    let serial = Digest { serial: true, ..plain() };
    let mut queue = queue();
    queue.add(lane(1), item(-1, 1), &serial);
    queue.add(lane(1), item(-1, 2), &serial);
    queue.add(kind(1, LaneKind::Forced), item(-1, 3), &serial);
    assert_eq!(drain(&mut queue, at(0)), [1, 3]);

    let mut queue = self::queue();
    let limited = Digest { own_limit: Some(1), ..plain() };
    queue.add(lane(1), item(-1, 1), &limited);
    queue.add(kind(1, LaneKind::Forced), item(-1, 3), &limited);
    assert_eq!(drain(&mut queue, at(0)), [1]);

    let mut queue = self::queue();
    queue.add(lane(1), item(-1, 1), &shared("db", 1));
    queue.add(kind(1, LaneKind::Forced), item(-1, 3), &shared("db", 1));
    assert_eq!(drain(&mut queue, at(0)), [1]);
}

#[test]
fn caught_up_runs_have_a_rate_of_their_own_beside_the_present_ones() {
    let mut queue = queue();
    let rate = Digest { catch_up_rate: 2, ..plain() };
    for n in 1..=4 {
        queue.add(kind(1, LaneKind::CatchUp), item(-100 + i64::try_from(n).unwrap(), n), &rate);
    }
    queue.add(lane(1), item(-1, 9), &rate);
    assert_eq!(drain(&mut queue, at(0)), [1, 9, 2]);
    queue.begun(run(1));
    queue.ended(task(1), run(1));
    assert_eq!(drain(&mut queue, at(0)), [3]);
}

#[test]
fn one_at_a_time_means_the_caught_up_ones_first() {
    let mut queue = queue();
    let serial = Digest { serial: true, ..plain() };
    queue.add(lane(1), item(-1, 9), &serial);
    for n in 1..=2 {
        queue.add(kind(1, LaneKind::CatchUp), item(-100, n), &serial);
    }
    for expect in [1, 2, 9] {
        assert_eq!(drain(&mut queue, at(0)), [expect]);
        queue.begun(run(expect));
        queue.ended(task(1), run(expect));
    }
}

#[test]
fn a_reserved_seat_is_given_only_to_who_would_go_next() {
    let mut queue = queue();
    assert!(queue.admit(lane(1), run(1), &plain(), at(0)));
    queue.admitted(lane(1), run(1));
    // A lane of the same class may go: it was there first.
    queue.add(lane(2), item(-1, 2), &plain());
    assert!(!queue.admit(lane(3), run(3), &plain(), at(0)));
    assert!(queue.admit(lane(3), run(4), &Digest { priority: 1, ..plain() }, at(0)));
    assert_eq!(drain(&mut queue, at(0)), [2]);
    // Its own lane has an older one that became ready in between.
    queue.add(lane(5), item(10, 5), &plain());
    assert!(!queue.admit(lane(5), run(6), &plain(), at(10)));
    assert_eq!(drain(&mut queue, at(10)), [5]);
    // What waits for a place that is taken holds nobody else up.
    let one = Digest { own_limit: Some(1), ..plain() };
    queue.add(lane(7), item(0, 7), &one);
    assert_eq!(start(&mut queue, at(10)), Some(7));
    queue.add(lane(7), item(0, 8), &one);
    assert!(!queue.admit(lane(7), run(9), &one, at(10)));
    assert!(queue.admit(lane(8), run(10), &plain(), at(10)));
}

#[test]
fn a_definition_holds_from_the_moment_it_changes() {
    let mut queue = queue();
    for n in 1..=5 {
        queue.add(lane(1), item(-1, n), &plain());
    }
    assert_eq!(start(&mut queue, at(0)), Some(1));
    queue.update(task(1), &Digest { own_limit: Some(1), ..plain() });
    assert_eq!(start(&mut queue, at(0)), None);
    queue.update(task(1), &shared("db", 2));
    assert_eq!(start(&mut queue, at(0)), Some(2));
    assert_eq!(start(&mut queue, at(0)), None);
    // What is at work counts under the new key.
    queue.add(lane(2), item(-1, 20), &shared("other", 2));
    assert_eq!(start(&mut queue, at(0)), Some(20));
    queue.update(task(2), &shared("db", 3));
    queue.update(task(1), &shared("other", 3));
    assert_eq!(start(&mut queue, at(0)), Some(3));
    queue.close(task(1));
    assert_eq!(start(&mut queue, at(0)), None);
    assert_eq!(queue.closed(), [task(1)]);
}

#[test]
fn a_long_lane_is_counted_and_refilled_without_a_gap_or_a_double() {
    let mut queue = queue();
    // The index, as the store would keep it.
    let mut index: BTreeSet<ItemKey> = BTreeSet::new();
    let mut order = Vec::new();
    let chance = punctual_clock::Chance::from_seed(7);
    for n in 1..=2_000 {
        let item = item(-i64::try_from(chance.below(3_000)).unwrap(), n);
        index.insert(item.key());
        queue.add(lane(1), item, &plain());
    }
    // Some leave from anywhere.
    let all: Vec<_> = index.iter().copied().collect();
    for key in all.iter().step_by(7) {
        index.remove(key);
        queue.remove(lane(1), *key);
    }
    let expect: Vec<u64> = index.iter().map(|key| key.1.get()).collect();
    assert_eq!(queue.waiting(), index.len() as u64);
    loop {
        while let Some((lane, edge)) = queue.hungry() {
            let beyond = (std::ops::Bound::Excluded(edge), std::ops::Bound::Unbounded);
            let mut next = index.range(beyond).filter(|key| !queue.is_busy(lane.task, key.1));
            let items: Vec<_> = next
                .by_ref()
                .take(FRONT)
                .map(|key| Item { ready: key.0, run: key.1, begun: false })
                .collect();
            let exhausted = next.next().is_none();
            queue.refill(lane, items, exhausted);
        }
        let Some((_, item)) = queue.claim(at(0)) else { break };
        order.push(item.run.get());
        // Some are given back and come again, the others leave the index when they begin.
        if chance.below(5) == 0 {
            queue.release(item.run);
            order.pop();
        } else if chance.below(2) == 0 {
            queue.begun(item.run);
            index.remove(&item.key());
        }
    }
    assert_eq!(order, expect);
}

#[test]
fn unfinished_runs_are_named_oldest_first_without_forced_ones() {
    let mut queue = queue();
    assert!(queue.unfinished(task(1)).is_empty());
    let two = Digest { own_limit: Some(2), ..plain() };
    for n in 1..=100 {
        queue.add(lane(1), item(-1, n), &two);
    }
    queue.add(lane(1), Item { begun: true, ..item(50, 200) }, &two);
    queue.add(kind(1, LaneKind::Forced), item(-1, 300), &two);
    assert_eq!(start(&mut queue, at(0)), Some(1));
    let unfinished = queue.unfinished(task(1));
    assert_eq!(unfinished.begun, [run(1), run(200)]);
    assert_eq!(unfinished.waiting.first(), Some(&run(2)));
    assert_eq!(unfinished.waiting.len() as u64 + unfinished.more_waiting, 99);
}

#[test]
fn a_million_waiting_runs_of_one_lane_take_no_more_memory_than_its_front() {
    let mut queue = queue();
    for n in 1..=1_000_000 {
        queue.add(lane(1), item(i64::try_from(n % 1_000).unwrap() - 2_000, n), &plain());
    }
    assert_eq!(queue.waiting(), 1_000_000);
    let held = queue.tasks[&task(1)].lane(LaneKind::Regular).unwrap().front().count();
    assert!(held <= 2 * FRONT, "{held}");
}
