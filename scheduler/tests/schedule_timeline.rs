//! Timelines: intervals, unions, clock changes of normal days, limits, sharing, zones.
//! Behaviours SC01, OP02 (its schedule parts), CR07, CR11.

use jiff::tz::TimeZoneDatabase;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use punctual_model::TaskId;
use punctual_model::schedule::{Cron, Every, MAX_SCHEDULES, MAX_SPAN, Schedule};
use punctual_scheduler::schedule::{Count, ScheduleCache, ScheduleError, Spread, Timeline, Zone};
use std::sync::Arc;
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::find(&TimeZoneDatabase::bundled(), name).unwrap()
}

fn cron(expr: &str) -> Schedule {
    Schedule::Cron(Cron::new(expr))
}

fn every(seconds: u64) -> Schedule {
    Schedule::Every(Every::new(Duration::from_secs(seconds)))
}

fn compile(schedules: &[Schedule]) -> Arc<Timeline> {
    Timeline::compile(schedules, &Zone::utc()).unwrap()
}

fn dues(timeline: &Timeline, after: Timestamp, count: usize) -> Vec<String> {
    let dues = std::iter::successors(timeline.next(after), |due| timeline.next(*due));
    dues.take(count).map(|due| due.to_string()).collect()
}

#[test]
fn sc01_intervals_fall_on_their_boundaries_exactly_one_apart_also_after_a_jump() {
    for (seconds, boundary) in
        [(60, "2026-11-21T17:40:00Z"), (3_600, "2026-11-21T18:00:00Z"), (604_800, "2026-11-23T00:00:00Z")]
    {
        let timeline = compile(&[every(seconds)]);
        let start = at("2026-11-21T17:39:26.123Z");
        assert_eq!(timeline.next(start), Some(at(boundary)));
        let mut after = start.checked_add(SignedDuration::from_secs(17 * seconds as i64)).unwrap();
        for step in 0..16 {
            let next = timeline.next(after).unwrap();
            assert_eq!((next.as_second() - at(boundary).as_second()) % seconds as i64, 0);
            assert!(step == 0 || next.as_second() - after.as_second() == seconds as i64);
            after = next;
        }
    }
}

#[test]
fn an_anchor_shifts_the_multiples_in_both_directions_and_keeps_its_nanoseconds() {
    let anchor = at("2026-11-21T10:00:07.25Z");
    let timeline =
        compile(&[Schedule::Every(Every { interval: Duration::from_secs(10), anchor: Some(anchor) })]);
    assert_eq!(timeline.next(at("2026-11-21T10:00:07.2Z")), Some(anchor));
    assert_eq!(timeline.next(anchor), Some(at("2026-11-21T10:00:17.25Z")));
    assert_eq!(timeline.next(at("2020-01-01T00:00:00Z")), Some(at("2020-01-01T00:00:07.25Z")));
    assert_eq!(timeline.next(at("1969-12-31T23:59:58.5Z")), Some(at("1970-01-01T00:00:07.25Z")));
    assert_eq!(timeline.next(at("1969-12-31T23:59:57.1Z")), Some(at("1969-12-31T23:59:57.25Z")));
    assert_eq!(timeline.next(Timestamp::MAX), None);
    assert!(timeline.next(Timestamp::MIN).is_some());
}

#[test]
fn several_schedules_are_one_line_and_share_an_instant() {
    let timeline = compile(&[
        cron("0 * * * *"),
        cron("0 12 * * *"),
        every(1_800),
        Schedule::At(at("2026-11-21T11:45:00.5Z")),
        Schedule::At(at("2026-11-21T12:00:00Z")),
    ]);
    assert_eq!(
        dues(&timeline, at("2026-11-21T11:00:00Z"), 4),
        ["2026-11-21T11:30:00Z", "2026-11-21T11:45:00.5Z", "2026-11-21T12:00:00Z", "2026-11-21T12:30:00Z"]
    );
    assert!(timeline.includes(at("2026-11-21T12:00:00Z")));
    assert!(!timeline.includes(at("2026-11-21T12:00:00.000000001Z")));
    assert_eq!(compile(&[]).next(Timestamp::MIN), None, "manual only");
}

#[test]
fn a_due_is_strictly_after_the_instant_asked_about() {
    let timeline = compile(&[cron("* * * * * *"), Schedule::At(at("2026-01-01T00:00:00.5Z"))]);
    assert_eq!(timeline.next(at("2025-12-31T23:59:59.999999999Z")), Some(at("2026-01-01T00:00:00Z")));
    assert_eq!(timeline.next(at("2026-01-01T00:00:00Z")), Some(at("2026-01-01T00:00:00.5Z")));
    assert_eq!(timeline.next(at("2026-01-01T00:00:00.5Z")), Some(at("2026-01-01T00:00:01Z")));
}

#[test]
fn cr07_on_normal_days_and_beside_the_change_it_runs_once_a_day_at_the_wall_time() {
    let new_york = zone("America/New_York");
    let check = |expr: &str, after: &str, expected: [&str; 2]| {
        let timeline = Timeline::compile(&[cron(expr)], &new_york).unwrap();
        assert_eq!(dues(&timeline, at(after), 2), expected, "{expr}");
    };
    // A normal day in winter and in summer.
    check("30 9 * * *", "2027-01-10T12:00:00Z", ["2027-01-10T14:30:00Z", "2027-01-11T14:30:00Z"]);
    check("30 9 * * *", "2027-07-10T12:00:00Z", ["2027-07-10T13:30:00Z", "2027-07-11T13:30:00Z"]);
    // The day in spring (14 March), before and after the gap.
    check("30 1 * * *", "2027-03-14T05:00:00Z", ["2027-03-14T06:30:00Z", "2027-03-15T05:30:00Z"]);
    check("30 3 * * *", "2027-03-14T05:00:00Z", ["2027-03-14T07:30:00Z", "2027-03-15T07:30:00Z"]);
    // The day in autumn (7 November), before and after the repeated hour.
    check("30 0 * * *", "2027-11-07T04:00:00Z", ["2027-11-07T04:30:00Z", "2027-11-08T05:30:00Z"]);
    check("30 2 * * *", "2027-11-07T04:00:00Z", ["2027-11-07T07:30:00Z", "2027-11-08T07:30:00Z"]);
}

#[test]
fn a_day_that_does_not_exist_is_one_firing_at_its_end_and_never_the_end_of_the_schedule() {
    // Apia went from 29 to 31 December 2011.
    let timeline = Timeline::compile(&[cron("0 8,20 * * *")], &zone("Pacific/Apia")).unwrap();
    assert_eq!(
        dues(&timeline, at("2011-12-30T05:00:00Z"), 3),
        ["2011-12-30T06:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T18:00:00Z"]
    );
}

#[test]
fn the_newest_and_the_number_of_dues_in_a_range_are_known() {
    let timeline = compile(&[cron("0-9 3 * * *"), Schedule::At(at("2026-06-01T00:00:00.25Z"))]);
    let (from, until) = (at("2026-01-01T00:00:00Z"), at("2026-12-31T03:04:30Z"));
    assert_eq!(timeline.latest(from, until), Some(at("2026-12-31T03:04:00Z")));
    assert_eq!(timeline.latest(from, at("2026-12-31T03:04:00Z")), Some(at("2026-12-31T03:04:00Z")));
    assert_eq!(timeline.latest(from, at("2026-06-01T01:00:00Z")), Some(at("2026-06-01T00:00:00.25Z")));
    assert_eq!(timeline.latest(from, at("2026-01-01T03:00:00Z")), Some(at("2026-01-01T03:00:00Z")));
    assert_eq!(timeline.latest(from, at("2026-01-01T02:59:59Z")), None);
    assert_eq!(timeline.latest(until, from), None);
    assert_eq!(timeline.count(from, until, 10_000), Count { count: 364 * 10 + 5 + 1, exact: true });
    assert_eq!(timeline.count(from, until, 3_646), Count { count: 3_646, exact: true });
    assert_eq!(timeline.count(from, until, 3_645), Count { count: 3_645, exact: false });
    assert_eq!(timeline.count(until, from, 10), Count { count: 0, exact: true });
    assert_eq!(compile(&[]).latest(Timestamp::MIN, Timestamp::MAX), None);
    assert_eq!(
        compile(&[every(1)]).latest(Timestamp::MIN, Timestamp::MAX).map(Timestamp::as_second),
        Some(Timestamp::MAX.as_second())
    );
}

proptest! {
    #[test]
    fn the_newest_due_is_the_last_of_a_walk(seconds in 1_u64..5_000, minute in 0..60, start in 0_i64..2_000_000_000, span in 0_i64..20_000) {
        let timeline = compile(&[every(seconds), cron(&format!("{minute} * * * *"))]);
        let from = Timestamp::from_second(start).unwrap();
        let until = Timestamp::from_second(start + span).unwrap();
        let walk: Vec<Timestamp> = std::iter::successors(timeline.next(from), |due| timeline.next(*due))
            .take_while(|due| *due <= until)
            .collect();
        prop_assert_eq!(timeline.latest(from, until), walk.last().copied());
        prop_assert_eq!(timeline.count(from, until, u64::MAX), Count { count: walk.len() as u64, exact: true });
    }

    #[test]
    fn every_moves_on_by_at_most_its_interval(seconds in 1_u64..400_000_000, second in -60_000_000_000_i64..200_000_000_000, nano in 0..1_000_000_000, anchor in proptest::option::of(-60_000_000_000_i64..200_000_000_000)) {
        let anchor = anchor.map(|second| Timestamp::from_second(second).unwrap());
        let interval = Duration::from_secs(seconds.min(MAX_SPAN.as_secs()));
        let timeline = compile(&[Schedule::Every(Every { interval, anchor })]);
        let after = Timestamp::new(second, nano).unwrap();
        if let Some(next) = timeline.next(after) {
            prop_assert!(next > after);
            prop_assert!(after.duration_until(next) <= SignedDuration::try_from(interval).unwrap());
            prop_assert!(timeline.includes(next));
        }
    }

    #[test]
    fn a_spread_stays_in_its_windows_and_is_the_same_each_time(id in 1_u64.., second in 0_i64..4_000_000_000, offset in -1_000_i64..1_000, jitter in 0_u64..100_000, splay in 0_u64..100_000) {
        let task = TaskId::new(id).unwrap();
        let due = Timestamp::from_second(second).unwrap();
        let spread = Spread { offset: SignedDuration::from_secs(offset), jitter: Duration::from_millis(jitter), splay: Duration::from_millis(splay) };
        spread.check().unwrap();
        let shift = due.duration_until(spread.run_at(task, due)).as_millis() as i64 - offset * 1_000;
        prop_assert!((0..=(jitter + splay) as i64).contains(&shift));
        prop_assert_eq!(spread.run_at(task, due), spread.run_at(task, due));
    }
}

#[test]
fn jitter_and_splay_fill_their_windows_evenly() {
    let window = Duration::from_secs(60);
    let due = at("2026-11-21T00:00:00Z");
    for spread in
        [Spread { jitter: window, ..Spread::default() }, Spread { splay: window, ..Spread::default() }]
    {
        let mut slots = [0; 12];
        for id in 1..=12_000 {
            let shift = due.duration_until(spread.run_at(TaskId::new(id).unwrap(), due));
            slots[(shift.as_millis() / 5_000) as usize] += 1;
        }
        assert!(slots.iter().all(|slot| (850..=1_150).contains(slot)), "{slots:?}");
    }
    let spread = Spread { splay: window, ..Spread::default() };
    let task = TaskId::new(7).unwrap();
    let later = at("2027-01-01T00:00:00Z");
    let shift = |due: Timestamp| due.duration_until(spread.run_at(task, due));
    assert_eq!(shift(due), shift(later), "splay is the task's, not the due's");
}

#[test]
fn op02_intervals_and_offsets_outside_their_limits_are_refused() {
    let refused = |interval| {
        let schedule = Schedule::Every(Every::new(interval));
        match Timeline::compile(&[schedule], &Zone::utc()) {
            Err(ScheduleError::Span { field: "every", reason }) => reason,
            other => panic!("{interval:?}: {other:?}"),
        }
    };
    assert!(refused(Duration::ZERO).contains("shorter than 1s"));
    assert!(refused(Duration::from_millis(500)).contains("not a whole number of seconds"));
    assert!(refused(Duration::from_millis(1_500)).contains("not a whole number of seconds"));
    assert!(refused(MAX_SPAN + Duration::from_secs(1)).contains("longer"));
    compile(&[every(1), every(22 * 86_400), Schedule::Every(Every::new(MAX_SPAN))]);
    // A negative interval has no value to be refused: its text is.
    assert!(punctual_model::duration::parse("-1m").is_err());

    let offset = |offset| Spread { offset, ..Spread::default() }.check();
    offset(SignedDuration::from_secs(-3_600)).unwrap();
    offset(SignedDuration::from_secs(22 * 86_400)).unwrap();
    assert!(
        offset(SignedDuration::from_millis(500))
            .unwrap_err()
            .to_string()
            .starts_with("invalid offset: 500ms")
    );
    assert!(offset(SignedDuration::from_millis(-1_500)).is_err());
    assert!(offset(SignedDuration::from_secs(-11 * 366 * 86_400)).is_err());
    assert!(offset(SignedDuration::MIN).is_err());
    let jitter = |jitter| Spread { jitter, ..Spread::default() }.check();
    jitter(Duration::from_millis(1)).unwrap();
    assert!(jitter(Duration::from_micros(1)).is_err());
    assert!(jitter(Duration::MAX).is_err());
    assert!(Spread { splay: MAX_SPAN * 2, ..Spread::default() }.check().is_err());
}

#[test]
fn a_task_has_at_most_so_many_schedules_and_each_must_have_a_future() {
    let many = vec![every(60); MAX_SCHEDULES + 1];
    assert!(matches!(Timeline::compile(&many, &Zone::utc()), Err(ScheduleError::TooMany { .. })));
    let now = at("2026-11-21T00:00:00Z");
    compile(&[every(60), cron("0 0 1 1 *"), Schedule::At(at("2026-11-22T00:00:00Z"))])
        .require_future(now)
        .unwrap();
    let error = compile(&[every(60), Schedule::At(now)]).require_future(now).unwrap_err();
    assert!(error.to_string().contains("not after 2026-11-21T00:00:00Z"), "{error}");
    compile(&[]).require_future(now).unwrap();
}

#[test]
fn equal_schedules_share_one_timeline_and_the_unused_are_forgotten() {
    let cache = ScheduleCache::new();
    let berlin = zone("Europe/Berlin");
    let first = cache.compile(&[cron("0 9 * * mon-fri"), every(60)], &berlin).unwrap();
    let same = cache.compile(&[cron(" 0  9 ? * 1-5"), every(60)], &berlin).unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    let elsewhere = cache.compile(&[cron("0 9 * * 1-5"), every(60)], &Zone::utc()).unwrap();
    assert!(!Arc::ptr_eq(&first, &elsewhere));
    let mut skipping = Cron::new("0 9 * * 1-5");
    skipping.dst_gap = punctual_model::schedule::DstGap::Skip;
    let skipping = cache.compile(&[Schedule::Cron(skipping), every(60)], &berlin).unwrap();
    assert!(!Arc::ptr_eq(&first, &skipping));
    assert_eq!(cache.in_use(), 3);
    drop((first, same, elsewhere, skipping));
    assert_eq!(cache.in_use(), 0);
    assert!(cache.compile(&[cron("0 0 30 2 *")], &berlin).is_err());
    // Many short-lived ones leave the cache as it was.
    for second in 1..5_000 {
        cache.compile(&[every(second)], &berlin).unwrap();
    }
    assert_eq!(cache.in_use(), 0);
}

#[test]
fn cr11_an_unknown_zone_is_an_error_with_a_guess() {
    let database = TimeZoneDatabase::bundled();
    let refused = |name: &str| Zone::find(&database, name).unwrap_err().to_string();
    assert!(refused("Europe/Berln").ends_with("did you mean Europe/Berlin?"));
    assert!(refused("berlin").ends_with("did you mean Europe/Berlin?"));
    assert!(refused("New York").ends_with("did you mean America/New_York?"));
    assert!(refused("UTC+2").contains("Etc/GMT-2"));
    assert!(refused("+02:00").contains("Etc/GMT-2"));
    assert!(refused("").contains("UTC is the default"));
    assert!(
        refused("Middle-earth/Shire")
            .starts_with("unknown time zone \"Middle-earth/Shire\": expected an IANA")
    );
    assert!(!refused("Middle-earth/Shire").contains("did you mean"));
    assert!(refused(&"x".repeat(1 << 20)).len() < 500);
    assert_eq!(zone("europe/BERLIN").name(), "Europe/Berlin");
    assert_eq!(Zone::utc().name(), "UTC");
    let cache = ScheduleCache::new();
    assert_eq!(cache.zone_of(&database, "asia/tokyo").unwrap().name(), "Asia/Tokyo");
    assert_eq!(cache.zone_of(&database, "Asia/Tokyo").unwrap(), zone("Asia/Tokyo"));
    assert!(Zone::get("UTC").is_ok());
}
