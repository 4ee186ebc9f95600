use super::*;
use crate::schedule::Zone;
use jiff::ToSpan;
use proptest::prelude::*;
use punctual_model::Schedule;
use punctual_model::schedule::{Cron, Every};
use std::sync::Arc;

const DAY: i64 = 86_400;
/// 2026-01-05T00:00Z, a Monday.
const MONDAY: i64 = 1_767_571_200;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(MONDAY + seconds).unwrap()
}

fn every(seconds: u64) -> Arc<Timeline> {
    compile(&[Schedule::Every(Every::new(Duration::from_secs(seconds)))])
}

fn compile(schedules: &[Schedule]) -> Arc<Timeline> {
    Timeline::compile(schedules, &Zone::utc()).unwrap()
}

fn ask(timeline: &Timeline, policy: CatchUpPolicy, checkpoint: i64, now: i64) -> Question<'_> {
    Question {
        task: TaskId::new(7).unwrap(),
        timeline,
        spread: Spread::default(),
        grace: Duration::from_secs(10),
        catch_up: policy.into(),
        checkpoint: at(checkpoint),
        now: at(now),
    }
}

fn dues(whens: &[When]) -> Vec<i64> {
    whens.iter().map(|when| when.due.as_second() - MONDAY).collect()
}

fn missed(plan: &Plan) -> Option<(i64, i64, u64, MissedWhy)> {
    let second = |at: Timestamp| at.as_second() - MONDAY;
    plan.missed.map(|missed| (second(missed.from), second(missed.to), missed.count, missed.why))
}

#[test]
fn nothing_is_owed_before_the_next_due_and_the_checkpoint_stays() {
    let hourly = every(3600);
    let plan = plan(&ask(&hourly, CatchUpPolicy::All, 0, 3599));
    assert_eq!((plan.missed, plan.caught_up.len(), plan.on_time.len(), plan.more), (None, 0, 0, false));
    assert_eq!(plan.checkpoint, at(0));
}

#[test]
fn what_is_looked_at_within_grace_simply_runs_under_every_policy() {
    let hourly = every(3600);
    for policy in [CatchUpPolicy::Skip, CatchUpPolicy::Latest, CatchUpPolicy::All] {
        let plan = plan(&ask(&hourly, policy, 0, 3610));
        assert_eq!((dues(&plan.on_time), plan.missed, plan.caught_up.len()), (vec![3600], None, 0));
        assert_eq!(plan.checkpoint, at(3600));
    }
}

#[test]
fn a_second_after_grace_a_due_is_late_and_the_policy_decides() {
    let hourly = every(3600);
    let decide = |policy| plan(&ask(&hourly, policy, 0, 5 * 3600 + 11));
    let skip = decide(CatchUpPolicy::Skip);
    assert_eq!(missed(&skip), Some((3600, 5 * 3600, 5, MissedWhy::PolicySkip)));
    assert_eq!((skip.caught_up.len(), skip.on_time.len(), skip.checkpoint), (0, 0, at(5 * 3600)));
    let latest = decide(CatchUpPolicy::Latest);
    assert_eq!(missed(&latest), Some((3600, 4 * 3600, 4, MissedWhy::PolicyLatest)));
    assert_eq!((dues(&latest.caught_up), latest.checkpoint), (vec![5 * 3600], at(5 * 3600)));
    let all = decide(CatchUpPolicy::All);
    assert_eq!((missed(&all), dues(&all.caught_up)), (None, (1..=5).map(|n| n * 3600).collect()));
    assert_eq!(all.rate, CatchUp::RATE);
}

#[test]
fn under_latest_the_due_on_time_is_the_latest() {
    let hourly = every(3600);
    let plan = plan(&ask(&hourly, CatchUpPolicy::Latest, 0, 5 * 3600 + 10));
    assert_eq!(missed(&plan), Some((3600, 4 * 3600, 4, MissedWhy::PolicyLatest)));
    assert_eq!((plan.caught_up.len(), dues(&plan.on_time)), (0, vec![5 * 3600]));
}

#[test]
fn outside_the_window_nothing_is_caught_up() {
    let daily = every(86_400);
    let mut question = ask(&daily, CatchUpPolicy::Latest, 0, 5 * DAY + DAY / 2);
    question.catch_up.window = Duration::from_secs(3600);
    let plan_latest = plan(&question);
    assert_eq!(missed(&plan_latest), Some((DAY, 5 * DAY, 5, MissedWhy::OutsideWindow)));
    assert_eq!((plan_latest.caught_up.len(), plan_latest.checkpoint), (0, at(5 * DAY)));
    question.catch_up = CatchUp { window: Duration::from_secs(2 * 86_400), ..CatchUpPolicy::All.into() };
    let plan_all = plan(&question);
    assert_eq!(dues(&plan_all.caught_up), [4 * DAY, 5 * DAY]);
    assert_eq!(missed(&plan_all), Some((DAY, 3 * DAY, 3, MissedWhy::OutsideWindow)));
}

#[test]
fn the_edge_of_the_window_is_inside() {
    let daily = every(86_400);
    let question = ask(&daily, CatchUpPolicy::Latest, 0, 2 * DAY);
    let plan_edge = plan(&Question { grace: Duration::ZERO, now: at(2 * DAY) - 1.second(), ..question });
    assert_eq!(dues(&plan_edge.caught_up), [DAY]);
    let exact = CatchUp { window: Duration::from_secs(3600), ..CatchUp::default() };
    let inside = plan(&Question { catch_up: exact, now: at(DAY + 3600), ..question });
    assert_eq!(dues(&inside.caught_up), [DAY]);
    let outside = plan(&Question { catch_up: exact, now: at(DAY + 3600) + 1.nanosecond(), ..question });
    assert_eq!(missed(&outside), Some((DAY, DAY, 1, MissedWhy::OutsideWindow)));
}

#[test]
fn all_takes_the_newest_of_its_limit() {
    let minutely = every(60);
    let plan = plan(&ask(&minutely, CatchUpPolicy::All, 0, 200 * 60 + 30));
    assert_eq!(dues(&plan.caught_up), (101..=200).map(|n| n * 60).collect::<Vec<_>>());
    assert_eq!(missed(&plan), Some((60, 100 * 60, 100, MissedWhy::OverLimit)));
}

/// SC04, as one late look: of 17 s behind a second of offset 16 dues are owed, and 2 more after 2 s.
#[test]
fn sc04_a_second_under_a_second_of_offset_owes_sixteen_of_seventeen_then_two() {
    let secondly = every(1);
    let spread = Spread { offset: SignedDuration::from_secs(1), ..Spread::default() };
    let first = plan(&Question { spread, ..ask(&secondly, CatchUpPolicy::All, 0, 17) });
    assert_eq!((dues(&first.caught_up), dues(&first.on_time)), ((1..6).collect(), (6..=16).collect()));
    assert!(first.on_time.iter().all(|when| when.run_at == when.due + 1.second()));
    let checkpoint = first.checkpoint;
    let second = plan(&Question { spread, checkpoint, ..ask(&secondly, CatchUpPolicy::All, 0, 19) });
    assert_eq!((dues(&second.on_time), second.caught_up.len(), second.missed), (vec![17, 18], 0, None));
}

/// SC13
#[test]
fn sc13_on_claim_what_the_schedule_names_is_run_and_nothing_if_it_names_none() {
    let monthly = compile(&[Schedule::Cron(Cron::new("0 0 31 * *"))]);
    assert_eq!(plan(&ask(&monthly, CatchUpPolicy::All, 0, 25 * DAY)).checkpoint, at(0));
    let owed = plan(&ask(&monthly, CatchUpPolicy::All, 0, 26 * DAY + 3600));
    assert_eq!(dues(&owed.caught_up), [26 * DAY]);
    assert_eq!(plan(&ask(&compile(&[]), CatchUpPolicy::All, 0, 400 * DAY)).checkpoint, at(0));
}

#[test]
fn lateness_counts_from_run_at_not_from_the_due() {
    let hourly = every(3600);
    let spread = Spread { offset: SignedDuration::from_secs(1800), ..Spread::default() };
    let question = |now| Question { spread, ..ask(&hourly, CatchUpPolicy::Skip, 0, now) };
    assert_eq!(plan(&question(3600 + 1799)).checkpoint, at(0), "owed only once its run_at has come");
    assert_eq!(dues(&plan(&question(3600 + 1810)).on_time), [3600]);
    assert!(plan(&question(3600 + 1811)).missed.is_some());
    let early = Spread { offset: SignedDuration::from_secs(-1800), ..Spread::default() };
    let plan = plan(&Question { spread: early, ..question(1800) });
    assert_eq!((dues(&plan.on_time), plan.on_time[0].run_at), (vec![3600], at(1800)));
}

#[test]
fn a_plan_too_long_for_one_commit_says_so_and_goes_on_where_it_stopped() {
    let secondly = every(1);
    let mut question = ask(&secondly, CatchUpPolicy::Latest, 0, 25_000);
    question.grace = Duration::from_secs(DAY.unsigned_abs());
    let mut seen = Vec::new();
    for round in 1..=3 {
        let plan = plan(&question);
        assert_eq!((plan.missed, plan.caught_up.len(), plan.more), (None, 0, round < 3));
        seen.extend(dues(&plan.on_time));
        question.checkpoint = plan.checkpoint;
    }
    assert_eq!(seen, (1..=25_000).collect::<Vec<_>>());
}

#[test]
fn a_schedule_that_has_ended_is_accounted_for_up_to_its_last_due() {
    let once = compile(&[Schedule::At(at(100)), Schedule::At(at(50))]);
    let late = plan(&ask(&once, CatchUpPolicy::Latest, 0, 500));
    assert_eq!(
        (dues(&late.caught_up), missed(&late)),
        (vec![100], Some((50, 50, 1, MissedWhy::PolicyLatest)))
    );
    let done = plan(&Question { checkpoint: late.checkpoint, ..ask(&once, CatchUpPolicy::Latest, 0, 500) });
    assert_eq!((done.checkpoint, done.missed, done.caught_up.len()), (at(100), None, 0));
}

#[test]
fn a_clock_that_went_back_owes_nothing_again() {
    let hourly = every(3600);
    let plan = plan(&ask(&hourly, CatchUpPolicy::All, 10 * 3600, 2 * 3600));
    assert_eq!((plan.checkpoint, plan.missed, plan.on_time.len()), (at(10 * 3600), None, 0));
}

/// Ten years of a schedule a second, also under jitter: the work stays bounded, and so does the count.
#[test]
fn ten_years_of_seconds_are_planned_without_walking_them() {
    let secondly = every(1);
    let ten_years = 3650 * DAY;
    for jitter in [0, 60, 86_400] {
        let spread = Spread { jitter: Duration::from_secs(jitter), ..Spread::default() };
        for policy in [CatchUpPolicy::Skip, CatchUpPolicy::Latest, CatchUpPolicy::All] {
            let plan = plan(&Question { spread, ..ask(&secondly, policy, 0, ten_years) });
            let missed = plan.missed.unwrap();
            assert_eq!((missed.count, missed.at_least, missed.from), (MAX_COUNTED, true, at(1)));
            // Under jitter the first due that is not late may be one that is not owed either.
            if let Some(after) = plan.caught_up.first().or(plan.on_time.first()) {
                assert_eq!(after.due, missed.to + 1.second());
            }
            assert!(plan.checkpoint >= at(ten_years) - SignedDuration::from_secs(10 + jitter.cast_signed()));
        }
    }
}

/// Before all schedules, checkpoints and windows of jitter of the properties below.
const BEGINNING: i64 = -20_000;

/// Every due from the beginning up to `until`, each as late as the latest before it.
fn line(task: TaskId, timeline: &Timeline, spread: Spread, until: Timestamp) -> Vec<When> {
    let mut latest = Timestamp::MIN;
    let dues = std::iter::successors(timeline.next(at(BEGINNING)), |due| timeline.next(*due));
    let dues = dues.take_while(|due| *due <= until);
    let mut in_order = |due| {
        latest = latest.max(spread.run_at(task, due));
        When { due, run_at: latest }
    };
    dues.map(&mut in_order).collect()
}

/// The widest window there may be, over the densest schedule: the latest of 300 million dues is found without
/// looking at them all, and it is the same from both sides of a due.
#[test]
fn ten_years_of_jitter_over_a_due_a_second_are_not_walked() {
    let secondly = every(1);
    let spread = Spread { jitter: punctual_model::schedule::MAX_SPAN, ..Spread::default() };
    for task in 1..=5 {
        let times = Times::new(TaskId::new(task).unwrap(), &secondly, spread);
        let line = times.following(at(0), 1_000);
        assert!(line.windows(2).all(|pair| pair[0].run_at <= pair[1].run_at));
        assert_eq!(times.next(at(499)), Some(line[499]));
    }
}

/// Jitter pushes the dues behind the one that it moved furthest: looking at them later, from a checkpoint between
/// them, does not make them late.
#[test]
fn a_due_that_waits_for_the_one_before_it_is_not_late_after_a_restart() {
    let minutely = every(60);
    let spread = Spread { jitter: Duration::from_secs(600), ..Spread::default() };
    let task = TaskId::new(7).unwrap();
    let line: Vec<When> = Times::new(task, &minutely, spread).following(at(0), 500);
    let pushed = line.windows(2).filter(|pair| pair[0].run_at == pair[1].run_at);
    assert!(pushed.clone().count() > 100, "most wait for one before them");
    for pair in pushed {
        // The first of the two has its record; then the node starts again at once.
        let now = pair[0].run_at;
        let question = Question {
            task,
            spread,
            grace: Duration::from_secs(1),
            checkpoint: pair[0].due,
            now,
            ..ask(&minutely, CatchUpPolicy::Skip, 0, 0)
        };
        let plan = plan(&question);
        assert_eq!((plan.missed, plan.on_time.first()), (None, Some(&pair[1])));
    }
}

/// The same question answered by walking every due.
fn naive(question: &Question<'_>) -> Plan {
    let Question { task, timeline, spread, grace, catch_up, checkpoint, now } = *question;
    let earliest = now - spread.offset.min(SignedDuration::ZERO);
    let line = line(task, timeline, spread, earliest);
    let owed: Vec<When> =
        line.into_iter().filter(|when| when.due > checkpoint && when.run_at <= now).collect();
    let lateness = |when: &When| Duration::try_from(now.duration_since(when.run_at)).unwrap();
    let (on_time, late): (Vec<_>, Vec<_>) = owed.iter().copied().partition(|when| lateness(when) <= grace);
    let inside: Vec<_> = late.iter().copied().filter(|when| lateness(when) <= catch_up.window).collect();
    let wanted = match catch_up.policy {
        CatchUpPolicy::Skip => 0,
        CatchUpPolicy::Latest => usize::from(on_time.is_empty()),
        CatchUpPolicy::All => catch_up.limit as usize,
    };
    let caught_up = inside[inside.len().saturating_sub(wanted)..].to_vec();
    let rest = &late[..late.len() - caught_up.len()];
    let missed = rest.last().map(|to| Missed {
        from: rest[0].due,
        to: to.due,
        count: rest.len() as u64,
        at_least: false,
        why: match catch_up.policy {
            CatchUpPolicy::Skip => MissedWhy::PolicySkip,
            _ if lateness(to) > catch_up.window => MissedWhy::OutsideWindow,
            CatchUpPolicy::Latest => MissedWhy::PolicyLatest,
            CatchUpPolicy::All => MissedWhy::OverLimit,
        },
    });
    let checkpoint = owed.last().map_or(checkpoint, |when| when.due);
    Plan { missed, caught_up, rate: catch_up.rate.max(1), on_time, checkpoint, more: false }
}

fn schedules() -> impl Strategy<Value = Vec<Schedule>> {
    let one = prop_oneof![
        (1..40u64).prop_map(|seconds| Schedule::Every(Every::new(Duration::from_secs(seconds * 30)))),
        (-3000..6000i64).prop_map(|seconds| Schedule::At(at(seconds))),
        prop::sample::select(vec!["*/7 * * * *", "0 0 13 * *", "10,11 1 * * *"])
            .prop_map(|expr| Schedule::Cron(Cron::new(expr))),
    ];
    prop::collection::vec(one, 0..5)
}

prop_compose! {
    fn catch_ups()(
        policy in prop::sample::select(vec![CatchUpPolicy::Skip, CatchUpPolicy::Latest, CatchUpPolicy::All]),
        window in 0..6000u64, limit in 0..8u32, rate in 0..3u32,
    ) -> CatchUp {
        CatchUp { policy, window: Duration::from_secs(window), limit, rate }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every due between the old and the new checkpoint is in exactly one outcome, and in the right one.
    #[test]
    fn the_plan_is_what_walking_every_due_would_give(
        schedules in schedules(),
        catch_up in catch_ups(),
        offset in -900..900i64,
        jitter in prop_oneof![Just(0u64), 1..2000u64],
        splay in 0..600u64,
        grace in 0..1500u64,
        (checkpoint, now) in (-4000..5000i64, -4000..9000i64),
        task in 1..1000u64,
    ) {
        let timeline = compile(&schedules);
        let question = Question {
            task: TaskId::new(task).unwrap(),
            spread: Spread {
                offset: SignedDuration::from_secs(offset),
                jitter: Duration::from_secs(jitter),
                splay: Duration::from_secs(splay),
            },
            grace: Duration::from_secs(grace),
            catch_up,
            ..ask(&timeline, catch_up.policy, checkpoint, now)
        };
        let plan = plan(&question);
        prop_assert_eq!(&plan, &naive(&question));
        // The partition, counted apart from the model.
        let count = |from, to| timeline.count(from, to, u64::MAX).count;
        let told = plan.missed.map_or(0, |missed| missed.count) + (plan.caught_up.len() + plan.on_time.len()) as u64;
        prop_assert_eq!(told, count(question.checkpoint, plan.checkpoint));
        prop_assert!(plan.checkpoint >= question.checkpoint);
    }

    /// Where the derivation begins does not matter: after a restart, or a deferral, each due has the `run_at`
    /// that it had before.
    #[test]
    fn any_checkpoint_gives_the_same_line_as_the_very_beginning(
        schedules in schedules(),
        offset in -900..900i64,
        jitter in prop_oneof![Just(0u64), 1..2000u64],
        splay in 0..600u64,
        (checkpoint, moment) in (-4000..5000i64, -6000..9000i64),
        task in 1..1000u64,
    ) {
        let timeline = compile(&schedules);
        let task = TaskId::new(task).unwrap();
        let spread = Spread {
            offset: SignedDuration::from_secs(offset),
            jitter: Duration::from_secs(jitter),
            splay: Duration::from_secs(splay),
        };
        let (checkpoint, moment) = (at(checkpoint), at(moment));
        let line = line(task, &timeline, spread, at(20_000));
        let rest: Vec<When> = line.into_iter().filter(|when| when.due > checkpoint).collect();
        let times = Times::new(task, &timeline, spread);
        let following = times.following(checkpoint, 40);
        let compared = rest.len().min(40);
        prop_assert_eq!(&following[..compared], &rest[..compared]);
        prop_assert_eq!(times.next(checkpoint), following.first().copied());
        let not_owed = times.first_not_owed(checkpoint, moment);
        if let Some(expected) = rest.iter().find(|when| when.run_at > moment) {
            prop_assert_eq!(not_owed, Some(*expected));
        } else {
            // Nothing within the line: what comes is later than all of it, or nothing.
            prop_assert!(not_owed.is_none_or(|when| when.due > at(20_000)));
        }
    }
}
