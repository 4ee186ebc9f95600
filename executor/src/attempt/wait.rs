//! Step: wait for the end of the work, or for a reason to end it.

use super::deadline::Deadline;
use super::{Life, signal, statistics, update};
use crate::driver::Handle;
use crate::guard::guarded;
use crate::working::Order;
use punctual_faults::crash_point;
use punctual_model::event::{Event, EventKind};
use punctual_model::{Failure, FailureKind, Outcome, RunEvent, RunState, StopWhy};
use punctual_store::{Edge, EdgeAnswer, Error, Fence, Patch};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How old work that goes on by itself has to be to be left at once when the node stops. Most work that ends within
/// seconds is younger, and its end is better recorded now than by the next start; the rest will not end in that time.
const YOUNG: Duration = Duration::from_secs(10);

/// How the wait ended.
pub(super) enum Waited {
    /// The work has ended.
    Ended(Outcome),
    /// The work is to be ended.
    Stop(Order),
}

/// A reason to end the work.
#[derive(Debug)]
pub(super) enum Reason {
    Told(Order),
    TookTooLong,
}

/// What is heard while something else is waited for.
enum Heard {
    Stop(Reason),
    /// The definition has changed so often.
    Updated(u32),
    /// Somebody wants the work to get signals.
    Signals,
}

/// Waits. A changed definition is followed meanwhile: one change at a time, and of several that come together the
/// newest.
pub(super) async fn wait(life: &Life, handle: &dyn Handle, deadline: &mut Deadline) -> Waited {
    let reason = {
        let mut work = std::pin::pin!(guarded(handle.wait()));
        // Work that is over at the first look is not worth telling that it had started.
        let first = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if let Poll::Ready(ended) = first {
            return Waited::Ended(outcome_of(life, handle, ended).await);
        }
        let _hearing = life.working.hears();
        is_alive(life);
        tell_change(life, handle);
        let mut leaving = leaving(life, handle, deadline);
        let (mut followed, mut following) = (0, None);
        let mut looking = statistics::looking(life, handle);
        let mut giving = None;
        loop {
            // Changes that came before the work lived are to be followed too.
            if following.is_none() && followed != deadline.updates() {
                followed = deadline.updates();
                following =
                    life.working.newer_than(&life.attempt.task).map(|newest| update::update(life, newest));
            }
            tokio::select! {
                biased;
                ended = &mut work => break Err(ended),
                heard = hear(life, deadline, giving.is_none()) => match heard {
                    Heard::Stop(reason) => break Ok(reason),
                    Heard::Updated(updates) => {
                        deadline.renew(life, updates);
                        tell_change(life, handle);
                    }
                    Heard::Signals => giving = Some(signal::give(life, handle)),
                },
                () = &mut leaving => break Ok(Reason::Told(Order::Interrupt)),
                () = update::followed(&mut following) => {}
                () = update::followed(&mut giving) => {}
                () = statistics::looks(&mut looking) => {}
            }
        }
    };
    match reason {
        Err(ended) => Waited::Ended(outcome_of(life, handle, ended).await),
        Ok(reason) => Waited::Stop(intent(life, reason).await),
    }
}

/// Tells whoever keeps the work what holds for it from now on, if that is not what it was started by.
pub(super) fn tell_change(life: &Life, handle: &dyn Handle) {
    if let Some(newest) = life.working.newer_than(&life.attempt.task) {
        handle.changed(&newest.of_run(&life.attempt.run));
    }
}

/// The work is known to live.
pub(super) fn is_alive(life: &Life) {
    life.sink.started();
    life.engine.registry.post(life.attempt.run.id, RunState::Running);
}

/// Returns when the attempt is told to stop or its time is up, by the timeout that holds by then.
pub(super) async fn told_to_stop(life: &Life, deadline: &mut Deadline) -> Reason {
    loop {
        match hear(life, deadline, false).await {
            Heard::Stop(reason) => return reason,
            Heard::Updated(updates) => deadline.renew(life, updates),
            Heard::Signals => {}
        }
    }
}

async fn hear(life: &Life, deadline: &mut Deadline, signals: bool) -> Heard {
    let known = deadline.updates();
    let told = life.working.until(|orders| {
        orders.strongest().is_some() || orders.updates != known || (signals && orders.signals)
    });
    let orders = tokio::select! {
        biased;
        orders = told => orders,
        () = deadline.passed() => return Heard::Stop(Reason::TookTooLong),
    };
    match orders.strongest() {
        Some(order) => Heard::Stop(Reason::Told(order)),
        None if orders.updates != known => Heard::Updated(orders.updates),
        None => Heard::Signals,
    }
}

/// In a box, which costs nothing for what cannot go on: the task of every attempt is to stay small.
fn leaving<'a>(
    life: &'a Life,
    handle: &dyn Handle,
    deadline: &Deadline,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    if handle.goes_on() {
        Box::pin(left_alone(life, deadline.began()))
    } else {
        Box::pin(std::future::pending())
    }
}

/// Returns when the node stops and work that goes on by itself has had its time.
async fn left_alone(life: &Life, (begun, spent): (Duration, Duration)) {
    life.working.until(|orders| orders.leave).await;
    let clock = &life.engine.clock;
    let age = spent.saturating_add(clock.monotonic().saturating_sub(begun));
    clock.sleep(YOUNG.saturating_sub(age)).await;
}

/// Makes the intent to stop durable before anything is done about it. What others asked for is so already.
pub(super) async fn intent(life: &Life, reason: Reason) -> Order {
    if let Reason::Told(order) = reason {
        return order;
    }
    let why = StopWhy::Timeout;
    let (engine, run) = (&life.engine, &life.attempt.run);
    let at = engine.clock.now();
    let edge = Edge {
        run: run.id,
        fence: Fence::of(run),
        event: RunEvent::StopAsked { why, at },
        at,
        patch: Patch { events: vec![Event { at, kind: EventKind::Stopping { why } }], ..Patch::default() },
    };
    crash_point("executor.before_intent");
    let answers = engine.store.transition(&engine.session, vec![edge]).await;
    crash_point("executor.after_intent");
    match answers.map(|mut answers| answers.pop()) {
        Ok(Some(EdgeAnswer::Applied(run) | EdgeAnswer::Stale(run))) => match run.state() {
            // Somebody was faster; then it stops for that.
            RunState::Stopping { why, .. } if Fence::of(&run) == Fence::of(&life.attempt.run) => {
                engine.registry.post(run.id, run.state());
                Order::Stop(why)
            }
            _ => {
                tracing::warn!(state = %run.state().name(), "somebody else has gone on with the run");
                Order::Abandon
            }
        },
        Ok(Some(EdgeAnswer::Unknown) | None) => Order::Abandon,
        Err(error @ (Error::Fenced { .. } | Error::Failed { .. })) => {
            engine.fail(error.into());
            Order::Abandon
        }
        Err(error) => {
            tracing::error!(%error, "the intent to stop was not stored; it is stopped all the same");
            Order::Stop(why)
        }
    }
}

/// What the work gave, or that its driver has panicked; then what it left alive is ended as well as can be.
pub(super) async fn outcome_of(life: &Life, handle: &dyn Handle, ended: Result<Outcome, String>) -> Outcome {
    match ended {
        Ok(outcome) => outcome,
        Err(panic) => {
            let definition = life.definition();
            let kill = &definition.spec.kill;
            if !matches!(guarded(handle.kill(&kill.signal, kill.grace)).await, Ok(Ok(_))) {
                tracing::error!("a driver has panicked, and its work may still be alive");
            }
            Outcome::failed(
                Failure::new(FailureKind::Panic, format!("the driver panicked: {panic}")).recoverable(),
            )
        }
    }
}
