//! Step: what follows, as one edge of the run's life.

use super::sink::bounded;
use super::{Cause, Ended, Life};
use crate::driver::Attempt;
use crate::engine::Engine;
use crate::output::Written;
use crate::restart::{self, Decision, Happened};
use jiff::{SignedDuration, Timestamp};
use punctual_model::event::{Event, EventKind};
use punctual_model::{
    CancelWhy, Failure, FailureKind, LostWhy, Outcome, RunEvent, RunState, StopWhy, Task, duration,
};
use punctual_store::Patch;
use std::time::Duration;

/// Decides; none if nothing is to be recorded.
pub(super) fn decide(life: &Life, ended: Ended) -> Option<(RunEvent, Patch)> {
    let Ended { mut outcome, cause } = ended;
    let (engine, attempt, task) = (&*life.engine, &life.attempt, life.definition());
    if life.seen().lost && matches!(cause, Cause::Itself | Cause::Interrupted) {
        let (event, mut patch) = lost(engine, attempt, LostWhy::Vanished);
        patch.outcome = Some(outcome);
        return Some((event, patch));
    }
    let mut end = Deciding { engine, attempt, task: &task, now: engine.clock.now(), patch: Patch::default() };
    if life.seen().out_of_memory {
        end.event(EventKind::OutOfMemory { attempt: attempt.run.life.attempt });
        engine.counting.change(|counters| counters.out_of_memory += 1);
    }
    let event = match cause {
        Cause::Unrecorded | Cause::Detached => return None,
        Cause::Stopped(StopWhy::Timeout) => {
            let limit = task.spec.timeout.map(duration::format).unwrap_or_default();
            let text = format!("took longer than its timeout of {limit}");
            outcome.error = Some(Failure::new(FailureKind::Timeout, text).recoverable());
            end.by_policy(&outcome)
        }
        Cause::Stopped(StopWhy::Restart) => end.again(&outcome),
        Cause::Stopped(why) => {
            let why = cancel_why(why);
            outcome.error = Some(canceled(why));
            RunEvent::Canceled { why }
        }
        Cause::NotBegun => end.interrupted(),
        // Told to stop, it has all the same done its work.
        Cause::Interrupted if outcome.is_success() => end.by_policy(&outcome),
        Cause::Interrupted => {
            outcome.error = Some(
                Failure::new(FailureKind::Interrupted, "cut short by the stop of the node").recoverable(),
            );
            if restart::repeats_lost(&task.spec) {
                end.interrupted()
            } else {
                RunEvent::Lost { why: LostWhy::Interrupted }
            }
        }
        // The work itself wants no more.
        Cause::Itself
            if outcome.error.as_ref().is_some_and(|failure| failure.kind == FailureKind::Canceled) =>
        {
            RunEvent::Canceled { why: CancelWhy::Asked }
        }
        Cause::Itself => end.by_policy(&outcome),
    };
    let mut patch = end.patch;
    patch.outcome = Some(outcome);
    Some((event, patch))
}

/// Adds what is known of the output once it is closed.
pub(super) fn wrote(engine: &Engine, attempt: &Attempt, patch: &mut Patch, written: Written) {
    if let Some(error) = written.error {
        let kind = bounded(EventKind::OutputFailed { error });
        patch.events.insert(0, Event { at: engine.clock.now(), kind });
    }
    // Earlier attempts may have written too.
    let before = attempt.run.outcome.as_ref().and_then(|outcome| outcome.output);
    if let Some(outcome) = &mut patch.outcome {
        outcome.output = written.summary.or(outcome.output).or(before);
    }
}

/// The edge of an attempt of which nobody saw the end: another one at once where the task allows it, and the
/// run's stop or loss otherwise.
pub(crate) fn lost(engine: &Engine, attempt: &Attempt, why: LostWhy) -> (RunEvent, Patch) {
    let (task, now) = (&*attempt.task, engine.clock.now());
    let mut end = Deciding { engine, attempt, task, now, patch: Patch::default() };
    // A run that was being stopped ends as what it was stopped for, or begins again if that was it.
    let stopping = match attempt.run.state() {
        RunState::Stopping { why: StopWhy::Restart, .. } => {
            let outcome = Outcome::failed(Failure::new(FailureKind::Interrupted, "its end was not seen"));
            return (end.again(&outcome), end.patch);
        }
        state => matches!(state, RunState::Stopping { .. }),
    };
    if !stopping && restart::repeats_lost(&attempt.task.spec) {
        end.event(EventKind::LostAttempt { attempt: attempt.run.life.attempt });
        return (RunEvent::Restarting { at: end.now }, end.patch);
    }
    (RunEvent::Lost { why }, end.patch)
}

struct Deciding<'a> {
    engine: &'a Engine,
    attempt: &'a Attempt,
    /// The definition that holds now.
    task: &'a Task,
    now: Timestamp,
    patch: Patch,
}

impl Deciding<'_> {
    fn event(&mut self, what: EventKind) {
        self.patch.events.push(Event { at: self.now, kind: bounded(what) });
    }

    fn interrupted(&mut self) -> RunEvent {
        self.event(EventKind::Interrupted { attempt: self.attempt.run.life.attempt });
        RunEvent::Interrupted
    }

    fn by_policy(&mut self, outcome: &Outcome) -> RunEvent {
        self.decided(Happened::Ended(outcome), outcome)
    }

    /// Somebody asked for it.
    fn again(&mut self, outcome: &Outcome) -> RunEvent {
        self.decided(Happened::RestartAsked, outcome)
    }

    /// Asks the restart tracker.
    fn decided(&mut self, happened: Happened<'_>, outcome: &Outcome) -> RunEvent {
        let (policy, run) = (&self.task.spec.restart, &self.attempt.run);
        let (decision, count) =
            restart::decide(policy, run.restarts, happened, run.started_at, self.now, &self.engine.chance);
        if count != run.restarts {
            self.patch.restarts = Some(count);
        }
        match decision {
            Decision::Terminated { .. } => RunEvent::Succeeded,
            Decision::Restart { delay, reason } => {
                let (attempt, end, reason) = (run.life.attempt, end_of(outcome), reason.to_owned());
                self.event(EventKind::Restarting { attempt, end, reason, delay });
                RunEvent::Restarting { at: later(self.now, delay) }
            }
            Decision::Failed { reason } => {
                // Without a policy there is nothing to tell.
                if policy.attempts > 0 {
                    self.event(EventKind::NotRestarting { reason });
                }
                match outcome.error.as_ref().map(|failure| failure.kind) {
                    Some(FailureKind::Timeout) => RunEvent::TimedOut,
                    _ => RunEvent::Failed,
                }
            }
            // Not asked here: who is killed ends as canceled.
            Decision::Killed => RunEvent::Canceled { why: CancelWhy::Asked },
        }
    }
}

fn end_of(outcome: &Outcome) -> String {
    match (&outcome.error, outcome.exit) {
        (Some(failure), _) => failure.message.clone(),
        (None, Some(exit)) => exit.to_string(),
        (None, None) => "succeeded".to_owned(),
    }
}

fn later(now: Timestamp, delay: Duration) -> Timestamp {
    SignedDuration::try_from(delay)
        .ok()
        .and_then(|delay| now.checked_add(delay).ok())
        .unwrap_or(Timestamp::MAX)
}

fn cancel_why(why: StopWhy) -> CancelWhy {
    match why {
        StopWhy::Cancel | StopWhy::Timeout | StopWhy::Restart => CancelWhy::Asked,
        StopWhy::Replaced => CancelWhy::Replaced,
        StopWhy::Deleted => CancelWhy::Deleted,
    }
}

fn canceled(why: CancelWhy) -> Failure {
    let text = RunState::Canceled { why }.reason().unwrap_or_default();
    Failure::new(FailureKind::Canceled, text)
}
