//! Whether an ended attempt is followed by another one: the restart tracker's decision table.
//!
//! A pure function over the policy, what the run remembers of earlier ends, what happened now, the time and
//! chance. Called by the end of an attempt; it writes nothing. The rows are those of Nomad's restart tracker
//! with the order repaired: the window is looked at before the end is counted, so no later window allows one
//! restart more than the first.

use jiff::{SignedDuration, Timestamp};
use punctual_clock::Chance;
use punctual_model::restart::{OnLost, RestartCount, RestartMode, RestartPolicy};
use punctual_model::{Outcome, TaskSpec};
use std::time::Duration;

/// What happened to an attempt.
#[derive(Debug, Clone, Copy)]
pub enum Happened<'a> {
    /// It was stopped because nobody wants the run any more.
    Killed,
    /// Somebody asked for another attempt without calling this one a failure.
    RestartAsked,
    /// It ended, or could not be started. A timeout is an end with a failure.
    Ended(&'a Outcome),
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it was stopped on request.
    Killed,
    /// Another attempt.
    Restart {
        /// How long it waits for that.
        delay: Duration,
        /// Why, for people; empty where the request says it.
        reason: &'static str,
    },
    /// Nothing: the work has succeeded.
    Terminated {
        /// Why there is no other attempt.
        reason: &'static str,
    },
    /// Nothing: the work has failed.
    Failed {
        /// Why there is no other attempt.
        reason: String,
    },
}

const NO_RESTARTS: &str = "policy allows no restarts";
const UNRECOVERABLE: &str = "error was unrecoverable";
const UNNECESSARY: &str = "restart unnecessary as the work succeeded";
const WITHIN: &str = "restart within policy";
const EXCEEDED: &str = "exceeded allowed attempts, applying a delay";

/// The share of the delay that chance may add, so that what failed together does not come back together.
const JITTER_SHARE: u32 = 4;

/// Decides, and answers what the run has to remember of it.
#[must_use]
pub fn decide(
    policy: &RestartPolicy,
    count: RestartCount,
    happened: Happened<'_>,
    now: Timestamp,
    chance: &Chance,
) -> (Decision, RestartCount) {
    let outcome = match happened {
        Happened::Killed => return (Decision::Killed, count),
        Happened::RestartAsked => {
            return (Decision::Restart { delay: Duration::ZERO, reason: "" }, count);
        }
        Happened::Ended(outcome) => outcome,
    };
    let success = outcome.is_success();
    if policy.attempts == 0 {
        let decision = if success && !policy.on_success {
            Decision::Terminated { reason: NO_RESTARTS }
        } else {
            Decision::Failed { reason: NO_RESTARTS.to_owned() }
        };
        return (decision, count);
    }
    let (count, window_end) = counted(policy, count, now);
    let decision = if outcome.error.as_ref().is_some_and(|failure| !failure.recoverable) {
        Decision::Failed { reason: UNRECOVERABLE.to_owned() }
    } else if success && !policy.on_success {
        Decision::Terminated { reason: UNNECESSARY }
    } else if count.count <= policy.attempts {
        let jitter = chance.up_to(policy.delay / JITTER_SHARE);
        Decision::Restart { delay: policy.delay.saturating_add(jitter), reason: WITHIN }
    } else {
        match policy.mode {
            RestartMode::Fail => Decision::Failed {
                reason: format!(
                    "exceeded allowed attempts {} in interval {} and mode is \"fail\"",
                    policy.attempts,
                    punctual_model::duration::format(policy.interval)
                ),
            },
            RestartMode::Delay => Decision::Restart {
                // A wall clock that was set back must not make the wait longer than the window.
                delay: between(now, window_end).min(policy.interval),
                reason: EXCEEDED,
            },
        }
    };
    (decision, count)
}

/// Counts one end, in a new window if the current one is over; answers when the window ends.
fn counted(policy: &RestartPolicy, count: RestartCount, now: Timestamp) -> (RestartCount, Timestamp) {
    let interval = SignedDuration::try_from(policy.interval).unwrap_or(SignedDuration::MAX);
    let end_of = |start: Timestamp| start.checked_add(interval).unwrap_or(Timestamp::MAX);
    match count.window_start {
        // The end of a window is the beginning of the next: whoever waited for it would else wait for no time at all.
        Some(start) if now < end_of(start) => {
            (RestartCount { count: count.count.saturating_add(1), ..count }, end_of(start))
        }
        _ => (RestartCount { count: 1, window_start: Some(now), ..count }, end_of(now)),
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// Whether an attempt whose end nobody saw may be made again: only where the task says that doing its work
/// twice does no harm, or asks for it by its policy. Such restarts are not counted, and there is no cap.
#[must_use]
pub fn repeats_lost(spec: &TaskSpec) -> bool {
    spec.idempotent || spec.restart.on_lost == OnLost::Restart
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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
            let (decision, next) = decide(policy, count, Happened::Ended(outcome), at(*time), &chance);
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
            assert_eq!(decide(&policy, count, Happened::Killed, at(1), &chance), (Decision::Killed, count));
        }
    }

    #[test]
    fn rs06_a_requested_restart_is_at_once_even_without_attempts() {
        let chance = Chance::from_seed(1);
        let count = RestartCount::default();
        for policy in [policy(RestartMode::Fail), RestartPolicy::default()] {
            assert_eq!(
                decide(&policy, count, Happened::RestartAsked, START, &chance),
                (Decision::Restart { delay: Duration::ZERO, reason: "" }, count)
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

    #[test]
    fn a_timeout_counts_as_a_failure() {
        let late = Outcome::failed(Failure::new(FailureKind::Timeout, "too long").recoverable());
        let decisions = play(&policy(RestartMode::Fail), &late, &[0, 1, 2, 3]);
        assert!(matches!(decisions[0], Decision::Restart { .. }));
        assert!(matches!(decisions[3], Decision::Failed { .. }));
    }

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
        let (decision, _) = decide(&policy, count, Happened::Ended(&exit(1)), START, &Chance::from_seed(1));
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
            let (decision, after) = decide(&policy, count, Happened::Ended(&outcome), START, &Chance::from_seed(seed));
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
}
