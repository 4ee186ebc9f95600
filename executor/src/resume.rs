//! Takes up a run that an earlier session had begun.

use crate::attempt::{self, AttemptSink, Job};
use crate::driver::{Attempt, Recovered, RunSink};
use crate::engine::Engine;
use crate::error::Error;
use crate::executor::Dispatch;
use crate::guard::guarded;
use crate::seats::Seat;
use punctual_faults::crash_point;
use punctual_model::event::{Event, EventKind};
use punctual_model::{LostWhy, Run, RunEvent, RunState};
use punctual_store::{Edge, EdgeAnswer, Fence, Patch};
use std::sync::Arc;

/// Finds it alive and goes on watching it, or records truthfully that nobody saw its end. Answers the run as it
/// is then.
pub(crate) async fn resume(engine: &Arc<Engine>, dispatch: Dispatch) -> Result<Run, Error> {
    engine.check()?;
    let Dispatch { run, task } = dispatch;
    if !run.state().is_at_work() || run.life.epoch >= engine.session.epoch {
        return Ok(run);
    }
    engine.counting.change(|counters| counters.resumed += 1);
    let attempt = Attempt::new(Arc::new(run), task);
    // Its words belong to the adopted attempt, should it be found.
    let adopted = adopted(engine, &attempt);
    let sink = Arc::new(AttemptSink::new(engine, &adopted));
    let handle = match engine.driver(&attempt.task).cloned() {
        None => None,
        Some(driver) => {
            let recovering = driver.recover(adopted, Arc::<AttemptSink>::clone(&sink) as Arc<dyn RunSink>);
            guarded(recovering).await.map(Recovered::handle).unwrap_or_else(|panic| {
                tracing::error!(run.id = %attempt.run.id, panic, "the driver panicked while it recovered a run");
                None
            })
        }
    };
    let Some(handle) = handle else {
        let (event, patch) = attempt::lost(engine, &attempt, LostWhy::NodeDied);
        attempt::ending_lost(engine, &attempt, event).await;
        return end_lost(engine, &attempt, event, patch).await;
    };
    let entered = engine.registry.enter(std::iter::once((attempt.run.id, attempt.task.id))).pop().flatten();
    let kind = match handle.seen().at {
        None => EventKind::Reattached,
        Some(_) => EventKind::Message {
            source: "process".to_owned(),
            text: "ended while the node was down; its end was kept".to_owned(),
        },
    };
    let patch = Patch { events: vec![Event { at: engine.clock.now(), kind }], ..Patch::default() };
    let answer = write(engine, &attempt, RunEvent::Adopted { epoch: engine.session.epoch }, patch).await;
    let run = match answer {
        Ok(EdgeAnswer::Applied(run)) => run,
        other => {
            // Nobody is at work for it here, and a stop that waited for that would wait for ever.
            engine.registry.leave(entered.into_iter().map(|working| (working, None)));
            return match other? {
                EdgeAnswer::Applied(run) | EdgeAnswer::Stale(run) => Ok(run),
                EdgeAnswer::Unknown => Err(Error::Forgotten(attempt.run.id)),
            };
        }
    };
    if let Some(working) = entered {
        if let RunState::Stopping { why, .. } = run.state() {
            working.order(crate::working::Order::Stop(why));
        }
        // What was changed while nobody watched it.
        if let Ok(Some(newest)) = engine.store.task(run.task).await {
            working.offer(&newest.task);
        }
        let seat = Seat::force(&engine.seats, engine.class(&attempt.task));
        let job = Job::new(Arc::new(run.clone()), attempt.task, working, seat);
        engine.begin(job.found(handle, sink));
    }
    Ok(run)
}

/// The attempt as it will be if it is found.
fn adopted(engine: &Engine, attempt: &Attempt) -> Attempt {
    let mut run = Run::clone(&attempt.run);
    run.life.epoch = engine.session.epoch;
    Attempt::new(Arc::new(run), Arc::clone(&attempt.task))
}

/// Writes the end of an attempt that nobody saw, and tells who waits for the run.
pub(crate) async fn end_lost(
    engine: &Engine,
    attempt: &Attempt,
    event: RunEvent,
    patch: Patch,
) -> Result<Run, Error> {
    let run = match write(engine, attempt, event, patch).await? {
        EdgeAnswer::Applied(run) => {
            tracing::warn!(run.id = %run.id, task.name = %attempt.task.spec.name, attempt = run.life.attempt,
                state = %run.state().name(), "nobody saw the end of an attempt");
            run
        }
        EdgeAnswer::Stale(run) => run,
        EdgeAnswer::Unknown => return Err(Error::Forgotten(attempt.run.id)),
    };
    if run.state().is_terminal() {
        engine.counting.change(|counters| counters.completed(&attempt.task.kind, run.state().name()));
        engine.registry.ended(&run);
    } else {
        engine.registry.post(run.id, run.state());
        engine.wake.notify_one();
    }
    Ok(run)
}

async fn write(
    engine: &Engine,
    attempt: &Attempt,
    event: RunEvent,
    patch: Patch,
) -> Result<EdgeAnswer, Error> {
    let run = &attempt.run;
    let edge = Edge { run: run.id, fence: Fence::of(run), event, at: engine.clock.now(), patch };
    crash_point("executor.resume.before_judged");
    let answers = engine.checked(engine.store.transition(&engine.session, vec![edge]).await)?;
    crash_point("executor.resume.after_judged");
    answers.into_iter().next().ok_or(Error::Forgotten(run.id))
}
