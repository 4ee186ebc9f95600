//! How the processes of one node are told from all others: the mark in their environment, and a note of each
//! child beside its run's output.

use super::proc_table;
use crate::output;
use punctual_model::RunId;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The variable that marks a process as a child of the node over one data directory.
pub(super) const MARK: &str = "PUNCTUAL_NODE";

/// The variable that marks a command of a hook, which is no work: it has another one, so that it is not ended with its
/// run's processes, and is found all the same when its daemon has died.
pub(super) const HOOK_MARK: &str = "PUNCTUAL_HOOK_NODE";

/// The extension of the notes.
const EXTENSION: &str = "pid";

/// What the process drivers of a node share.
#[derive(Debug, Default)]
pub struct ProcessHome {
    mark: Option<String>,
    notes: Option<PathBuf>,
    boot: String,
    #[cfg(target_os = "linux")]
    keeping: Option<super::keeping::Keeping>,
}

impl ProcessHome {
    /// For a node that keeps nothing: its children cannot be found again.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { boot: proc_table::boot_id(), ..Self::default() }
    }

    /// For the node over this data directory, which exists; notes go to `output` below it.
    ///
    /// # Errors
    /// If the directory cannot be looked at.
    pub fn in_directory(data: &Path) -> io::Result<Self> {
        let path = data.canonicalize()?;
        let about = path.metadata()?;
        // A path alone could be another directory in another container with the same view of processes.
        let mark = format!("{}:{}:{}", about.dev(), about.ino(), path.display());
        Ok(Self {
            mark: Some(mark),
            notes: Some(path.join("output")),
            boot: proc_table::boot_id(),
            #[cfg(target_os = "linux")]
            keeping: Some(super::keeping::Keeping::below(&path)),
        })
    }

    /// Starts what makes shims by this program and these arguments, which must come to
    /// [`enter`](crate::shim::enter) while they have one thread; by default the running program itself is started
    /// once more, if it has called that.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn with_spawner(mut self, file: impl Into<PathBuf>, arguments: Vec<std::ffi::OsString>) -> Self {
        if let Some(keeping) = &mut self.keeping {
            keeping.set_program(super::spawner::Program { file: file.into(), arguments });
        }
        self
    }

    /// The shims of the node, if it has any.
    #[cfg(target_os = "linux")]
    pub(super) fn keeping(&self) -> Option<&super::keeping::Keeping> {
        self.keeping.as_ref()
    }

    /// The boot of this machine.
    #[cfg(target_os = "linux")]
    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    /// The value of [`MARK`].
    pub(super) fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// The variable for commands of hooks, by which the next start finds and ends those that a crash has left; none for
    /// a node that keeps nothing.
    #[must_use]
    pub fn hook_variable(&self) -> Option<(String, String)> {
        Some((HOOK_MARK.to_owned(), self.mark.clone()?))
    }

    /// Notes a child that was just started. Not synced: after a power loss it does not live either. A note that
    /// cannot be written is not worth failing for, since the mark finds the child too.
    pub(super) fn note(&self, run: RunId, identity: Identity) {
        let Some(path) = self.path(run) else { return };
        let text = format!("{} {} {}\n", self.boot, identity.pid, identity.start_time);
        let written = output::create(&path).and_then(|(mut file, _)| {
            file.set_len(0)?;
            file.write_all(text.as_bytes())
        });
        if let Err(error) = written {
            tracing::warn!(run.id = %run, %error, "the identity of a process was not noted");
        }
    }

    /// The child that was noted, if this machine has not been booted since.
    pub(super) fn noted(&self, run: RunId) -> Option<Identity> {
        let text = std::fs::read_to_string(self.path(run)?).ok()?;
        let mut words = text.split_whitespace();
        if words.next()? != self.boot || self.boot.is_empty() {
            return None;
        }
        Some(Identity { pid: words.next()?.parse().ok()?, start_time: words.next()?.parse().ok()? })
    }

    /// Removes the note of a child that is gone.
    pub(super) fn forget(&self, run: RunId) {
        if let (Some(path), Some(root)) = (self.path(run), &self.notes)
            && let Err(error) = output::remove(&path, root)
        {
            tracing::warn!(run.id = %run, %error, "the note of a process could not be removed");
        }
    }

    fn path(&self, run: RunId) -> Option<PathBuf> {
        Some(output::path_of(self.notes.as_ref()?, run, EXTENSION))
    }
}

/// What tells a process from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks since boot, from `/proc/PID/stat`; 0 where there is no such file.
    pub(crate) start_time: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_until_the_next_boot() {
        let data = tempfile::tempdir().unwrap();
        let mut home = ProcessHome::in_directory(data.path()).unwrap();
        home.boot = "one".to_owned();
        let (run, identity) = (RunId::new(5).unwrap(), Identity { pid: 4711, start_time: 99 });
        assert_eq!(home.noted(run), None);
        home.note(run, identity);
        assert_eq!(home.noted(run), Some(identity));
        home.boot = "two".to_owned();
        assert_eq!(home.noted(run), None);
        home.forget(run);
        home.forget(run);
        assert!(std::fs::read_dir(data.path().join("output")).unwrap().next().is_none());
    }
}
