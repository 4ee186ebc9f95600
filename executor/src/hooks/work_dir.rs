//! A directory of the run's own: made empty before its first attempt, the same through all of them, and gone at the
//! run's end unless its task keeps it. What is kept goes with the run's record.

use crate::hook::{Around, Ending, Hook, HookError, MakeHook, Prestarted};
use async_trait::async_trait;
use punctual_model::event::EventKind;
use punctual_model::process::KeepDir;
use punctual_model::{Failure, FailureKind, RunId, RunState, Task};
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The variable with the directory.
const VARIABLE: &str = "PUNCTUAL_WORK_DIR";

/// The state that says that it was made in this run.
const MADE: &str = "made";

/// The mode of a run's directory: what it holds is nobody else's business.
const MODE: u32 = 0o700;

/// The directories of all runs of one node.
#[derive(Debug, Clone)]
pub struct WorkDirs {
    root: Option<PathBuf>,
}

impl WorkDirs {
    /// Below this directory (`DATA/work`), which need not exist yet.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()) }
    }

    /// None: work that wants a directory cannot be started. For a node that keeps nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { root: None }
    }

    /// Whether there are none.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.root.is_none()
    }

    /// The directory of a run, if runs have any.
    #[must_use]
    pub fn of(&self, run: RunId) -> Option<PathBuf> {
        Some(self.root.as_ref()?.join(run.to_string()))
    }

    /// Removes the directories of runs that history does not keep any more. Blocks on the disk.
    ///
    /// # Errors
    /// The first error; the others were tried all the same.
    pub fn remove(&self, runs: &[RunId]) -> io::Result<()> {
        let mut result = Ok(());
        for path in runs.iter().filter_map(|run| self.of(*run)) {
            result = result.and(remove(&path));
        }
        result
    }
}

/// Makes [`WorkDirHook`]s.
pub(super) struct MakeWorkDir(pub(super) WorkDirs);

impl MakeHook for MakeWorkDir {
    fn make(&self, task: &Task, hooks: &mut Vec<Box<dyn Hook>>) {
        if let Some(work_dir) = task.spec.work.context().and_then(|context| context.work_dir) {
            hooks.push(Box::new(WorkDirHook { dirs: self.0.clone(), keep: work_dir.keep }));
        }
    }
}

struct WorkDirHook {
    dirs: WorkDirs,
    keep: KeepDir,
}

#[async_trait]
impl Hook for WorkDirHook {
    fn name(&self) -> &str {
        "work_dir"
    }

    async fn prestart(&self, around: &Around) -> Result<Prestarted, Failure> {
        let Some(path) = self.dirs.of(around.attempt.run.id) else {
            let text = "this node has no data directory, so its runs have no directories of their own";
            return Err(Failure::new(FailureKind::Start, text));
        };
        let is_first = !around.state.contains_key(MADE);
        if is_first {
            around.sink.event(EventKind::BuildingDirectory);
        }
        let made = path.clone();
        blocking(move || make(&made, is_first)).await.map_err(|error| {
            let text = format!("the directory {} cannot be made: {error}", path.display());
            let failure = Failure::new(FailureKind::Start, text);
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failure.recoverable(),
                _ => failure,
            }
        })?;
        Ok(Prestarted {
            env: BTreeMap::from([(VARIABLE.to_owned(), path.display().to_string())]),
            state: BTreeMap::from([(MADE.to_owned(), "yes".to_owned())]),
            work_dir: Some(path),
            // Asked again before each attempt: the work may have removed it.
            done: false,
        })
    }

    async fn stop(&self, around: &Around, ending: &Ending) -> Result<(), HookError> {
        let keeps = match self.keep {
            KeepDir::Never => false,
            KeepDir::OnFailure => ending.state != RunState::Succeeded,
            KeepDir::Always => true,
        };
        match self.dirs.of(around.attempt.run.id) {
            Some(path) if !keeps => blocking(move || remove(&path))
                .await
                .map_err(|error| format!("the run's directory cannot be removed: {error}").into()),
            _ => Ok(()),
        }
    }
}

fn make(path: &Path, anew: bool) -> io::Result<()> {
    if anew {
        // Of an attempt that died before it could say that it had made it.
        remove(path)?;
    }
    DirBuilder::new().recursive(true).mode(MODE).create(path)
}

/// What is gone already is gone.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Does what blocks on the disk where that is harmless.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_empty_at_first_and_kept_between_attempts() {
        let data = tempfile::tempdir().unwrap();
        let dirs = WorkDirs::below(data.path().join("work"));
        let run = RunId::new(7).unwrap();
        let path = dirs.of(run).unwrap();
        make(&path, true).unwrap();
        std::fs::write(path.join("left"), "x").unwrap();
        make(&path, false).unwrap();
        assert!(path.join("left").exists(), "the next attempt finds what the one before it left");
        make(&path, true).unwrap();
        assert!(std::fs::read_dir(&path).unwrap().next().is_none());
        dirs.remove(&[run, run]).unwrap();
        assert!(!path.exists());
    }
}
