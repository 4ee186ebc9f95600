//! What the coordinator asks about run output: that it goes when its run leaves the history, or before.

use async_trait::async_trait;
use punctual_executor::Outputs;
use punctual_model::RunId;

/// Removes what runs wrote. Implemented by whoever keeps the output.
#[async_trait]
pub trait OutputRemover: Send + Sync {
    /// Removes the output of these runs, as far as there is any, and whatever else is kept with their records. Best effort: what cannot be removed now is
    /// reported by the implementor and costs disk space, nothing else.
    async fn remove(&self, runs: &[RunId]);

    /// Removes the output of these runs and leaves everything else of them, since their records stay. As much an
    /// effort as [`Self::remove`].
    async fn remove_output(&self, runs: &[RunId]);
}

#[async_trait]
impl OutputRemover for Outputs {
    async fn remove(&self, runs: &[RunId]) {
        let removed = if self.root().is_none() {
            // Nothing to wait for; and when another thread has done it is nothing that a simulation could repeat.
            Ok(Outputs::remove(self, runs))
        } else {
            let (outputs, runs) = (self.clone(), runs.to_vec());
            // It waits for the disk, and nobody else should have to.
            tokio::task::spawn_blocking(move || Outputs::remove(&outputs, &runs)).await
        };
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "output of old runs could not be removed"),
            Err(error) => tracing::error!(%error, "removing the output of old runs died"),
        }
    }

    async fn remove_output(&self, runs: &[RunId]) {
        OutputRemover::remove(self, runs).await;
    }
}

/// For engines whose runs leave no output behind.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutput;

#[async_trait]
impl OutputRemover for NoOutput {
    async fn remove(&self, _runs: &[RunId]) {}

    async fn remove_output(&self, _runs: &[RunId]) {}
}
