//! Step: end the work, until nothing of it lives.

use super::phase::{self, Phase};
use super::wait::{outcome_of, tell_change};
use super::{Cause, Ended, Life};
use crate::driver::{Handle, Killed, RunSink as _};
use crate::guard::guarded;
use crate::working::{Order, Orders};
use punctual_model::event::EventKind;
use punctual_model::{Failure, Outcome, StopWhy};
use std::task::Poll;
use std::time::Duration;

/// How often ending it is tried before that is left to its own exit; the numbers are Nomad's.
const TRIES: u32 = 5;

/// First pause between two tries, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// The longest grace that work gets when the node itself stops: whoever stops a node waits for it.
const HURRIED_GRACE: Duration = Duration::from_secs(10);

/// Ends it as it was ordered.
pub(super) async fn stop(life: &Life, handle: &dyn Handle, order: Order) -> Ended {
    let cause = match order {
        Order::Stop(why) => Cause::Stopped(why),
        // It goes on without us, and the next session finds it.
        Order::Interrupt if leave(life, handle).await => {
            return Ended { outcome: Outcome::default(), cause: Cause::Detached };
        }
        Order::Interrupt => Cause::Interrupted,
        // Its end can be recorded by the next session.
        Order::Abandon if life.engine.check().is_err() && leave(life, handle).await => {
            return Ended { outcome: Outcome::default(), cause: Cause::Unrecorded };
        }
        Order::Abandon => Cause::Unrecorded,
    };
    let outcome = match before_the_signal(life, handle, order).await {
        Some(outcome) => outcome,
        None => until_it_is_gone(life, handle).await,
    };
    // What was asked for meanwhile counts: who cancels a run that the node interrupts wants it to end. Of two
    // stops the record has the stronger one.
    let cause = match (cause, life.working.orders()) {
        (_, orders) if orders.abandon => Cause::Unrecorded,
        (Cause::Interrupted | Cause::Stopped(StopWhy::Timeout | StopWhy::Restart), orders) => {
            orders.stop.map_or(cause, Cause::Stopped)
        }
        (cause, _) => cause,
    };
    Ended { outcome, cause }
}

/// Leaves it to itself if it can be left, with what holds now: a change that came with the stop counts as well.
async fn leave(life: &Life, handle: &dyn Handle) -> bool {
    tell_change(life, handle);
    handle.detach().await
}

/// Ends it because a hook after its start has failed.
pub(super) async fn end_failed(life: &Life, handle: &dyn Handle, failure: Failure) -> Ended {
    let outcome = until_it_is_gone(life, handle).await;
    // Whoever asked for an end meanwhile gets it.
    let orders = life.working.orders();
    let cause = match orders.strongest() {
        Some(Order::Abandon) => Cause::Unrecorded,
        Some(Order::Stop(why)) => Cause::Stopped(why),
        Some(Order::Interrupt) | None => Cause::Itself,
    };
    Ended { outcome: Outcome { error: Some(failure), ..outcome }, cause }
}

/// What comes before the signal: the hooks, then the delay in which others learn that the work goes. Answers its
/// end, if it ends meanwhile; then there is nothing to kill.
async fn before_the_signal(life: &Life, handle: &dyn Handle, order: Order) -> Option<Outcome> {
    let why = match order {
        Order::Stop(why) => Some(why),
        Order::Interrupt => None,
        Order::Abandon => return None,
    };
    let delay = life.definition().spec.shutdown_delay;
    if life.hooks.is_none() && delay.is_zero() {
        return None;
    }
    Box::pin(async {
        if let Some(hooks) = &life.hooks {
            let _ = phase::all(life, hooks, Phase::Prekill(why)).await;
        }
        let mut ending = std::pin::pin!(guarded(handle.wait()));
        if !delay.is_zero() && life.working.orders().in_a_hurry() {
            let reason = "the node stops".to_owned();
            life.sink.event(EventKind::ShutdownDelaySkipped { reason });
        } else if !delay.is_zero() {
            life.sink.event(EventKind::ShutdownDelay { delay });
            tokio::select! {
                biased;
                ended = &mut ending => return Some(outcome_of(life, handle, ended).await),
                _ = life.working.until(Orders::in_a_hurry) => {}
                () = life.engine.clock.sleep(delay) => {}
            }
        }
        // It may have gone by itself while the hooks were at work.
        match std::future::poll_fn(|context| Poll::Ready(ending.as_mut().poll(context))).await {
            Poll::Ready(ended) => Some(outcome_of(life, handle, ended).await),
            Poll::Pending => None,
        }
    })
    .await
}

async fn until_it_is_gone(life: &Life, handle: &dyn Handle) -> Outcome {
    loop {
        for number in 0..TRIES {
            let asked = life.working.orders().count;
            match kill(life, handle).await {
                Ok(how) => {
                    if how == Killed::ByForce {
                        life.sink.event(EventKind::Killed);
                    }
                    let ended = guarded(handle.wait()).await;
                    return outcome_of(life, handle, ended).await;
                }
                Err(error) => {
                    tracing::error!(%error, number, "the work could not be ended");
                    life.engine.counting.change(|counters| counters.kills_failed += 1);
                    life.sink.event(EventKind::KillFailed { error });
                }
            }
            // No pause after the last try: nothing follows it.
            if number + 1 < TRIES {
                tokio::select! {
                    biased;
                    ended = guarded(handle.wait()) => return outcome_of(life, handle, ended).await,
                    () = life.engine.clock.sleep(pause(number)) => {}
                    // Whoever asks again, or stops the node, does not want to wait.
                    _ = life.working.until(|orders| orders.count != asked) => {}
                }
            }
        }
        tracing::error!("gave up ending the work; the run is over when it goes by itself");
        // It holds its seat, and its record says that it is being stopped: both are true. Asked once more, it is
        // tried once more.
        let asked = life.working.orders().count;
        tokio::select! {
            biased;
            ended = guarded(handle.wait()) => return outcome_of(life, handle, ended).await,
            _ = life.working.until(|orders| orders.count != asked) => {}
        }
    }
}

/// Tries once. If the node stops meanwhile, the grace is cut short.
async fn kill(life: &Life, handle: &dyn Handle) -> Result<Killed, String> {
    let definition = life.definition();
    let spec = &definition.spec.kill;
    let short = spec.grace.min(HURRIED_GRACE);
    let grace = if life.working.orders().in_a_hurry() { short } else { spec.grace };
    let ending = guarded(handle.kill(&spec.signal, grace));
    let hurried = async {
        if grace > short {
            life.working.until(Orders::in_a_hurry).await;
            guarded(handle.kill(&spec.signal, short)).await
        } else {
            std::future::pending().await
        }
    };
    let ended = tokio::select! {
        biased;
        ended = ending => ended,
        ended = hurried => ended,
    };
    ended.unwrap_or_else(|panic| Err(format!("the driver panicked: {panic}")))
}

fn pause(number: u32) -> Duration {
    4u32.checked_pow(number)
        .map_or(LONGEST_PAUSE, |times| FIRST_PAUSE.saturating_mul(times))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_minutes() {
        let pauses: Vec<u64> = (0..6).map(|number| pause(number).as_secs()).collect();
        assert_eq!(pauses, [5, 20, 80, 120, 120, 120]);
    }
}
