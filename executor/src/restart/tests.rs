use super::*;
use proptest::prelude::*;
use punctual_model::number::Codes;
use punctual_model::restart::Backoff;
use punctual_model::{Exit, Failure, FailureKind, Work};

const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

fn at(seconds: i64) -> Timestamp {
    START + SignedDuration::from_secs(seconds)
}

fn policy(mode: RestartMode) -> RestartPolicy {
    RestartPolicy {
        attempts: 3,
        interval: Duration::from_secs(120),
        delay: Duration::from_secs(10),
        mode,
        ..RestartPolicy::default()
    }
}

fn exit(code: i32) -> Outcome {
    Outcome { exit: Some(Exit::Code(code)), ..Outcome::default() }
}

/// Decides about a row of ends at these times, one after the other.
fn play(policy: &RestartPolicy, outcome: &Outcome, times: &[i64]) -> Vec<Decision> {
    let chance = Chance::from_seed(1);
    let mut count = RestartCount::default();
    let mut decisions = Vec::new();
    for time in times {
        let (decision, next) =
            decide(policy, count, Happened::Ended(outcome), Some(at(*time)), at(*time), &chance);
        count = next;
        decisions.push(decision);
    }
    decisions
}

fn delay_of(decision: &Decision) -> Duration {
    match decision {
        Decision::Restart { delay, .. } => *delay,
        other => panic!("no restart: {other:?}"),
    }
}

#[test]
fn rs01_mode_delay_restarts_within_a_quarter_then_waits_for_the_window() {
    let policy = policy(RestartMode::Delay);
    let decisions = play(&policy, &exit(127), &[0, 1, 2, 3, 4, 5]);
    for decision in &decisions[..3] {
        let delay = delay_of(decision);
        assert!(delay >= policy.delay && delay <= policy.delay * 5 / 4, "{delay:?}");
    }
    for (n, decision) in decisions[3..].iter().enumerate() {
        let delay = delay_of(decision);
        assert!(delay > policy.delay && delay <= policy.interval);
        assert_eq!(delay, Duration::from_secs(120 - 3 - n as u64));
        assert!(matches!(decision, Decision::Restart { reason: EXCEEDED, .. }));
    }
}

#[test]
fn rs02_mode_fail_restarts_so_often_and_then_fails() {
    let decisions = play(&policy(RestartMode::Fail), &exit(127), &[0, 1, 2, 3]);
    assert!(decisions[..3].iter().all(|d| matches!(d, Decision::Restart { reason: WITHIN, .. })));
    assert_eq!(
        decisions[3],
        Decision::Failed {
            reason: "exceeded allowed attempts 3 in interval 2m and mode is \"fail\"".to_owned()
        }
    );
}

#[test]
fn rs03_success_of_a_batch_terminates() {
    for mode in [RestartMode::Fail, RestartMode::Delay] {
        assert_eq!(play(&policy(mode), &exit(0), &[0])[0], Decision::Terminated { reason: UNNECESSARY });
    }
    let service = RestartPolicy { on_success: true, ..policy(RestartMode::Fail) };
    let decisions = play(&service, &exit(0), &[0, 1, 2, 3]);
    assert!(decisions[..3].iter().all(|d| matches!(d, Decision::Restart { .. })));
    assert!(matches!(decisions[3], Decision::Failed { .. }));
}

#[test]
fn without_restarts_the_first_end_is_the_end() {
    let policy = RestartPolicy::default();
    assert_eq!(play(&policy, &exit(0), &[0])[0], Decision::Terminated { reason: NO_RESTARTS });
    assert_eq!(play(&policy, &exit(1), &[0])[0], Decision::Failed { reason: NO_RESTARTS.to_owned() });
}

#[test]
fn rs05_killed_wins_without_delay_and_without_being_counted() {
    let chance = Chance::from_seed(1);
    let count = RestartCount { count: 2, window_start: Some(START), first_start: None };
    for policy in [policy(RestartMode::Delay), RestartPolicy::default()] {
        let decided = decide(&policy, count, Happened::Killed, Some(START), at(1), &chance);
        assert_eq!(decided, (Decision::Killed, count));
    }
}

/// TR16: what is asked for is done at once, counts nothing, and needs no policy.
#[test]
fn rs06_a_requested_restart_is_at_once_even_without_attempts() {
    let chance = Chance::from_seed(1);
    let count = RestartCount::default();
    for policy in [policy(RestartMode::Fail), RestartPolicy::default()] {
        assert_eq!(
            decide(&policy, count, Happened::RestartAsked, Some(START), START, &chance),
            (Decision::Restart { delay: Duration::ZERO, reason: ASKED }, count)
        );
    }
}

#[test]
fn rs08_recoverable_start_errors_follow_both_modes_like_exits() {
    let failed = Outcome::failed(Failure::new(FailureKind::Start, "busy").recoverable());
    let fail = play(&policy(RestartMode::Fail), &failed, &[0, 1, 2, 3]);
    assert!(fail[..3].iter().all(|d| matches!(d, Decision::Restart { reason: WITHIN, .. })));
    assert!(matches!(fail[3], Decision::Failed { .. }));
    let delay = play(&policy(RestartMode::Delay), &failed, &[0, 1, 2, 3]);
    assert!(matches!(delay[3], Decision::Restart { reason: EXCEEDED, .. }));
    let fatal = Outcome::failed(Failure::new(FailureKind::Start, "no such program"));
    assert_eq!(
        play(&policy(RestartMode::Delay), &fatal, &[0])[0],
        Decision::Failed { reason: UNRECOVERABLE.to_owned() }
    );
}

fn failed(kind: FailureKind, recoverable: bool) -> Outcome {
    Outcome::failed(Failure { recoverable, ..Failure::new(kind, "no") })
}

/// The table row by row, in its order: each row wins over those below it. (Its fifth, for an outcome that nobody
/// knows, cannot be asked for: B4.)
#[test]
fn rs_every_row_of_the_table_wins_over_those_below_it() {
    let none = RestartPolicy::default();
    let none_service = RestartPolicy { on_success: true, ..none.clone() };
    let (fail, delay) = (policy(RestartMode::Fail), policy(RestartMode::Delay));
    let service = RestartPolicy { on_success: true, ..fail.clone() };
    let fresh = RestartCount::default();
    let full = RestartCount { count: 3, window_start: Some(START), first_start: None };
    let (good, bad) = (exit(0), exit(1));
    let (fatal, busy) = (failed(FailureKind::Start, false), failed(FailureKind::Start, true));
    use Happened::{Ended, Killed, RestartAsked};
    let rows: [(&str, &RestartPolicy, RestartCount, Happened<'_>, &str, u32); 17] = [
        ("1", &none, fresh, Killed, "killed", 0),
        ("1", &fail, full, Killed, "killed", 3),
        ("2", &none, fresh, RestartAsked, "restart restart on request", 0),
        ("2", &fail, full, RestartAsked, "restart restart on request", 3),
        ("3", &none, fresh, Ended(&good), "terminated policy allows no restarts", 0),
        ("4", &none, fresh, Ended(&bad), "failed policy allows no restarts", 0),
        ("4", &none, fresh, Ended(&fatal), "failed policy allows no restarts", 0),
        ("4", &none_service, fresh, Ended(&good), "failed policy allows no restarts", 0),
        ("6", &fail, full, Ended(&fatal), "failed error was unrecoverable", 4),
        ("6", &delay, fresh, Ended(&fatal), "failed error was unrecoverable", 1),
        ("7", &fail, full, Ended(&good), "terminated restart unnecessary as the work succeeded", 4),
        (
            "8",
            &fail,
            full,
            Ended(&busy),
            "failed exceeded allowed attempts 3 in interval 2m and mode is \"fail\"",
            4,
        ),
        (
            "8",
            &service,
            full,
            Ended(&good),
            "failed exceeded allowed attempts 3 in interval 2m and mode is \"fail\"",
            4,
        ),
        ("9", &delay, full, Ended(&bad), "restart exceeded allowed attempts, applying a delay", 4),
        ("10", &fail, fresh, Ended(&bad), "restart restart within policy", 1),
        ("10", &service, fresh, Ended(&good), "restart restart within policy", 1),
        ("10", &delay, fresh, Ended(&busy), "restart restart within policy", 1),
    ];
    for (row, policy, count, happened, expect, counted) in rows {
        let (decision, after) = decide(policy, count, happened, Some(START), at(1), &Chance::from_seed(1));
        let told = match decision {
            Decision::Killed => "killed".to_owned(),
            Decision::Restart { reason, .. } => format!("restart {reason}"),
            Decision::Terminated { reason } => format!("terminated {reason}"),
            Decision::Failed { reason } => format!("failed {reason}"),
        };
        assert_eq!((told.as_str(), after.count), (expect, counted), "row {row}");
    }
}

#[test]
fn pauses_grow_with_the_count_of_the_window_and_begin_anew_with_the_next() {
    let backoff = Some(Backoff { factor: Decimal::thousandths(3000), max: Duration::from_secs(60) });
    let policy = RestartPolicy {
        attempts: 10,
        interval: Duration::from_secs(1000),
        backoff,
        jitter: Decimal::thousandths(0),
        ..policy(RestartMode::Delay)
    };
    let decisions = play(&policy, &exit(1), &[0, 1, 2, 3, 4, 1000, 1001]);
    let delays: Vec<u64> = decisions.iter().map(|decision| delay_of(decision).as_secs()).collect();
    assert_eq!(delays, [10, 30, 60, 60, 60, 10, 30]);
}

/// B37: what began in the same second does not come back in the same moment.
#[test]
fn chance_adds_up_to_its_share_and_differs_from_run_to_run() {
    for (share, most) in [(0u32, 10_000u128), (250, 12_500), (1000, 20_000)] {
        let policy = RestartPolicy { jitter: Decimal::thousandths(share), ..policy(RestartMode::Fail) };
        let chance = Chance::from_seed(7);
        let count = RestartCount::default();
        let delays: Vec<_> = (0..100)
            .map(|_| delay_of(&decide(&policy, count, Happened::Ended(&exit(1)), None, START, &chance).0))
            .collect();
        let range = 10_000..=most;
        assert!(delays.iter().all(|delay| range.contains(&delay.as_micros().div_euclid(1000))), "{delays:?}");
        let mut distinct = delays.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len() > 90, share > 0, "{share}: {} distinct", distinct.len());
    }
}

#[test]
fn classes_decide_which_bad_ends_are_worth_another_attempt() {
    let retry =
        |classes: &[EndClass]| RestartPolicy { retry_on: classes.to_vec(), ..policy(RestartMode::Fail) };
    let fail =
        |classes: &[EndClass]| RestartPolicy { fail_on: classes.to_vec(), ..policy(RestartMode::Fail) };
    let told = |policy: &RestartPolicy, outcome: &Outcome| match &play(policy, outcome, &[0])[0] {
        Decision::Restart { .. } => "again".to_owned(),
        Decision::Failed { reason } => reason.clone(),
        other => format!("{other:?}"),
    };
    let temporary = retry(&[EndClass::Codes(Codes::one(75)), EndClass::Timeout]);
    assert_eq!(told(&temporary, &exit(75)), "again");
    assert_eq!(told(&temporary, &failed(FailureKind::Timeout, true)), "again");
    assert_eq!(told(&temporary, &exit(1)), "only ends of these classes are retried: 75, timeout");
    assert_eq!(told(&retry(&[EndClass::Start]), &failed(FailureKind::Start, false)), "again");
    let usage = fail(&[EndClass::Codes(Codes::range(64, 78))]);
    assert_eq!(told(&usage, &exit(65)), "ends of the class 64-78 are not retried");
    assert_eq!(told(&usage, &exit(1)), "again");
    assert_eq!(told(&usage, &failed(FailureKind::Start, false)), UNRECOVERABLE);
    let both = RestartPolicy { retry_on: vec![EndClass::Work], ..usage };
    assert_eq!(told(&both, &exit(65)), "ends of the class 64-78 are not retried", "to fail goes first");
    let service = RestartPolicy { on_success: true, ..temporary };
    assert_eq!(told(&service, &exit(0)), "again", "a good end is of no class");
}

#[test]
fn no_attempt_begins_after_the_total_time_pauses_included() {
    let policy = RestartPolicy {
        attempts: 100,
        max_time: Some(Duration::from_secs(60)),
        jitter: Decimal::thousandths(0),
        ..policy(RestartMode::Fail)
    };
    let decisions = play(&policy, &exit(1), &[0, 20, 50, 51]);
    assert!(decisions[..3].iter().all(|decision| delay_of(decision) == Duration::from_secs(10)));
    let reason = "the next attempt would begin later than the total time of 1m allows".to_owned();
    assert_eq!(decisions[3], Decision::Failed { reason });
    // The time counts from the first start, whatever the window does.
    let count = RestartCount { count: 1, window_start: Some(at(1000)), first_start: Some(START) };
    let (decision, _) =
        decide(&policy, count, Happened::Ended(&exit(1)), Some(at(1000)), at(1001), &Chance::from_seed(1));
    assert!(matches!(decision, Decision::Failed { .. }));
}

#[test]
fn a_timeout_counts_as_a_failure() {
    let late = Outcome::failed(Failure::new(FailureKind::Timeout, "too long").recoverable());
    let decisions = play(&policy(RestartMode::Fail), &late, &[0, 1, 2, 3]);
    assert!(matches!(decisions[0], Decision::Restart { .. }));
    assert!(matches!(decisions[3], Decision::Failed { .. }));
}

/// B37
#[test]
fn no_window_allows_one_more_than_the_first() {
    let times: Vec<i64> = (0..3).flat_map(|w| (0..4).map(move |n| w * 200 + n)).collect();
    let decisions = play(&policy(RestartMode::Fail), &exit(1), &times);
    for window in decisions.chunks(4) {
        assert!(window[..3].iter().all(|d| matches!(d, Decision::Restart { .. })));
        assert!(matches!(window[3], Decision::Failed { .. }));
    }
}

#[test]
fn a_wait_for_the_end_of_the_window_ends_in_a_new_one() {
    let policy = policy(RestartMode::Delay);
    let decisions = play(&policy, &exit(1), &[0, 1, 2, 3, 120, 121]);
    assert_eq!(delay_of(&decisions[3]), Duration::from_secs(117), "until the window is over");
    for decision in &decisions[4..] {
        assert!(matches!(decision, Decision::Restart { reason: WITHIN, .. }), "{decision:?}");
        assert!(delay_of(decision) >= policy.delay);
    }
}

#[test]
fn a_clock_set_back_never_makes_the_wait_longer_than_the_interval() {
    let policy = policy(RestartMode::Delay);
    let count = RestartCount { count: 3, window_start: Some(at(1_000_000)), first_start: None };
    let (decision, _) = decide(&policy, count, Happened::Ended(&exit(1)), None, START, &Chance::from_seed(1));
    assert_eq!(delay_of(&decision), policy.interval);
}

#[test]
fn a_lost_attempt_is_repeated_only_where_the_task_allows_it() {
    let mut spec = TaskSpec::new("n", Work::shell(""));
    assert!(!repeats_lost(&spec));
    spec.idempotent = true;
    assert!(repeats_lost(&spec));
    spec.idempotent = false;
    spec.restart.on_lost = OnLost::Restart;
    assert!(repeats_lost(&spec));
}

proptest! {
    #[test]
    fn no_policy_panics_and_no_restart_exceeds_its_bounds(
        attempts: u32, interval: u64, delay: u64, count: u32, window in any::<Option<i32>>(), success: bool,
        on_success: bool, wait: bool, seed: u64,
    ) {
        let policy = RestartPolicy {
            attempts, interval: Duration::from_secs(interval), delay: Duration::from_secs(delay),
            mode: if wait { RestartMode::Delay } else { RestartMode::Fail }, on_success, ..RestartPolicy::default()
        };
        let count = RestartCount { count, window_start: window.map(|s| at(i64::from(s))), first_start: None };
        let outcome = exit(i32::from(!success));
        let (decision, after) = decide(&policy, count, Happened::Ended(&outcome), Some(START), START, &Chance::from_seed(seed));
        if let Decision::Restart { delay, .. } = decision {
            prop_assert!(attempts > 0);
            prop_assert!(delay <= policy.interval.max(policy.delay.saturating_mul(2)));
            prop_assert!(after.count >= 1 && after.window_start.is_some());
        }
        if matches!(decision, Decision::Terminated { .. }) {
            prop_assert!(success && !on_success);
        }
    }
}
