//! The one thing the coordinator asks about run output: that it goes when its run leaves the history.

use async_trait::async_trait;
use punctual_model::RunId;

/// Removes what runs wrote. Implemented by whoever keeps the output.
#[async_trait]
pub trait OutputRemover: Send + Sync {
    /// Removes the output of these runs, as far as there is any. Best effort: what cannot be removed now is
    /// reported by the implementor and costs disk space, nothing else.
    async fn remove(&self, runs: &[RunId]);
}

/// For engines whose runs leave no output behind.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutput;

#[async_trait]
impl OutputRemover for NoOutput {
    async fn remove(&self, _runs: &[RunId]) {}
}
