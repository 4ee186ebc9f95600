//! What an attempt leaves on the disk for a daemon that comes later, in `DATA/processes`, beside who keeps it
//! ([`super::note`]):
//!
//! ```text
//! RUN.ATTEMPT.end     how the work ended; written, synced and renamed, if no daemon was there to be told
//! RUN.ATTEMPT.sock    where a shim listens whose daemon has gone
//! RUN.ATTEMPT.group   its control group, if it has limits; also without a shim, and until the group is gone
//! ```
//!
//! All are removed once the end is recorded. A run that ends under the eyes of its daemon has none of them.

use super::super::cgroup::Group;
use super::messages::End;
use punctual_model::RunId;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Only the owner of the data may talk with its shims.
const MODE: u32 = 0o600;

/// The files of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    directory: PathBuf,
    name: String,
}

impl Files {
    pub(crate) fn new(directory: &Path, run: RunId, attempt: u32) -> Self {
        Self { directory: directory.to_owned(), name: format!("{run}.{attempt}") }
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", self.name))
    }

    /// Leaves the end durably.
    pub(super) fn write_end(&self, end: &End) -> io::Result<()> {
        let (begun, whole) = (self.path("end.new"), self.path("end"));
        let mut file = private(&begun)?;
        file.write_all(&super::messages::line(end))?;
        file.sync_all()?;
        std::fs::rename(begun, whole)?;
        File::open(&self.directory)?.sync_all()
    }

    pub(crate) fn end(&self) -> Option<End> {
        serde_json::from_slice(&std::fs::read(self.path("end")).ok()?).ok()
    }

    /// Where the shim listens, once its daemon has gone.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// Not synced: groups do not outlive the machine's boot either.
    pub(crate) fn write_group(&self, group: &Group) -> io::Result<()> {
        private(&self.path("group"))?.write_all(&super::messages::line(group))
    }

    /// The group of the attempt, which may be gone; none if there is no note that is whole and of this attempt.
    ///
    /// # Errors
    /// If the note cannot be read: there may be a group.
    pub(crate) fn group(&self) -> io::Result<Option<Group>> {
        let text = match std::fs::read(self.path("group")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let group = serde_json::from_slice(&text).ok();
        Ok(group.filter(|group: &Group| group.is_of(&self.name)))
    }

    /// The group is gone.
    pub(crate) fn remove_group(&self) {
        self.remove_each(&["group"]);
    }

    /// Removes where a living shim was to be met.
    pub(super) fn remove_socket(&self) {
        self.remove_each(&["sock"]);
    }

    /// Removes everything but the note of a group, which goes with the group; also what shims of earlier builds have
    /// called after their attempt. What cannot be removed is garbage that the next start sweeps.
    pub(crate) fn remove(&self) {
        self.remove_each(&["state", "sock", "end", "end.new"]);
    }

    fn remove_each(&self, extensions: &[&str]) {
        for extension in extensions {
            // Most of them were never there.
            let _ = std::fs::remove_file(self.path(extension));
        }
    }
}

/// Each attempt of which there is a file.
pub(crate) fn all(directory: &Path) -> Vec<(RunId, u32)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<(RunId, u32)> = names
        .filter_map(|name| {
            let mut parts = name.split('.');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Opens a file of the owner's alone, with nothing in it.
pub(super) fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunId::new(5).unwrap();
        let files = Files::new(directory.path(), run, 3);
        assert_eq!(files.end(), None);
        let end = End { code: Some(3), ..End::default() };
        files.write_end(&end).unwrap();
        assert_eq!(files.end(), Some(end));
        std::fs::write(directory.path().join("something else"), "").unwrap();
        assert_eq!(all(directory.path()), [(run, 3)]);
        files.remove();
        assert_eq!(all(directory.path()), []);
    }
}
