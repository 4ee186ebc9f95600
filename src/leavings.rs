//! What runs leave behind on the disk besides their records, and that goes with these.

use async_trait::async_trait;
use punctual_coordinator::OutputRemover;
use punctual_executor::Outputs;
use punctual_executor::hooks::WorkDirs;
use punctual_model::RunId;

/// The outputs of all runs and the directories that their tasks wanted kept.
#[derive(Debug)]
pub(crate) struct Leavings {
    pub(crate) outputs: Outputs,
    pub(crate) work_dirs: WorkDirs,
}

#[async_trait]
impl OutputRemover for Leavings {
    async fn remove(&self, runs: &[RunId]) {
        self.remove_output(runs).await;
        if self.work_dirs.are_none() {
            return;
        }
        let (dirs, runs) = (self.work_dirs.clone(), runs.to_vec());
        // It waits for the disk, and nobody else should have to.
        match tokio::task::spawn_blocking(move || dirs.remove(&runs)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "directories of pruned runs could not be removed"),
            Err(error) => tracing::error!(%error, "removing the directories of pruned runs died"),
        }
    }

    async fn remove_output(&self, runs: &[RunId]) {
        OutputRemover::remove(&self.outputs, runs).await;
    }
}
