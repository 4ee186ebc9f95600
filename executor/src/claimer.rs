//! Takes ready runs out of the queue when there are seats, makes them `Starting`, and begins their attempts.
//!
//! One task, asleep until a hint, a freed seat or the time of the next waiting run; it never polls. A round:
//! claim up to the number of free seats, write all `Claimed` edges in one commit, begin all attempts.
//!
//! The class of a run is known only once it is claimed. What is claimed and finds no seat of its class is kept
//! here, as a reservation in the store's memory, for the next free seat, up to [`KEPT`]: so runs that wait for
//! processes stand in nobody's way. Beyond that the surplus is given back, and others are looked for behind it
//! only every [`SURPLUS_PAUSE`] or when a seat becomes free.

use crate::attempt::Job;
use crate::driver::Class;
use crate::engine::Engine;
use crate::error::Error;
use crate::seats::Seat;
use crate::working::Working;
use jiff::Timestamp;
use punctual_clock::Wait;
use punctual_faults::crash_point;
use punctual_model::{RunEvent, RunId};
use punctual_store::{Claim, Edge, EdgeAnswer, Fence, Patch};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Most runs claimed at once: one commit for so many is cheap, and the first of them need not wait for more.
const BATCH: usize = 1024;

/// Most claims kept for seats of their class. They are few enough that later runs of higher priority soon get
/// their turn, and enough that one class rarely hides the other.
const KEPT: usize = 1024;

/// The pause before looking again behind a surplus of one class: a giving back is itself a hint, so without it
/// the claimer would spin.
const SURPLUS_PAUSE: Duration = Duration::from_millis(100);

/// The pause after the store had no room for new work: disks are freed by people and by retention.
const FULL_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Claimer {
    engine: Arc<Engine>,
    ready: Arc<Notify>,
    /// Claimed, and waiting for a seat of their class.
    kept: VecDeque<Claim>,
}

/// When to look again.
enum Next {
    /// At once.
    Now,
    /// At a hint, or at this time.
    Hint(Option<Timestamp>),
    /// After this; hints do not count.
    Pause(Duration),
}

impl Claimer {
    pub(crate) fn new(engine: Arc<Engine>, ready: Arc<Notify>) -> Self {
        Self { engine, ready, kept: VecDeque::new() }
    }

    /// Claims until the executor stops.
    pub(crate) async fn run(mut self) {
        let (engine, ready) = (Arc::clone(&self.engine), Arc::clone(&self.ready));
        engine.looks.begin();
        loop {
            // Listen before looking, so that no hint falls between.
            let mut hint = std::pin::pin!(ready.notified());
            hint.as_mut().enable();
            let mut wake = std::pin::pin!(engine.wake.notified());
            wake.as_mut().enable();
            if engine.stopping.is_raised() || engine.over.is_raised() {
                break;
            }
            let next = match self.round().await {
                Ok(next) => next,
                Err(Error::Store(punctual_store::Error::Full { .. })) => Next::Pause(FULL_PAUSE),
                Err(error) => {
                    if engine.check().is_ok() {
                        tracing::error!(%error, "claiming failed; will look again");
                    }
                    Next::Pause(FULL_PAUSE)
                }
            };
            engine.looks.ended(matches!(next, Next::Pause(_)));
            let (until, hints): (Wait, bool) = match next {
                Next::Now => continue,
                Next::Hint(None) => (Box::pin(std::future::pending()), true),
                Next::Hint(Some(at)) => (engine.clock.sleep_until(at), true),
                Next::Pause(pause) => (engine.clock.sleep(pause), false),
            };
            tokio::select! {
                biased;
                () = engine.stopping.raised() => {}
                () = engine.over.raised() => {}
                () = wake => {}
                () = hint, if hints => {}
                () = until => {}
            }
            engine.looks.begin();
            // Whoever is ready to run goes first and may free a seat more; if nobody is, nothing is lost.
            tokio::task::yield_now().await;
        }
        engine.looks.ended(true);
        let kept = self.kept.drain(..).map(|claim| claim.run.id).collect();
        // What cannot be given back is given back by the end of the session.
        let _ = self.give_back(kept).await;
    }

    async fn round(&mut self) -> Result<Next, Error> {
        let engine = Arc::clone(&self.engine);
        let seats = &engine.seats;
        let mut batch = self.seat_kept();
        // Before looking at the seats, so that one freed in between is not overlooked.
        seats.tell_when_freed(true);
        let free = seats.free(Class::InProcess) + seats.free(Class::Process);
        let mut next = Next::Hint(None);
        let mut surplus = Vec::new();
        if free > 0 {
            let wanted = free.min(BATCH);
            let claims = engine.checked(engine.store.claim(&engine.session, wanted).await)?;
            next = if claims.claims.len() == wanted { Next::Now } else { Next::Hint(claims.next_ready) };
            let enough = claims.claims.len() < wanted;
            for mut claim in claims.claims {
                claim.task = claim.task.of_run(&claim.run);
                match Seat::take(seats, engine.class(&claim.task)) {
                    Some(seat) => batch.push((claim, seat)),
                    None if self.kept.len() < KEPT => self.kept.push_back(claim),
                    None => surplus.push(claim.run.id),
                }
            }
            // Everything that is ready has its seat: a free one is nothing to be told of.
            if enough && self.kept.is_empty() {
                seats.tell_when_freed(false);
            }
        }
        if !surplus.is_empty() {
            next = Next::Pause(SURPLUS_PAUSE);
            self.give_back(surplus).await?;
        }
        if self.begin(batch).await? {
            next = Next::Now;
        }
        Ok(next)
    }

    /// Kept claims that have a seat now.
    fn seat_kept(&mut self) -> Vec<(Claim, Seat)> {
        let mut seated = Vec::new();
        let mut still = VecDeque::new();
        for claim in self.kept.drain(..) {
            match Seat::take(&self.engine.seats, self.engine.class(&claim.task)) {
                Some(seat) => seated.push((claim, seat)),
                None => still.push_back(claim),
            }
        }
        self.kept = still;
        seated
    }

    /// Writes that these attempts start, and begins those of which that is durable. Answers whether a
    /// definition has changed meanwhile, so that its runs are there to be claimed again.
    pub(crate) async fn begin(&self, batch: Vec<(Claim, Seat)>) -> Result<bool, Error> {
        if batch.is_empty() {
            return Ok(false);
        }
        let engine = &self.engine;
        let entered = engine.registry.enter(batch.iter().map(|(claim, _)| (claim.run.id, claim.run.task)));
        let at = engine.clock.now();
        let edges = batch.iter().map(|(claim, _)| claimed(claim, engine.session.epoch, at)).collect();
        crash_point("executor.before_claimed");
        let answers = match engine.checked(engine.store.transition(&engine.session, edges).await) {
            Ok(answers) => answers,
            Err(error) => {
                engine.registry.leave(entered.into_iter().flatten().map(|working| (working, None)));
                self.give_back(batch.iter().map(|(claim, _)| claim.run.id).collect()).await?;
                return Err(error);
            }
        };
        crash_point("executor.after_claimed");
        let (mut stale, mut back, mut left) = (false, Vec::new(), Vec::new());
        engine.counting.change(|counters| {
            for answer in &answers {
                if let EdgeAnswer::Applied(run) = answer {
                    counters.begun(run);
                }
            }
        });
        for (((claim, seat), answer), working) in batch.into_iter().zip(answers).zip(entered) {
            match (answer, working) {
                (EdgeAnswer::Applied(run), Some(working)) => {
                    engine.begin(Job::new(Arc::new(run), claim.task, working, seat));
                }
                (EdgeAnswer::Applied(run), None) => {
                    // Not possible while the store hands out each run once.
                    tracing::error!(run.id = %run.id, "claimed a run that is at work here");
                }
                (EdgeAnswer::Stale(run), working) => {
                    stale |= !run.state().is_terminal();
                    back.push(run.id);
                    let run = Arc::new(run);
                    left.extend(working.map(|working: Arc<Working>| (working, Some(run))));
                }
                (EdgeAnswer::Unknown, working) => {
                    back.push(claim.run.id);
                    left.extend(working.map(|working| (working, None)));
                }
            }
        }
        engine.registry.leave(left.into_iter());
        self.give_back(back).await?;
        Ok(stale)
    }

    async fn give_back(&self, runs: Vec<RunId>) -> Result<(), Error> {
        if runs.is_empty() {
            return Ok(());
        }
        self.engine.checked(self.engine.store.release(&self.engine.session, runs).await)
    }
}

fn claimed(claim: &Claim, epoch: u64, at: Timestamp) -> Edge {
    Edge {
        run: claim.run.id,
        fence: Fence::of(&claim.run),
        event: RunEvent::Claimed { epoch },
        at,
        patch: Patch { revision: Some(claim.task.revision), ..Patch::default() },
    }
}
