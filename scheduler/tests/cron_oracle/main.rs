//! A brute-force oracle for cron: it looks at every minute (or second) of real time around every
//! clock change of every zone from 2025 to 2030, and at every day of eight years, and asks a matcher
//! of its own which of them fire. The schedules must give exactly these.

mod spec;
mod wall;

use jiff::civil::date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use punctual_model::schedule::{Cron, DstGap, DstOverlap, Schedule};
use punctual_scheduler::schedule::{Timeline, Zone};
use spec::{Dice, Spec};
use std::collections::BTreeMap;
use std::sync::Arc;
use wall::Wall;

const GAPS: [DstGap; 2] = [DstGap::RunAtEnd, DstGap::Skip];
const OVERLAPS: [DstOverlap; 3] = [DstOverlap::First, DstOverlap::Second, DstOverlap::Both];
const DAY: i64 = 86_400;

/// The zones that differ from 2025 to 2030, each with its clock changes, by the first of their names.
fn zones() -> Vec<(String, TimeZone, Vec<i64>)> {
    let database = TimeZoneDatabase::bundled();
    let from: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    let until: Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
    let mut distinct = BTreeMap::new();
    let mut names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    names.sort_unstable();
    assert!(names.len() > 590, "the bundled database is whole");
    for name in names {
        let zone = database.get(&name).unwrap();
        let changes: Vec<(i64, i32)> = zone
            .following(from)
            .take_while(|change| change.timestamp() < until)
            .map(|change| (change.timestamp().as_second(), change.offset().seconds()))
            .collect();
        distinct.entry((zone.to_offset(from).seconds(), changes)).or_insert((name, zone));
    }
    distinct
        .into_iter()
        .map(|((_, changes), (name, zone))| (name, zone, changes.into_iter().map(|(at, _)| at).collect()))
        .collect()
}

fn timeline(spec: &Spec, zone: &Zone, dst_gap: DstGap, dst_overlap: DstOverlap) -> Option<Arc<Timeline>> {
    let cron = Cron { expr: spec.text(), dst_gap, dst_overlap };
    match Timeline::compile(&[Schedule::Cron(cron)], zone) {
        Ok(timeline) => Some(timeline),
        // Random days and months may never meet; anything else the parser must take.
        Err(error) if error.to_string().contains("no date") => None,
        Err(error) => panic!("{}: {error}", spec.text()),
    }
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Compares the walk over the window, and fresh queries from inside it, with the oracle.
fn check(name: &str, zone: &Zone, wall: &Wall, spec: &Spec, dice: &mut Dice) -> usize {
    let gap = GAPS[usize::from(dice.roll(2))];
    let overlap = OVERLAPS[usize::from(dice.roll(3))];
    let expected = wall.firings(spec, gap, overlap);
    let Some(timeline) = timeline(spec, zone, gap, overlap) else {
        assert!(expected.is_empty(), "{name}: {} was refused but fires", spec.text());
        return 0;
    };
    let mut found = Vec::new();
    let mut after = instant(wall.from);
    while let Some(next) = timeline.next(after).filter(|next| next.as_second() <= wall.until) {
        assert!(next > after, "{name}: {} stands still at {next}", spec.text());
        found.push(next.as_second());
        after = next;
    }
    let first = expected.iter().zip(&found).find(|(expected, found)| expected != found);
    assert!(
        found == expected,
        "{name}: {:?} {gap:?} {overlap:?} from {}: expected {} firings, found {}, first difference {:?}",
        spec.text(),
        instant(wall.from),
        expected.len(),
        found.len(),
        first.map(|(a, b)| (instant(*a), instant(*b))),
    );
    for _ in 0..4 {
        let after = wall.from + i64::from(dice.roll(u16::MAX)) * (wall.until - wall.from) / 65_535;
        let next = timeline.next(instant(after)).map(Timestamp::as_second).filter(|next| *next <= wall.until);
        let expected = expected.iter().copied().find(|at| *at > after);
        assert_eq!(next, expected, "{name}: {:?} {gap:?} {overlap:?} after {after}", spec.text());
    }
    expected.len()
}

#[test]
fn every_minute_around_every_clock_change_agrees() {
    let database = TimeZoneDatabase::bundled();
    let mut dice = Dice(2025);
    let (mut windows, mut firings) = (0, 0);
    let (mut gaps, mut seconds, mut both) = (0, 0, 0);
    for (name, tz, changes) in zones() {
        let zone = Zone::find(&database, &name).unwrap();
        for change in changes {
            let wall = Wall::new(&tz, change, DAY, 60);
            windows += 1;
            for _ in 0..6 {
                let spec = Spec::nightly(5, &mut dice);
                firings += check(&name, &zone, &wall, &spec, &mut dice);
                // The oracle itself must see the difference that the rules make.
                let told = |gap, overlap| wall.firings(&spec, gap, overlap);
                let usual = told(DstGap::RunAtEnd, DstOverlap::First);
                gaps += usize::from(usual != told(DstGap::Skip, DstOverlap::First));
                seconds += usize::from(usual != told(DstGap::RunAtEnd, DstOverlap::Second));
                both += usize::from(usual != told(DstGap::RunAtEnd, DstOverlap::Both));
            }
        }
    }
    println!(
        "{windows} windows, {firings} firings; rules differ: {gaps} gaps, {seconds} second, {both} both"
    );
    assert!(gaps > 200 && seconds > 200 && both > 200, "{gaps} {seconds} {both}");
    assert!(windows > 300 && firings > 100_000, "{windows} windows, {firings} firings");
}

#[test]
fn every_second_around_clock_changes_agrees() {
    let database = TimeZoneDatabase::bundled();
    let mut dice = Dice(77);
    let (mut windows, mut firings) = (0, 0);
    for (name, tz, changes) in zones() {
        let zone = Zone::find(&database, &name).unwrap();
        // One spring and one autumn say it all at this grain; the minutes have seen the others.
        for change in changes.into_iter().take(2) {
            let wall = Wall::new(&tz, change, 3 * 3_600, 1);
            windows += 1;
            for fields in [6, 6, 7] {
                let spec = Spec::nightly(fields, &mut dice);
                firings += check(&name, &zone, &wall, &spec, &mut dice);
            }
        }
    }
    println!("{windows} windows, {firings} firings");
    assert!(windows > 50 && firings > 50_000, "{windows} windows, {firings} firings");
}

#[test]
fn every_day_of_eight_years_agrees() {
    let mut dice = Dice(4);
    let (mut compared, mut firings) = (0, 0);
    /// Firings compared of one expression.
    const MOST: usize = 1_000;
    let from = date(2024, 12, 31);
    for round in 0..400 {
        let spec = Spec::random(if round % 6 == 0 { 7 } else { 5 }, &mut dice);
        let step = if round % 6 == 0 { 1 } else { 60 };
        let midnight = from.at(0, 0, 0, 0);
        let times: Vec<i64> = (0..DAY)
            .step_by(step)
            .filter(|second| spec.matches_time(midnight + second.seconds()))
            .take(MOST)
            .collect();
        let mut expected = Vec::new();
        for date in from.series(1.day()).skip(1).take(8 * 366) {
            if spec.matches_date(date) {
                let midnight = date.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second();
                expected.extend(times.iter().map(|second| instant(midnight + second)));
            }
            if expected.len() > MOST {
                break;
            }
        }
        // The last day may have more times than were looked at.
        expected.truncate(MOST);
        let Some(timeline) = timeline(&spec, &Zone::utc(), DstGap::Skip, DstOverlap::First) else {
            assert_eq!(expected, [], "{} was refused but fires", spec.text());
            continue;
        };
        let mut after = "2024-12-31T23:59:59.5Z".parse().unwrap();
        for expected in &expected {
            assert_eq!(timeline.next(after), Some(*expected), "{} after {after}", spec.text());
            after = *expected;
        }
        compared += 1;
        firings += expected.len();
    }
    println!("{compared} expressions, {firings} firings");
    assert!(compared > 300 && firings > 100_000, "{compared} expressions, {firings} firings");
}
