//! What the coordinator asks of whoever does the work. Object-safe and mockable: a test that replaces this
//! room sees what it is fed.

use crate::asked::Asked;
use crate::error::Error;
use crate::promise::RunPromise;
use crate::reservation::Reservation;
use async_trait::async_trait;
use punctual_model::{CancelWhy, Run, RunId, Task};
use std::sync::Arc;

/// A run with the definition it is to be run by.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// The run, as the store answered it.
    pub run: Run,
    /// The whole task, so that every log line of the run shows what ran.
    pub task: Arc<Task>,
}

/// Does the work. Fails only for reasons of the store; whatever goes wrong with the work itself arrives
/// through the promise and the run's record.
///
/// A run is in the store before it is given here. `execute` never jumps the queue: runs that are `Starting`
/// begin in the reserved workers, all others wait for their claim; a lost call loses nothing.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Executor: Send + Sync {
    /// Sets up to `wanted` free workers aside that can do the work of this task. Never waits; dropping the answer gives
    /// them back.
    fn reserve(&self, task: &Task, wanted: usize) -> Reservation;

    /// Starts what is claimed and wakes the claimers for the rest; where that is much, returns once they have looked at
    /// it, so that a herd is not written faster than it is worked off. Never waits for a free worker.
    async fn execute(&self, batch: Vec<Dispatch>, reservation: Reservation) -> Result<(), Error>;

    /// [`Self::execute`], with the promises of the runs, in order.
    async fn execute_promised(
        &self,
        batch: Vec<Dispatch>,
        reservation: Reservation,
    ) -> Result<Vec<Arc<dyn RunPromise>>, Error>;

    /// [`Self::execute_promised`] for one run that somebody asked for.
    async fn run_manually(
        &self,
        dispatch: Dispatch,
        reservation: Reservation,
    ) -> Result<Arc<dyn RunPromise>, Error>;

    /// Takes up a run that an earlier session had begun: re-attached if its driver can, else ended truthfully
    /// or, where its task allows that, given another attempt. Answers the run as it is then.
    async fn resume(&self, dispatch: Dispatch) -> Result<Run, Error>;

    /// Ends a run in whatever state it is; harmless if it has ended. The answer is its record with the intent,
    /// or the end, durable; none if there is no such run.
    async fn cancel(&self, run: RunId, why: CancelWhy) -> Result<Option<Run>, Error>;

    /// Has the work of a run ended the usual way and begun again at once, as its next attempt, which counts for no
    /// policy. Done once that is durable, so that it comes about whatever dies; asked again before it has come about it
    /// is done already.
    async fn restart(&self, run: RunId, reason: String) -> Result<Asked, Error>;

    /// Gives the work of a run a signal, by its name or number. Done once the work has got it and the record says so.
    async fn signal(&self, run: RunId, signal: String) -> Result<Asked, Error>;

    /// A task has a new definition, which is in the store: its runs at work follow it as far as that can be, the
    /// newest one if several come together. A hint that never waits.
    fn update(&self, _task: Arc<Task>) {}

    /// The promise of a run, also of one that ended long ago; none if there is no such run.
    async fn promise(&self, run: RunId) -> Result<Option<Arc<dyn RunPromise>>, Error>;
}
