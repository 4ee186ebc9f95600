//! What can go wrong with executing. Work that fails is not among it.

/// The executor could not do what it was asked; its reasons are the store's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store could not.
    #[error(transparent)]
    Store(#[from] punctual_store::Error),
    /// The run was removed from the history before its end could be answered.
    #[error("run {0} is not in the history any more")]
    Forgotten(punctual_model::RunId),
    /// The executor was stopped before that was known. The run goes on or ends after the next start; ask then
    /// for its promise again.
    #[error("the executor has stopped")]
    Stopped,
}
