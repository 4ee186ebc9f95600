//! What was fetched and has a checksum, under that checksum: one file each in a directory that only the node's own
//! user can read. It is a cache: what is missing or damaged is fetched again, and nothing in it is synced.

use jiff::Timestamp;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How the names of files begin that are being fetched.
const PARTIAL: &str = "partial-";

#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
    most: u64,
    next: AtomicU64,
    /// Held by whoever makes room, so that two do not count on the same.
    room: Mutex<()>,
}

impl Cache {
    /// Opens it, made if it is not there, and removes what was left half fetched.
    pub(super) fn open(root: &Path, most: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        // It may have been made by hand.
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { root: root.to_owned(), most, next: AtomicU64::new(0), room: Mutex::default() })
    }

    /// A new file to fetch into, which is gone when it is dropped.
    pub(super) fn partial(&self) -> io::Result<Partial> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(format!("{PARTIAL}{number}"));
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Partial { path })
    }

    /// What has this checksum, or had it when it was kept; from now on it counts as used at `now`.
    pub(super) fn get(&self, sha256: &str, now: Timestamp) -> Option<File> {
        let file = File::open(self.root.join(sha256)).ok()?;
        // Only the order in which room is made depends on it.
        let _ = file.set_modified(SystemTime::from(now));
        Some(file)
    }

    /// Keeps what was fetched, if there is room or can be made.
    pub(super) fn keep(&self, partial: Partial, sha256: &str, bytes: u64, now: Timestamp) -> io::Result<()> {
        let _room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > self.most {
            return Ok(());
        }
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                let about = entry.metadata()?;
                kept.push((about.modified()?, about.len(), entry.path()));
            }
        }
        kept.sort();
        let mut whole: u64 = kept.iter().map(|(_, bytes, _)| *bytes).sum();
        for (_, size, path) in kept {
            if whole + bytes <= self.most {
                break;
            }
            fs::remove_file(path)?;
            whole -= size;
        }
        File::open(&partial.path)?.set_modified(SystemTime::from(now))?;
        fs::rename(&partial.path, self.root.join(sha256))
    }

    pub(super) fn remove(&self, sha256: &str) {
        // What cannot be removed is replaced by what is fetched next.
        let _ = fs::remove_file(self.root.join(sha256));
    }
}

/// A file that is being fetched.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
}

impl Partial {
    pub(super) fn reopen(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    pub(super) fn reopen_for_writing(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(&self.path)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Renamed into the cache, it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}
