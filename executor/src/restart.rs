//! Whether an ended attempt is followed by another one: the restart tracker's decision table.
//!
//! A pure function over the policy, what the run remembers of earlier ends, what happened now, the time and
//! chance. Called by the end of an attempt; it writes nothing. The rows are those of Nomad's restart tracker
//! with the order repaired: the window is looked at before the end is counted, so no later window allows one
//! restart more than the first. Of its unknown outcome there is no row: who is asked is always told what happened.

use jiff::{SignedDuration, Timestamp};
use punctual_clock::Chance;
use punctual_model::number::{Decimal, EndClass};
use punctual_model::restart::{OnLost, RestartCount, RestartMode, RestartPolicy};
use punctual_model::{Outcome, TaskSpec, duration};
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
        /// Why, for people.
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
const ASKED: &str = "restart on request";
const WITHIN: &str = "restart within policy";
const EXCEEDED: &str = "exceeded allowed attempts, applying a delay";

/// Decides, and answers what the run has to remember of it. `started_at` is when the attempt began, if it did.
#[must_use]
pub fn decide(
    policy: &RestartPolicy,
    count: RestartCount,
    happened: Happened<'_>,
    started_at: Option<Timestamp>,
    now: Timestamp,
    chance: &Chance,
) -> (Decision, RestartCount) {
    let outcome = match happened {
        Happened::Killed => return (Decision::Killed, count),
        Happened::RestartAsked => {
            return (Decision::Restart { delay: Duration::ZERO, reason: ASKED }, count);
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
    if let Some(reason) = hopeless(policy, outcome) {
        return (Decision::Failed { reason }, count);
    }
    if success && !policy.on_success {
        return (Decision::Terminated { reason: UNNECESSARY }, count);
    }
    let (delay, reason) = if count.count <= policy.attempts {
        (pause(policy, count.count, chance), WITHIN)
    } else {
        match policy.mode {
            RestartMode::Fail => {
                let interval = duration::format(policy.interval);
                let attempts = policy.attempts;
                let reason = format!(
                    "exceeded allowed attempts {attempts} in interval {interval} and mode is \"fail\""
                );
                return (Decision::Failed { reason }, count);
            }
            // A wall clock that was set back must not make the wait longer than the window.
            RestartMode::Delay => (between(now, window_end).min(policy.interval), EXCEEDED),
        }
    };
    let first_start = count.first_start.or(started_at).unwrap_or(now);
    if let Some(most) = policy.max_time
        && between(first_start, now).saturating_add(delay) > most
    {
        let most = duration::format(most);
        let reason = format!("the next attempt would begin later than the total time of {most} allows");
        return (Decision::Failed { reason }, count);
    }
    (Decision::Restart { delay, reason }, RestartCount { first_start: Some(first_start), ..count })
}

/// Why a bad end is followed by no other attempt, whatever is left of the allowance; none if it may be, and for a
/// good end.
fn hopeless(policy: &RestartPolicy, outcome: &Outcome) -> Option<String> {
    let of = |classes: &[EndClass]| classes.iter().copied().find(|class| class.holds(outcome));
    if let Some(class) = of(&policy.fail_on) {
        return Some(format!("ends of the class {class} are not retried"));
    }
    if policy.retry_on.is_empty() {
        let fatal = outcome.error.as_ref().is_some_and(|failure| !failure.recoverable);
        return fatal.then(|| UNRECOVERABLE.to_owned());
    }
    // Whoever names the class knows better than the work whether another attempt could help.
    if outcome.is_success() || of(&policy.retry_on).is_some() {
        return None;
    }
    let classes: Vec<_> = policy.retry_on.iter().map(ToString::to_string).collect();
    Some(format!("only ends of these classes are retried: {}", classes.join(", ")))
}

/// The pause before restart `number` of an interval, with what chance adds to it.
fn pause(policy: &RestartPolicy, number: u32, chance: &Chance) -> Duration {
    let pause = policy.backoff.map_or(policy.delay, |backoff| backoff.pause(policy.delay, number));
    let share = policy.jitter.min(Decimal::ONE).as_thousandths();
    let most = (pause / 1000).saturating_mul(share);
    pause.saturating_add(chance.up_to(most))
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
mod tests;
