//! Fetches the files that a task needs into the directory of its run, all at once. One that is there already is
//! not fetched again: nothing but this hook has been at work in the directory as long as it is not done.

use super::Means;
use crate::hook::{Around, Hook, MakeHook, Prestarted};
use async_trait::async_trait;
use futures_util::future::join_all;
use punctual_model::event::EventKind;
use punctual_model::hook::Artifact;
use punctual_model::{Failure, FailureKind, Task};
use std::path::Path;

/// Makes [`ArtifactsHook`]s.
pub(super) struct MakeArtifacts(pub(super) Means);

impl MakeHook for MakeArtifacts {
    fn make(&self, task: &Task, hooks: &mut Vec<Box<dyn Hook>>) {
        let artifacts = &task.spec.artifacts;
        if !artifacts.is_empty() {
            hooks.push(Box::new(ArtifactsHook { means: self.0.clone(), artifacts: artifacts.clone() }));
        }
    }
}

struct ArtifactsHook {
    means: Means,
    artifacts: Vec<Artifact>,
}

#[async_trait]
impl Hook for ArtifactsHook {
    fn name(&self) -> &str {
        "artifacts"
    }

    async fn prestart(&self, around: &Around) -> Result<Prestarted, Failure> {
        let directory = around.attempt.setup.as_ref().and_then(|setup| setup.work_dir.as_deref());
        let Some(directory) = directory else {
            return Err(Failure::new(FailureKind::Start, "the run has no directory for its artifacts"));
        };
        let missing: Vec<&Artifact> =
            self.artifacts.iter().filter(|artifact| !is_there(directory, artifact)).collect();
        let count = u32::try_from(missing.len()).unwrap_or(u32::MAX);
        if count > 0 {
            around.sink.event(EventKind::DownloadingArtifacts { count });
        }
        let all = join_all(missing.iter().map(|artifact| fetch(&self.means, artifact, directory))).await;
        let mut failed: Vec<Failure> = Vec::new();
        for (artifact, fetched) in missing.iter().zip(all) {
            if let Err(failure) = fetched {
                // What stands behind the path may be a secret.
                let artifact = artifact.source.split(['?', '#']).next().unwrap_or_default().to_owned();
                let error = failure.message.clone();
                around.sink.event(EventKind::ArtifactFailed { artifact, error });
                failed.push(failure);
            }
        }
        // One that can never be had decides: no other attempt would go better.
        let worst = failed.iter().find(|failure| !failure.recoverable).or(failed.first());
        worst.cloned().map_or(Ok(Prestarted { done: true, ..Prestarted::default() }), Err)
    }
}

/// Files come there in one step, so what is there is whole.
fn is_there(directory: &Path, artifact: &Artifact) -> bool {
    directory.join(&artifact.dest).symlink_metadata().is_ok_and(|about| about.is_file())
}

#[cfg(feature = "http")]
async fn fetch(means: &Means, artifact: &Artifact, directory: &Path) -> Result<(), Failure> {
    let Some(fetcher) = &means.fetcher else { return Err(nobody()) };
    fetcher.fetch(std::slice::from_ref(artifact), directory).await.map(drop)
}

#[cfg(not(feature = "http"))]
async fn fetch(_means: &Means, _artifact: &Artifact, _directory: &Path) -> Result<(), Failure> {
    std::future::ready(Err(nobody())).await
}

fn nobody() -> Failure {
    Failure::new(FailureKind::Start, "this node fetches no artifacts")
}
