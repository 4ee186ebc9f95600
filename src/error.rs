//! What can go wrong with an engine as a whole.

use punctual_coordinator as coordinator;
use punctual_executor as executor;
use punctual_scheduler::schedule::ZoneError;
use punctual_store as store;

/// The engine could not start, or could not go on, or refused what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory was not opened.
    #[error(transparent)]
    Open(#[from] store::fjall::OpenError),
    /// The default time zone is none.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// A request was refused, or the store failed.
    #[error(transparent)]
    Request(#[from] coordinator::Error),
    /// The executor could not do what it was asked.
    #[error(transparent)]
    Executor(#[from] executor::Error),
    /// The store could not do what it was asked.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system refused something that the engine cannot do without.
    #[error("failed to {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A task of the engine died by a fault of ours.
    #[error("a part of the engine has died: {0}")]
    Died(String),
}

impl Error {
    /// Whether nothing can be written any more in this process. Start it again: what was acknowledged is there.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        let failed =
            |error: &store::Error| matches!(error, store::Error::Failed { .. } | store::Error::Fenced { .. });
        match self {
            Self::Request(error) => error.is_fatal(),
            Self::Store(error) | Self::Executor(executor::Error::Store(error)) => failed(error),
            Self::Died(_) => true,
            Self::Open(_) | Self::Zone(_) | Self::Executor(_) | Self::Io { .. } => false,
        }
    }
}
