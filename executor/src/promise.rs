//! The handle to a run: resolves when the run has ended and that is durable.

use crate::error::Error;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use punctual_model::event::Event;
use punctual_model::{Run, RunId, RunState};

/// What somebody who watches a run is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Something happened.
    Event(Event),
    /// So many events are gone: nobody keeps them.
    Missed(u64),
    /// It is in this state now.
    State(RunState),
}

/// A promise that a run will end. Any number may wait, also after the end, also after a restart of the process
/// (ask for it again by the run's id). Dropping it does not cancel the run.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RunPromise: Send + Sync {
    /// The run it is about.
    fn id(&self) -> RunId;

    /// Where the run is now.
    async fn state(&self) -> Result<RunState, Error>;

    /// Waits for the end and answers the final record.
    async fn wait(&self) -> Result<Run, Error>;

    /// Ends the run; twice or after the end is harmless. Answers once the intent is durable.
    async fn cancel(&self) -> Result<(), Error>;

    /// Each event of the run, from its first one on, and each state that it is seen in, ending with the final one.
    /// Nothing is kept for a watcher but how far it has got: one that lags, or comes late, is told how many
    /// events are gone from the middle. An event is seen when it happens; one that was not yet written with a
    /// step of the run is gone if the process dies.
    async fn events(&self) -> Result<BoxStream<'static, Told>, Error>;

    /// The run's states from now on, ending with the final one.
    async fn watch(&self) -> Result<BoxStream<'static, RunState>, Error>;
}
