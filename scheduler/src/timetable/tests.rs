use super::*;
use jiff::SignedDuration;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn id(n: u64) -> TaskId {
    TaskId::new(n).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A due that runs at its time.
fn when(seconds: i64) -> Option<When> {
    Some(When { due: at(seconds), run_at: at(seconds) })
}

fn table(tasks: &[(u64, Option<When>)]) -> Timetable<()> {
    let mut table = Timetable::new();
    let plan = Arc::new(());
    for (n, when) in tasks {
        assert_eq!(table.put(id(*n), 1, Arc::clone(&plan), *when), Placed::Done);
    }
    table
}

fn drain(table: &mut Timetable<()>, now: i64) -> Vec<(u64, i64)> {
    std::iter::from_fn(|| table.pop(at(now), |_| None))
        .map(|(id, _, when)| (id.get(), when.run_at.as_second()))
        .collect()
}

/// PE12
#[test]
fn pe12_tasks_without_a_next_time_come_last_that_is_never() {
    let mut table = table(&[(1, None), (2, when(30)), (3, None), (4, when(10)), (5, when(20))]);
    assert_eq!(table.next_run_at(), Some(at(10)));
    assert_eq!(drain(&mut table, i64::from(i32::MAX)), [(4, 10), (5, 20), (2, 30)]);
    assert_eq!((table.next_run_at(), table.waiting(), table.len()), (None, 0, 5));
}

#[test]
fn equal_times_go_by_task_id_whatever_came_first() {
    let mut table = table(&[(9, when(5)), (3, when(5)), (7, when(5)), (1, when(6)), (2, when(5))]);
    assert_eq!(drain(&mut table, 6), [(2, 5), (3, 5), (7, 5), (9, 5), (1, 6)]);
}

#[test]
fn nothing_is_popped_before_its_time() {
    let mut table = table(&[(1, when(10))]);
    assert!(table.pop(at(9), |_| None).is_none());
    assert!(table.pop(at(10), |_| None).is_some());
}

#[test]
fn an_older_revision_changes_nothing_and_an_equal_one_replaces() {
    let mut table = table(&[]);
    let plan = Arc::new(());
    assert_eq!(table.put(id(1), 3, Arc::clone(&plan), when(50)), Placed::Done);
    assert_eq!(table.put(id(1), 2, Arc::clone(&plan), when(10)), Placed::Older);
    assert_eq!(table.next_run_at(), Some(at(50)));
    assert_eq!(table.put(id(1), 3, Arc::clone(&plan), when(20)), Placed::Done);
    assert_eq!(table.next_run_at(), Some(at(20)));
    assert_eq!(table.put(id(1), 4, plan, None), Placed::Done);
    assert_eq!((table.next_run_at(), table.revision(id(1))), (None, Some(4)));
}

#[test]
fn a_popped_task_moves_on_but_its_run_at_never_goes_back() {
    let mut table = table(&[(1, when(100))]);
    let back = When { due: at(110), run_at: at(90) };
    assert_eq!(table.pop(at(100), |_| Some(back)).unwrap().2, when(100).unwrap());
    assert_eq!(table.head().unwrap().when, When { due: at(110), run_at: at(100) });
}

#[test]
fn a_schedule_that_stands_still_ends_instead_of_coming_up_for_ever() {
    let mut table = table(&[(1, when(100))]);
    assert!(table.pop(at(100), |head| Some(head.when)).is_some());
    assert!(table.pop(at(100), |head| Some(head.when)).is_none());
    assert_eq!(table.revision(id(1)), Some(1));
}

/// PE07
#[test]
fn pe07_removing_what_is_not_there_is_harmless() {
    let mut table = table(&[(1, when(10)), (2, when(20)), (3, when(30))]);
    assert!(!table.remove(id(9)));
    assert!(table.remove(id(1)) && !table.remove(id(1)));
    assert_eq!(drain(&mut table, 100), [(2, 20), (3, 30)]);
}

#[test]
fn instants_keep_their_nanoseconds_and_those_beyond_the_horizon_never_come_up() {
    let odd = at(5) + SignedDuration::from_nanos(123_456_789);
    let mut table = table(&[(1, Some(When { due: odd, run_at: odd }))]);
    assert_eq!(table.head().unwrap().when.due, odd);
    let far = When { due: Timestamp::MAX, run_at: Timestamp::MAX };
    assert_eq!(table.put(id(2), 1, Arc::new(()), Some(far)), Placed::Done);
    assert_eq!(table.waiting(), 1);
    let edge = When { due: LATEST, run_at: LATEST };
    assert_eq!(table.put(id(2), 1, Arc::new(()), Some(edge)), Placed::Done);
    assert_eq!(
        table.put(id(3), 1, Arc::new(()), Some(When { due: EARLIEST, run_at: Timestamp::MIN })),
        Placed::Done
    );
    assert_eq!(table.next_run_at(), Some(EARLIEST));
}

#[derive(Debug, Clone)]
enum Step {
    Put(u64, u64, Option<i64>),
    Remove(u64),
    Pop(i64, Option<i64>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40u64, 1..4u64, prop::option::of(0..50i64)).prop_map(|(n, r, t)| Step::Put(n, r, t)),
        1 => (1..40u64).prop_map(Step::Remove),
        3 => (0..50i64, prop::option::of(1..9i64)).prop_map(|(now, on)| Step::Pop(now, on)),
    ]
}

proptest! {
    /// The timetable against the plainest model there is: a map from id, searched for its minimum.
    #[test]
    fn behaves_as_a_sorted_list_would(steps in prop::collection::vec(step(), 1..300)) {
        let mut table = Timetable::new();
        let mut model: BTreeMap<u64, (u64, Option<i64>)> = BTreeMap::new();
        let plan = Arc::new(());
        for step in steps {
            match step {
                Step::Put(n, revision, time) => {
                    let older = model.get(&n).is_some_and(|(known, _)| *known > revision);
                    let expect = if older { Placed::Older } else { Placed::Done };
                    prop_assert_eq!(table.put(id(n), revision, Arc::clone(&plan), time.and_then(when)), expect);
                    if !older {
                        model.insert(n, (revision, time));
                    }
                }
                Step::Remove(n) => prop_assert_eq!(table.remove(id(n)), model.remove(&n).is_some()),
                Step::Pop(now, on) => {
                    let first = model.iter().filter_map(|(n, (r, t))| t.map(|t| (t, *n, *r))).min();
                    let expect = first.filter(|(t, ..)| *t <= now);
                    let popped = table.pop(at(now), |head| when(head.when.due.as_second() + on?));
                    let popped = popped.map(|(id, r, when)| (when.run_at.as_second(), id.get(), r));
                    prop_assert_eq!(popped, expect);
                    if let Some((t, n, r)) = expect {
                        model.insert(n, (r, on.map(|on| t + on)));
                    }
                }
            }
            let first = model.values().filter_map(|(_, t)| *t).min();
            prop_assert_eq!(table.next_run_at(), first.map(at));
            prop_assert_eq!(table.len(), model.len());
            prop_assert_eq!(table.waiting(), model.values().filter(|(_, t)| t.is_some()).count());
            for place in 0..table.order.len() {
                prop_assert_eq!(table.places[table.order[place] as usize] as usize, place);
            }
        }
    }
}
