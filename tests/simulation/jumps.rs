//! The wall clock is led astray, by a minute, by hours, by days, in both directions: nothing happens twice, nothing
//! is lost that the policy keeps, and nobody spins.

use jiff::{SignedDuration, Timestamp};
use punctual::clock::Clock;
use punctual::prelude::*;
use punctual::testing::TestEngine;
use std::collections::BTreeSet;
use std::time::Duration;

const START: &str = "2027-06-01T00:00:00Z";
const JUMPS: [SignedDuration; 6] = [
    SignedDuration::from_secs(59),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(72),
    SignedDuration::from_secs(-59),
    SignedDuration::from_hours(-2),
    SignedDuration::from_hours(-72),
];

/// Tasks of every rhythm; those of the same rhythm differ in what they make of late dues.
const RHYTHMS: [(&str, &str); 4] = [
    ("secondly", "* * * * * *"),
    ("minutely", "* * * * *"),
    ("hourly", "7 * * * *"),
    ("daily", "30 2 * * *"),
];

fn everything(policy: CatchUpPolicy) -> impl Iterator<Item = TaskSpec> {
    RHYTHMS.into_iter().map(move |(name, cron)| {
        let catch_up = CatchUp { limit: 10, window: Duration::from_secs(7 * 86_400), ..policy.into() };
        TaskSpec::new(name, Work::handler("h"))
            .cron(cron)
            .catch_up(catch_up)
            .retention(50_000, Duration::from_secs(40 * 86_400))
    })
}

/// The dues that ran, how many did not, and whether that is all (very many are only counted as at least so many).
fn dues_of(runs: &[Run]) -> (Vec<Timestamp>, u64, bool) {
    let (mut ran, mut missed, mut exact) = (Vec::new(), 0, true);
    for run in runs {
        match run.state() {
            RunState::Missed(range) => {
                missed += range.count;
                exact &= !range.at_least;
            }
            _ => ran.push(run.scheduled_for),
        }
    }
    (ran, missed, exact)
}

async fn jump(policy: CatchUpPolicy, by: SignedDuration) {
    let t = TestEngine::at(START).await;
    for spec in everything(policy) {
        t.tasks().create(spec).await.unwrap();
    }
    t.advance(Duration::from_secs(90)).await;
    let looks = t.scheduler_statistics().looks;
    let before = t.clock().now();
    t.clock().set_wall(before + by);
    t.settle().await;
    let spent = t.scheduler_statistics().looks - looks;
    assert!(spent <= 8, "{by:#}: {spent} looks for one jump");
    // Once the wall clock reads again what it read, everything goes on, and no sooner.
    let back = if by.is_negative() { by.unsigned_abs() } else { Duration::ZERO };
    let looks = t.scheduler_statistics().looks;
    t.advance(back).await;
    let spent = t.scheduler_statistics().looks - looks;
    assert!(spent <= 8, "{by:#}: {spent} looks while every due has its record");
    t.advance(Duration::from_secs(120)).await;
    let now = t.clock().now();
    for ((name, _), period) in RHYTHMS.into_iter().zip([1, 60, 3_600, 86_400]) {
        let runs = t.runs(name).await;
        let (ran, missed, exact) = dues_of(&runs);
        let distinct: BTreeSet<Timestamp> = ran.iter().copied().collect();
        assert_eq!(distinct.len(), ran.len(), "{name} {by:#}: something ran twice");
        assert!(ran.is_sorted(), "{name} {by:#}: {ran:?}");
        let first: Timestamp = START.parse().unwrap();
        let offset = match name {
            "hourly" => 420,
            "daily" => 9_000,
            _ => 0,
        };
        let elapsed = now.as_second() - first.as_second();
        let due = (elapsed - offset).div_euclid(period) + i64::from(offset > 0);
        let found = ran.len() as u64 + missed;
        let found = i64::try_from(found).unwrap();
        let complete = if exact { found == due.max(0) } else { found > 10_000 && found < due };
        assert!(complete, "{name} {by:#} {policy:?}: {found} of {due} dues have a record");
        // What the policy keeps of the dues that the jump has passed over.
        let late = runs
            .iter()
            .filter(|run| run.trigger.as_str() == "catch_up" && !matches!(run.state(), RunState::Missed(_)));
        let most = match policy {
            CatchUpPolicy::Skip => 0,
            CatchUpPolicy::Latest => 1,
            CatchUpPolicy::All => 10,
        };
        let late = late.count();
        assert!(late <= most, "{name} {by:#} {policy:?}: {late} caught up");
        if missed > 0 && policy == CatchUpPolicy::All {
            assert_eq!(late, most, "{name} {by:#}: missed although the policy keeps ten");
        }
    }
    let daily = t.runs("daily").await;
    if by == SignedDuration::from_hours(72) {
        let (ran, missed, _) = dues_of(&daily);
        let expected = match policy {
            CatchUpPolicy::Skip => (0, 3),
            CatchUpPolicy::Latest => (1, 2),
            CatchUpPolicy::All => (3, 0),
        };
        assert_eq!((ran.len(), missed), expected, "{policy:?}");
    }
}

#[test]
fn clock_jumps_happen_once_lose_nothing_and_do_not_spin() {
    for policy in [CatchUpPolicy::Skip, CatchUpPolicy::Latest, CatchUpPolicy::All] {
        for by in JUMPS {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(jump(policy, by));
        }
    }
}

/// A clock that goes back while a run waits for its time lets it wait; one that goes forward lets it go.
#[tokio::test(start_paused = true)]
async fn a_parked_run_starts_once_however_the_clock_jumps() {
    let t = TestEngine::at(START).await;
    let task = t.tasks().create(TaskSpec::new("parked", Work::handler("h"))).await.unwrap().stored.task.id;
    let at: Timestamp = "2027-06-01T06:00:00Z".parse().unwrap();
    let request = RunRequest { run_at: Some(at), ..RunRequest::default() };
    t.tasks().run_now(task, request).await.unwrap();
    for by in JUMPS.into_iter().filter(|by| by.abs() < SignedDuration::from_hours(3)) {
        let now = t.clock().now();
        t.clock().set_wall(now + by);
        t.settle().await;
        assert!(t.driver().started().is_empty(), "{by:#}");
    }
    t.clock().set_wall(at + SignedDuration::from_hours(72));
    t.settle().await;
    assert_eq!(t.driver().started(), ["parked"]);
    t.clock().set_wall(at - SignedDuration::from_hours(72));
    t.advance(Duration::from_secs(5 * 86_400)).await;
    assert_eq!(t.driver().started(), ["parked"], "once");
}
