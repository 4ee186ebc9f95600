//! The life of one attempt, from the durable `Starting` to its end on its way to the store.
//!
//! A pipeline of steps, one file each, in [`steps`]: hooks before the start ► start the driver, or go on with what
//! was found alive ► hooks after the start ► wait for (exit | stop of the run | timeout | stop of the node) ► end
//! what is to be ended ► hooks after the exit ► decide what follows ► hooks of the run's end. Then the output is
//! closed and the end handed in. Called by the claimer, by `execute` and by `resume`, as a task of its own.
//!
//! The stop of the run and the stop of the node are two orders, and every wait listens to both.

mod deadline;
mod end;
mod exited;
mod finish;
mod keep;
mod local;
mod phase;
mod poststart;
mod prestart;
mod signal;
mod sink;
mod start;
mod statistics;
mod stop;
mod update;
mod wait;

use crate::collector::End;
use crate::driver::{Attempt, Handle, Seen};
use crate::engine::Engine;
use crate::seats::Seat;
use crate::working::{Order, Orders, Working};
use deadline::Deadline;
use jiff::Timestamp;
use phase::Hooks;
use punctual_faults::{Defect, crash_point, seeded};
use punctual_model::{Failure, FailureKind, Outcome, Run, RunEvent, StopWhy, Task};
use punctual_store::{Fence, Patch};
use sink::Sink;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{Instrument as _, Span, info, info_span};

pub(crate) use end::lost;
pub(crate) use finish::{ending_lost, tell_hooks};
pub(crate) use sink::{Sink as AttemptSink, bounded};

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
        Self { attempt: Attempt::new(run, task), working, seat, found: None }
    }

    /// The same, for work that lives already.
    pub(crate) fn found(mut self, handle: Box<dyn Handle>, sink: Arc<Sink>) -> Self {
        self.found = Some(Found { handle, sink });
        self
    }
}

/// How an attempt ended.
struct Ended {
    outcome: Outcome,
    cause: Cause,
}

impl Ended {
    /// It failed by itself, or could not be started.
    fn failed(failure: Failure) -> Self {
        Self { outcome: Outcome::failed(failure), cause: Cause::Itself }
    }

    /// It was told to stop before it had started.
    fn not_begun(order: Order) -> Self {
        let cause = match order {
            Order::Stop(why) => Cause::Stopped(why),
            Order::Interrupt => Cause::NotBegun,
            Order::Abandon => Cause::Unrecorded,
        };
        Self { outcome: Outcome::default(), cause }
    }

    /// Whoever asked for another attempt before this one's end was known gets it.
    fn heeding(mut self, orders: Orders) -> Self {
        if self.cause == Cause::Itself && orders.stop == Some(StopWhy::Restart) {
            self.cause = Cause::Stopped(StopWhy::Restart);
        }
        self
    }

    /// The same, but it had begun, or may have, and nobody saw how it ended.
    fn unseen(order: Order) -> Self {
        let ended = Self::not_begun(order);
        match ended.cause {
            Cause::NotBegun => Self {
                outcome: Outcome::failed(Failure::new(FailureKind::Interrupted, "its end was not seen")),
                cause: Cause::Interrupted,
            },
            _ => ended,
        }
    }
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
    /// None where no hook has anything to do; that costs nothing.
    hooks: Option<Box<Hooks>>,
    /// Whether the work was found alive.
    reattached: bool,
    /// Of work that is over: what is to be told when its end is recorded.
    handle: Option<Box<dyn Handle>>,
}

impl Life {
    /// The definition that holds now: what is not part of the work itself applies at once.
    fn definition(&self) -> Arc<Task> {
        let newest = self.working.newer_than(&self.attempt.task);
        newest.map_or_else(|| Arc::clone(&self.attempt.task), |newest| newest.of_run(&self.attempt.run))
    }

    /// What more is known of the end of the work.
    fn seen(&self) -> Seen {
        self.handle.as_ref().map(|handle| handle.seen()).unwrap_or_default()
    }
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
    let mut hand_in = HandIn {
        engine: Arc::clone(&engine),
        fence: Fence::of(&attempt.run),
        working: Arc::clone(&working),
        attempt: attempt.clone(),
        sink: Arc::clone(&sink),
        begun,
        span,
        reattached: found.is_some(),
        at: None,
        handle: None,
        done: false,
    };
    let reattached = found.is_some();
    let mut deadline = Deadline::new(&engine, &attempt, reattached);
    info!(trigger = attempt.run.trigger.as_str(), scheduled_for = %attempt.run.scheduled_for, "attempt starts");
    let hooks = Hooks::of(&engine, &attempt);
    let mut life = Life { engine, attempt, working, sink, hooks, reattached, handle: None };
    if reattached {
        life.attempt.setup = life.hooks.as_ref().and_then(|hooks| hooks.setup());
    }
    let end = steps(&mut life, &mut deadline, found).await;
    // The work is over; the next one need not wait for this one's record.
    drop(seat);
    hand_in.at = life.seen().at;
    hand_in.handle = life.handle.take();
    hand_in.finish(end).await;
}

/// What is to be recorded of an attempt that is over.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are of the large one, and each lives once, in its attempt"
)]
enum Record {
    End(RunEvent, Patch),
    Nothing,
    /// Nothing, and the work goes on without us.
    Detached,
}

/// All steps, in order.
async fn steps(life: &mut Life, deadline: &mut Deadline, found: Option<Box<dyn Handle>>) -> Record {
    let ended = work(life, deadline, found).await;
    if ended.cause == Cause::Detached {
        return Record::Detached;
    }
    let ended = ended.heeding(life.working.decides().await);
    let Some((event, patch)) = end::decide(life, ended) else { return Record::Nothing };
    finish::finish(life, event, &patch).await;
    Record::End(event, patch)
}

/// The steps up to the exit.
async fn work(life: &mut Life, deadline: &mut Deadline, found: Option<Box<dyn Handle>>) -> Ended {
    let (handle, stop) = match found {
        Some(handle) => (handle, None),
        None => {
            if let Err(ended) = prestart::prestart(life, deadline).await {
                return ended;
            }
            match start::start(life, deadline).await {
                Ok(started) => started,
                Err(ended) => return ended,
            }
        }
    };
    let shared = &*life;
    let mut ended = match stop {
        Some(order) => Box::pin(stop::stop(shared, &*handle, order)).await,
        None => lives(shared, &*handle, deadline).await,
    };
    exited::exited(shared, &mut ended).await;
    life.handle = Some(handle);
    ended
}

/// The steps from the start of the work to its exit.
async fn lives(life: &Life, handle: &dyn Handle, deadline: &mut Deadline) -> Ended {
    if let Some(failure) = poststart::poststart(life, deadline).await {
        return Box::pin(stop::end_failed(life, handle, failure)).await;
    }
    match wait::wait(life, handle, deadline).await {
        wait::Waited::Ended(outcome) => Ended { outcome, cause: Cause::Itself },
        // Seldom, and large: a box of its own keeps the task of every attempt small.
        wait::Waited::Stop(order) => Box::pin(stop::stop(life, handle, order)).await,
    }
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
    reattached: bool,
    /// When it ended, if that is known better than by now.
    at: Option<Timestamp>,
    handle: Option<Box<dyn Handle>>,
    done: bool,
}

impl HandIn {
    async fn finish(mut self, end: Record) {
        crash_point("executor.after_exit");
        let written = self.sink.close().await;
        crash_point("executor.after_output_sync");
        if let Record::End(event, mut patch) = end {
            end::wrote(&self.engine, &self.attempt, &mut patch, written);
            self.send(event, patch);
            return;
        }
        if matches!(end, Record::Detached) {
            self.engine.detached.lock().unwrap_or_else(PoisonError::into_inner).insert(self.attempt.run.id);
        }
        self.done = true;
        self.engine.registry.leave(std::iter::once((Arc::clone(&self.working), None)));
    }

    fn send(&mut self, event: RunEvent, patch: Patch) {
        self.done = true;
        // Never before its start, whatever the wall clock did in between, and never after now.
        let (now, run) = (self.engine.clock.now(), &self.attempt.run);
        let at = self.at.map_or(now, |at| at.max(run.started_at.unwrap_or(run.accepted_at)).min(now));
        // Of work that was found, most was before our time.
        let since_start =
            run.started_at.filter(|_| self.reattached).map(|started| at.duration_since(started));
        let took = since_start.and_then(|took| Duration::try_from(took).ok());
        let took = took.unwrap_or_else(|| self.engine.clock.monotonic().saturating_sub(self.begun));
        let edge = punctual_store::Edge { run: self.attempt.run.id, fence: self.fence, event, at, patch };
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
            took,
            span: self.span.clone(),
            handle: self.handle.take(),
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
            let (engine, attempt) = (Arc::clone(&self.engine), self.attempt.clone());
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { ending_lost(&engine, &attempt, event).await });
            }
        }
    }
}
