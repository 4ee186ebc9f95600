//! What people ask of a run at work that is not its end.

use crate::engine::unbroken;
use crate::error::Error;
use crate::tasks::Tasks;
use punctual_executor::Asked;
use punctual_model::{Run, RunId, RunState};
use std::sync::Arc;

impl Tasks {
    /// Has the work of a run ended the usual way (hooks, delay, signal, grace, by force) and begun again at once as its
    /// next attempt, which counts for no policy. Answers the record when that is durable: it comes about whatever dies.
    /// Asked again before it has come about, it is the same restart.
    ///
    /// # Errors
    /// [`Error::RunNotFound`], [`Error::NotAtWork`] if there is nothing to begin again, or the store's.
    pub async fn restart_run(&self, run: RunId, reason: &str) -> Result<Run, Error> {
        self.run(run).await?;
        let (core, reason) = (Arc::clone(&self.core), reason.to_owned());
        let asked = unbroken(async move { core.parts.executor.restart(run, reason).await }).await;
        answer(run, asked.map_err(|error| self.core.heed(error))?)
    }

    /// Gives the work of a run a signal, by its name (`HUP`, `SIGHUP`) or number. Answers the record, which tells of it,
    /// when the work has got it.
    ///
    /// # Errors
    /// [`Error::RunNotFound`], [`Error::NotAtWork`], [`Error::NotSignaled`] if the signal is unknown or its kind of work
    /// takes none, or the store's.
    pub async fn signal_run(&self, run: RunId, signal: &str) -> Result<Run, Error> {
        self.run(run).await?;
        let (core, signal) = (Arc::clone(&self.core), signal.to_owned());
        let asked = unbroken(async move { core.parts.executor.signal(run, signal).await }).await;
        answer(run, asked.map_err(|error| self.core.heed(error))?)
    }
}

fn answer(run: RunId, asked: Asked) -> Result<Run, Error> {
    match asked {
        Asked::Done(run) => Ok(run),
        Asked::NotAtWork(record) => {
            let state = match record.state() {
                RunState::Stopping { .. } => "being stopped".to_owned(),
                state => state.name().as_str().replace('_', " "),
            };
            Err(Error::NotAtWork { run, state })
        }
        Asked::Refused(why) => Err(Error::NotSignaled { run, why }),
        Asked::Unknown => Err(Error::RunNotFound),
    }
}
