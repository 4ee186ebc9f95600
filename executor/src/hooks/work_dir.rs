//! A directory of the run's own: made empty before its first attempt, the same through all of them, and gone at the
//! run's end unless its task keeps it. What is kept goes with the run's record.

use super::work_place;
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

/// The state with its path, which says that it was made in this run: it stays where it is, also if the node is told
/// another place for those of later ones.
const MADE: &str = "made";

/// The mode of a run's directory: what it holds is nobody else's business.
const MODE: u32 = 0o700;

/// The directories of all runs of one node.
#[derive(Debug, Clone)]
pub struct WorkDirs {
    /// The first is where they are made; there may be some of earlier runs in the others.
    roots: Vec<PathBuf>,
}

impl WorkDirs {
    /// Below this directory (`DATA/work`), which need not exist yet.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { roots: vec![root.into()] }
    }

    /// In this place outside the data directory, where other users can come to their own: made if only it is missing.
    /// `usual` is where those of earlier runs may be. Blocks on the disk.
    ///
    /// # Errors
    /// What the system says; and a place is refused that is not the daemon's own, that others may write to, that
    /// somebody else could exchange, or that is in the data directory.
    pub fn outside(place: &Path, usual: Option<PathBuf>) -> io::Result<Self> {
        let data = usual.as_deref().and_then(Path::parent).and_then(|data| data.canonicalize().ok());
        let place = std::path::absolute(place)?;
        let above = place.canonicalize().ok().or_else(|| place.parent()?.canonicalize().ok());
        if data.zip(above).is_some_and(|(data, above)| above.starts_with(data)) {
            return Err(io::Error::other(format!("{} is in the data directory", place.display())));
        }
        let place = work_place::prepare(&place)?;
        Ok(Self { roots: std::iter::once(place).chain(usual).collect() })
    }

    /// None: work that wants a directory cannot be started. For a node that keeps nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { roots: Vec::new() }
    }

    /// Whether there are none.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.roots.is_empty()
    }

    /// Where the directory of a new run is, if runs have any.
    #[must_use]
    pub fn of(&self, run: RunId) -> Option<PathBuf> {
        Some(self.roots.first()?.join(run.to_string()))
    }

    /// Where that of a run is whose hook has stored this.
    fn known(&self, around: &Around) -> Option<PathBuf> {
        let made = around.state.get(MADE).map(PathBuf::from).filter(|made| made.is_absolute());
        made.or_else(|| self.of(around.attempt.run.id))
    }

    /// Removes the directories of runs that history does not keep any more. Blocks on the disk.
    ///
    /// # Errors
    /// The first error; the others were tried all the same.
    pub fn remove(&self, runs: &[RunId]) -> io::Result<()> {
        let mut result = Ok(());
        for run in runs {
            for root in &self.roots {
                result = result.and(remove(&root.join(run.to_string())));
            }
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
        let Some(path) = self.dirs.known(around) else {
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
            state: BTreeMap::from([(MADE.to_owned(), path.display().to_string())]),
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
        match self.dirs.known(around) {
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

    #[test]
    fn a_place_outside_takes_those_of_new_runs_and_those_of_earlier_ones_are_removed_where_they_are() {
        let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let usual = data.path().join("work");
        let (earlier, later) = (RunId::new(7).unwrap(), RunId::new(8).unwrap());
        let old = WorkDirs::below(&usual).of(earlier).unwrap();
        make(&old, true).unwrap();
        let dirs = WorkDirs::outside(&other.path().join("runs"), Some(usual.clone())).unwrap();
        let new = dirs.of(later).unwrap();
        assert_eq!(new, other.path().canonicalize().unwrap().join("runs").join(later.to_string()));
        make(&new, true).unwrap();
        dirs.remove(&[earlier, later]).unwrap();
        assert!(!old.exists() && !new.exists());
        let within = WorkDirs::outside(&data.path().join("runs"), Some(usual)).unwrap_err();
        assert!(within.to_string().contains("in the data directory"), "{within}");
        assert!(!data.path().join("runs").exists(), "it is not made first");
    }
}
