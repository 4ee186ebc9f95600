//! The executor that really works: seats, a claimer, a collector, and drivers that do the work.

mod build;
mod listen;
mod shutdown;
mod sweep;

pub use build::PoolBuilder;
pub use shutdown::StopReport;

use crate::asked::{self, Asked};
use crate::attempt::Job;
use crate::claimer::Claimer;
use crate::counters::{Counters, Figures};
use crate::engine::Engine;
use crate::error::Error;
use crate::executor::{Dispatch, Executor};
use crate::output::Outputs;
use crate::promise::RunPromise;
use crate::promises::{self, Promise};
use crate::reservation::{GiveBack, Reservation};
use crate::resume;
use crate::seats::Seat;
use crate::teller;
use async_trait::async_trait;
use punctual_clock::Clock;
use punctual_model::{CancelWhy, Run, RunId, RunState, Task};
use punctual_store::{Session, Store};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Runs that wait of one batch from which on whoever brings them waits for the claimer: fewer are no herd.
const MANY: usize = 64;

/// Does the work of one node. Dropped without [`stop`](Self::stop), it ends its work and records nothing more,
/// as if the process had died.
pub struct Pool {
    engine: Arc<Engine>,
    ready: Arc<Notify>,
    claimer: Mutex<Option<JoinHandle<()>>>,
    /// Where reservations go back to.
    give_back: GiveBack,
}

impl Pool {
    /// Begins to set one up, over an open session of a store. The clock is the store's own.
    pub fn builder(store: Arc<dyn Store>, session: Session, clock: Arc<dyn Clock>) -> PoolBuilder {
        PoolBuilder::new(store, session, clock)
    }

    fn over(engine: Arc<Engine>, ready: Arc<Notify>) -> Self {
        let seats = Arc::clone(&engine.seats);
        let give_back: GiveBack = Arc::new(move |class, count| seats.give(class, count));
        Self { engine, ready, claimer: Mutex::new(None), give_back }
    }

    /// Opens the queue: from now on ready runs are claimed. Called once what an earlier session had begun is
    /// taken up; twice is harmless.
    pub fn start(&self) {
        let mut claimer = self.claimer.lock().unwrap_or_else(PoisonError::into_inner);
        if claimer.is_none() && !self.engine.stopping.is_raised() {
            let claiming = Claimer::new(Arc::clone(&self.engine), Arc::clone(&self.ready));
            *claimer = Some(self.engine.spawn("the claimer", claiming.run()));
            self.engine.spawn("the teller", teller::run(Arc::clone(&self.engine)));
        }
    }

    /// Returns when nothing is at work here; at once if nothing is. What waits in the queue does not count.
    pub async fn idle(&self) {
        self.engine.registry.idle().await;
    }

    /// Returns when nothing can be recorded any more, with the reason.
    pub async fn failure(&self) -> Error {
        self.engine.over.raised().await;
        self.engine.check().err().unwrap_or(Error::Stopped)
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { active: self.engine.registry.working(), ..self.engine.counting.snapshot() }
    }

    /// What was done and who is at work, for metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures { counters: self.counters(), workers: self.engine.seats.workers() }
    }

    /// What its runs have written.
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.engine.outputs
    }

    /// Ends all work and records nothing more, as if the process had died: what a test of a crash needs.
    pub fn abandon(&self) {
        self.engine.fail(Error::Stopped);
    }

    fn promise_of(&self, run: RunId) -> Arc<dyn RunPromise> {
        Arc::new(Promise::new(Arc::clone(&self.engine), run))
    }

    /// Begins those that are claimed for us already; answers how many are.
    fn begin(&self, batch: Vec<Dispatch>, mut reservation: Reservation) -> Result<usize, Error> {
        let engine = &self.engine;
        engine.check()?;
        let epoch = engine.session.epoch;
        let ours = |dispatch: &Dispatch| {
            dispatch.run.state() == RunState::Starting && dispatch.run.life.epoch == epoch
        };
        let all = batch.len();
        let starting: Vec<Dispatch> = batch.into_iter().filter(ours).collect();
        let begun = starting.len();
        if !starting.is_empty() {
            let entered =
                engine.registry.enter(starting.iter().map(|dispatch| (dispatch.run.id, dispatch.run.task)));
            engine.counting.change(|counters| {
                starting.iter().zip(&entered).filter(|(_, entered)| entered.is_some()).for_each(
                    |(dispatch, _)| {
                        counters.begun(&dispatch.run);
                    },
                );
            });
            for (dispatch, working) in starting.into_iter().zip(entered) {
                // Handed over twice is handed over once.
                let Some(working) = working else { continue };
                let class = engine.class(&dispatch.task.clone().of_run(&dispatch.run));
                let seat = if reservation.take(class) {
                    Seat::taken(&engine.seats, class)
                } else {
                    Seat::force(&engine.seats, class)
                };
                engine.begin(Job::new(Arc::new(dispatch.run), dispatch.task, working, seat));
            }
        }
        drop(reservation);
        // The rest waits for its claim. A look for nothing keeps the writer from the ends of those that have begun.
        if begun < all {
            engine.wake.notify_one();
        }
        Ok(begun)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("session", &self.engine.session).finish_non_exhaustive()
    }
}

#[async_trait]
impl Executor for Pool {
    fn reserve(&self, task: &Task, wanted: usize) -> Reservation {
        let engine = &self.engine;
        if wanted == 0 || engine.stopping.is_raised() {
            return Reservation::none();
        }
        let class = engine.class(task);
        Reservation::new(class, engine.seats.take(class, wanted), &self.give_back)
    }

    async fn execute(&self, batch: Vec<Dispatch>, reservation: Reservation) -> Result<(), Error> {
        let (all, look) = (batch.len(), self.engine.looks.next());
        if self.begin(batch, reservation)? + MANY <= all {
            tokio::select! {
                biased;
                () = self.engine.over.raised() => {}
                () = self.engine.looks.wait(look) => {}
            }
        }
        Ok(())
    }

    async fn execute_promised(
        &self,
        batch: Vec<Dispatch>,
        reservation: Reservation,
    ) -> Result<Vec<Arc<dyn RunPromise>>, Error> {
        let promises = batch.iter().map(|dispatch| self.promise_of(dispatch.run.id)).collect();
        self.begin(batch, reservation)?;
        Ok(promises)
    }

    async fn run_manually(
        &self,
        dispatch: Dispatch,
        reservation: Reservation,
    ) -> Result<Arc<dyn RunPromise>, Error> {
        self.engine.counting.change(|counters| counters.manual += 1);
        let promise = self.promise_of(dispatch.run.id);
        self.begin(vec![dispatch], reservation)?;
        Ok(promise)
    }

    async fn resume(&self, dispatch: Dispatch) -> Result<Run, Error> {
        resume::resume(&self.engine, dispatch).await
    }

    async fn cancel(&self, run: RunId, why: CancelWhy) -> Result<Option<Run>, Error> {
        promises::cancel(&self.engine, run, why).await
    }

    async fn restart(&self, run: RunId, reason: String) -> Result<Asked, Error> {
        asked::restart(&self.engine, run, reason).await
    }

    async fn signal(&self, run: RunId, signal: String) -> Result<Asked, Error> {
        asked::signal(&self.engine, run, signal).await
    }

    fn update(&self, task: Arc<Task>) {
        self.engine.registry.offer(&task);
    }

    async fn promise(&self, run: RunId) -> Result<Option<Arc<dyn RunPromise>>, Error> {
        Ok(self.engine.store.run(run).await?.map(|run| self.promise_of(run.id)))
    }
}

#[cfg(test)]
#[path = "pool/tests/mod.rs"]
mod tests;
