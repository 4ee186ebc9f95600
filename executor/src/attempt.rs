//! The life of one attempt, from the durable `Starting` to its end on its way to the store.
//!
//! A pipeline of steps, one file each: start the driver (or go on with what was found alive) ► wait for (exit |
//! stop of the run | timeout | stop of the node) ► stop what is to be stopped ► close the output ► decide what
//! follows. Called by the claimer, by `execute` and by `resume`, as a task of its own. Hooks belong between the
//! steps of [`steps`].

mod end;
mod sink;
mod start;
mod stop;
mod wait;

use crate::collector::End;
use crate::driver::{Attempt, Handle};
use crate::engine::Engine;
use crate::seats::Seat;
use crate::working::Working;
use punctual_clock::Wait;
use punctual_faults::{Defect, crash_point, seeded};
use punctual_model::{Outcome, Run, StopWhy, Task};
use punctual_store::Fence;
use sink::Sink;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{Instrument as _, Span, info, info_span};

pub(crate) use end::lost;
pub(crate) use sink::Sink as AttemptSink;

/// An attempt to be made.
pub(crate) struct Job {
    attempt: Attempt,
    working: Arc<Working>,
    seat: Seat,
    found: Option<Found>,
}

/// An attempt of an earlier session that was found alive.
struct Found {
    handle: Box<dyn Handle>,
    sink: Arc<Sink>,
}

impl Job {
    pub(crate) fn new(run: Arc<Run>, task: Arc<Task>, working: Arc<Working>, seat: Seat) -> Self {
        Self { attempt: Attempt { run, task }, working, seat, found: None }
    }

    /// The same, for work that lives already.
    pub(crate) fn found(mut self, handle: Box<dyn Handle>, sink: Arc<Sink>) -> Self {
        self.found = Some(Found { handle, sink });
        self
    }
}

/// How an attempt ended.
#[derive(Debug)]
struct Ended {
    outcome: Outcome,
    cause: Cause,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// By itself, or because it could not be started.
    Itself,
    /// The run was stopped.
    Stopped(StopWhy),
    /// The node stops, and it was begun.
    Interrupted,
    /// The node stops, and nothing of it was begun.
    NotBegun,
    /// The node stops, and it goes on without us.
    Detached,
    /// Nothing can be recorded.
    Unrecorded,
}

/// What the steps share.
struct Life {
    engine: Arc<Engine>,
    attempt: Attempt,
    working: Arc<Working>,
    sink: Arc<Sink>,
}

/// The span around everything of an attempt, the handler's own future included.
fn span_of(attempt: &Attempt) -> Span {
    let (run, task) = (&attempt.run, &attempt.task);
    info_span!(
        "run",
        task.id = %task.id,
        task.name = %task.spec.name,
        task.r#type = %task.kind,
        task.revision = task.revision,
        run.id = %run.id,
        attempt = run.life.attempt,
    )
}

/// Lives one attempt and hands in its end.
pub(crate) async fn live(engine: Arc<Engine>, job: Job) {
    let span = span_of(&job.attempt);
    // A plain future and not a boxed one: the task that runs this is its box.
    in_span(engine, job, span.clone()).instrument(span).await;
}

async fn in_span(engine: Arc<Engine>, job: Job, span: Span) {
    let Job { attempt, working, seat, found } = job;
    let begun = engine.clock.monotonic();
    let (found, sink) = match found {
        Some(found) => (Some(found.handle), found.sink),
        None => (None, Arc::new(Sink::new(&engine, &attempt))),
    };
    let hand_in = HandIn {
        engine: Arc::clone(&engine),
        fence: Fence::of(&attempt.run),
        working: Arc::clone(&working),
        attempt: attempt.clone(),
        sink: Arc::clone(&sink),
        begun,
        span,
        done: false,
    };
    let timeout = timeout_of(&engine, &attempt, found.is_some());
    info!(trigger = attempt.run.trigger.as_str(), scheduled_for = %attempt.run.scheduled_for, "attempt starts");
    let life = Life { engine, attempt, working, sink };
    let ended = steps(&life, timeout, found).await;
    // The work is over; the next one need not wait for this one's record.
    drop(seat);
    hand_in.finish(ended).await;
}

/// The steps, in order. `timeout` is when it has taken too long.
async fn steps(life: &Life, mut timeout: Option<Wait>, found: Option<Box<dyn Handle>>) -> Ended {
    let handle = match found {
        Some(handle) => handle,
        None => match start::start(life, &mut timeout).await {
            Ok(handle) => handle,
            Err(ended) => return ended,
        },
    };
    match wait::wait(life, &*handle, &mut timeout).await {
        wait::Waited::Ended(outcome) => Ended { outcome, cause: Cause::Itself },
        wait::Waited::Stop(reason) => stop::stop(life, &*handle, reason).await,
    }
}

/// Counts from now; for work that was found alive, from its start.
fn timeout_of(engine: &Engine, attempt: &Attempt, found: bool) -> Option<Wait> {
    let whole = attempt.task.spec.timeout?;
    let spent = match attempt.run.started_at {
        Some(started) if found => {
            Duration::try_from(engine.clock.now().duration_since(started)).unwrap_or_default()
        }
        _ => Duration::ZERO,
    };
    Some(engine.clock.sleep(whole.saturating_sub(spent)))
}

/// Hands in the end of an attempt, whatever becomes of the task that lives it: if that dies by a fault of
/// ours, nobody has seen the end, and that is what is recorded.
struct HandIn {
    engine: Arc<Engine>,
    fence: Fence,
    working: Arc<Working>,
    attempt: Attempt,
    sink: Arc<Sink>,
    begun: Duration,
    span: Span,
    done: bool,
}

impl HandIn {
    async fn finish(mut self, ended: Ended) {
        crash_point("executor.after_exit");
        let written = self.sink.close().await;
        crash_point("executor.after_output_sync");
        if ended.cause == Cause::Detached {
            self.engine.detached.lock().unwrap_or_else(PoisonError::into_inner).insert(self.attempt.run.id);
        }
        if let Some((event, patch)) = end::decide(&self.engine, &self.attempt, ended, written) {
            self.send(event, patch);
        } else {
            self.done = true;
            self.engine.registry.leave(std::iter::once((Arc::clone(&self.working), None)));
        }
    }

    fn send(&mut self, event: punctual_model::RunEvent, patch: punctual_store::Patch) {
        self.done = true;
        let edge = punctual_store::Edge {
            run: self.attempt.run.id,
            fence: self.fence,
            event,
            at: self.engine.clock.now(),
            patch,
        };
        if seeded(Defect::PromiseBeforeRecord) {
            let mut run = Run::clone(&self.attempt.run);
            if run.apply(event, edge.at).is_ok() && run.state().is_terminal() {
                self.engine.registry.ended(&run);
            }
        }
        self.working.set_ended();
        let end = End {
            edge,
            task: Arc::clone(&self.attempt.task),
            working: Arc::clone(&self.working),
            took: self.engine.clock.monotonic().saturating_sub(self.begun),
            span: self.span.clone(),
        };
        // The collector takes ends as long as there is an engine.
        if let Err(unsent) = self.engine.ends.send(end) {
            self.engine.registry.leave(std::iter::once((unsent.0.working, None)));
        }
    }
}

impl Drop for HandIn {
    fn drop(&mut self) {
        if !self.done {
            tracing::error!(parent: &self.span, "an attempt's task has died; its end was not seen");
            let why = punctual_model::LostWhy::Vanished;
            let (event, patch) = end::lost(&self.engine, &self.attempt, why);
            self.send(event, patch);
        }
    }
}
