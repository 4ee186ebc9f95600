//! How the processes of one node are told from all others: the mark in their environment, and a note of each
//! child.

use super::notes::Notes;
use super::proc_table;
use punctual_model::RunId;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The variable that marks a process as a child of the node over one data directory.
pub(super) const MARK: &str = "PUNCTUAL_NODE";

/// The variable that marks a command of a hook, which is no work: it has another one, so that it is not ended with its
/// run's processes, and is found all the same when its daemon has died.
pub(super) const HOOK_MARK: &str = "PUNCTUAL_HOOK_NODE";

/// The file of the notes, in the data directory.
const NOTES: &str = "children";

/// What the process drivers of a node share.
#[derive(Debug, Default)]
pub struct ProcessHome {
    mark: Option<String>,
    notes: Option<Mutex<Notes>>,
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

    /// For the node over this data directory, which exists; its children are noted there, in the file `children`.
    ///
    /// # Errors
    /// If the directory cannot be looked at, or the file cannot be read.
    pub fn in_directory(data: &Path) -> io::Result<Self> {
        let path = data.canonicalize()?;
        let about = path.metadata()?;
        // A path alone could be another directory in another container with the same view of processes.
        let mark = format!("{}:{}:{}", about.dev(), about.ino(), path.display());
        let boot = proc_table::boot_id();
        let notes = Notes::open(path.join(NOTES), &mark, &boot)?;
        Ok(Self {
            mark: Some(mark),
            notes: Some(Mutex::new(notes)),
            boot,
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

    /// Notes a child that was just started. A note that cannot be written is not worth failing for, since the mark
    /// finds the child too.
    pub(super) fn note(&self, run: RunId, identity: Identity) {
        if let Some(Err(error)) = self.notes().map(|mut notes| notes.note(run, identity)) {
            tracing::warn!(run.id = %run, %error, "the identity of a process was not noted");
        }
    }

    /// The child that was noted, if this machine has not been booted since.
    pub(super) fn noted(&self, run: RunId) -> Option<Identity> {
        self.notes()?.noted(run)
    }

    /// Removes the note of a child that is gone.
    pub(super) fn forget(&self, run: RunId) {
        if let Some(Err(error)) = self.notes().map(|mut notes| notes.forget(run)) {
            tracing::warn!(run.id = %run, %error, "the note of a process could not be removed");
        }
    }

    fn notes(&self) -> Option<MutexGuard<'_, Notes>> {
        Some(self.notes.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What tells a process from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks since boot, from `/proc/PID/stat`; 0 where there is no such file.
    pub(crate) start_time: u64,
}
