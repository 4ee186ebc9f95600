//! The data directory: who may see it, who has it now, and which format it is in. Settled before the database
//! is touched.
//!
//! ```text
//! DATA/FORMAT    the format, as text; written last when the directory is made
//! DATA/lock      held with flock by the process in it
//! DATA/seal      the last commit known to be synced
//! DATA/db/       the database; DATA/db.new/ before all of a new one is there
//! DATA/output/   what runs wrote; not ours
//! DATA/aside/    journals as they were found, where opening them could have lost something
//! ```

use super::open_error::OpenError;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The format that this version writes, and the newest that it reads. It rises with a change that an earlier
/// version would misread; new optional fields of records are none.
///
/// 1: each run at work has an entry in the open index. 2: those that began together are a record of their own.
pub(super) const FORMAT: u32 = 2;

/// The directory of a store, locked.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    /// The format of the store that it holds; none if one is to be made.
    pub(super) format: Option<u32>,
    // The lock goes with the file, after everything that it protects.
    _lock: File,
}

impl Directory {
    /// Makes the directory if there is none, looks at its owner, mode and format, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let root = make_private(path)?;
        // Read before the lock is taken, since taking it writes our number into it: of a later format not a
        // byte is changed. Read again under the lock, since another process may just have made the store.
        read_format(&root)?;
        let lock = lock(&root)?;
        let format = read_format(&root)?;
        Ok(Self { root, format, _lock: lock })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn database(&self) -> PathBuf {
        self.root.join("db")
    }

    pub(super) fn seal(&self) -> PathBuf {
        self.root.join("seal")
    }

    pub(super) fn aside(&self) -> PathBuf {
        self.root.join("aside")
    }

    /// Makes what is missing of a folder for us alone.
    pub(super) fn make_folder(&self, path: &Path) -> Result<(), OpenError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(OpenError::io("create", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(OpenError::io("protect", path))
    }

    /// Writes FORMAT, durably: from now on the directory holds a store of this format. One that was there is as long,
    /// so that only a digit changes: whatever happens, it is the old one or the new one.
    pub(super) fn finish(&mut self) -> Result<(), OpenError> {
        let path = self.root.join("FORMAT");
        let write = || -> io::Result<()> {
            let mut file = private_file(&path)?;
            file.write_all(format!("punctual data directory\nformat {FORMAT}\n").as_bytes())?;
            file.sync_all()?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(OpenError::io("write", &path))?;
        self.format = Some(FORMAT);
        Ok(())
    }
}

fn make_private(path: &Path) -> Result<PathBuf, OpenError> {
    let io = |what| OpenError::io(what, path);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create"))?;
            // The mask of the process may have taken rights away from us, too.
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io("protect"))?;
            if let Some(parent) = path.canonicalize().map_err(io("find"))?.parent() {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(io("sync the parent of"))?;
            }
        }
        Err(error) => return Err(io("look at")(error)),
        Ok(found) if !found.is_dir() => return Err(OpenError::NotADirectory { path: path.to_owned() }),
        Ok(found) => {
            let (owner, us) = (found.uid(), rustix::process::geteuid().as_raw());
            if owner != us {
                return Err(OpenError::Permissions {
                    path: path.to_owned(),
                    problem: format!("it belongs to user {owner}, and this runs as user {us}"),
                    hint: "run this as its owner, or chown it with all its content",
                });
            }
            if found.mode() & 0o022 != 0 {
                return Err(OpenError::Permissions {
                    path: path.to_owned(),
                    problem: format!(
                        "others than its owner may write to it (mode {:o})",
                        found.mode() & 0o7777
                    ),
                    hint: "chmod 700 it, after a look at what is in it",
                });
            }
        }
    }
    path.canonicalize().map_err(io("find"))
}

/// The format, if there is one that we know; an error if it is another one.
pub(super) fn read_format(root: &Path) -> Result<Option<u32>, OpenError> {
    let path = root.join("FORMAT");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io("read", &path)(error)),
    };
    let found = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("format ")))
        .and_then(|number| number.trim().parse().ok());
    match found {
        Some(0) | None => Err(OpenError::Damaged {
            path: root.to_owned(),
            error: "the file FORMAT does not tell a format".to_owned(),
            sealed: None,
            aside: None,
        }),
        Some(found) if found > FORMAT => {
            Err(OpenError::NewerFormat { path: root.to_owned(), found, known: FORMAT })
        }
        known => Ok(known),
    }
}

/// Keeps others from working on the directory while it is read, without changing a byte of it. None if there is
/// no lock yet, and so never was a process in it.
pub(super) fn lock_for_reading(root: &Path) -> Result<Option<File>, OpenError> {
    let path = root.join("lock");
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(OpenError::io("open", &path))?,
    };
    take(root, &mut file, File::try_lock_shared)?;
    Ok(Some(file))
}

/// How long a lock may outlive the process that is named in it: a child that was killed off from its parent between
/// its fork and its program holds a copy for as long, which is a moment even on a machine that does much else.
const OUTLIVES: Duration = Duration::from_secs(2);

/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(5);

/// Locks the file, unless a process that lives has it.
fn take(
    root: &Path,
    file: &mut File,
    try_lock: fn(&File) -> Result<(), TryLockError>,
) -> Result<(), OpenError> {
    let mut waited = Duration::ZERO;
    loop {
        match try_lock(file) {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(OpenError::io("lock", &root.join("lock"))(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        let mut text = String::new();
        // Who has it may be just about to write its number; then it stays unnamed.
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let pid: Option<u32> = text.trim().parse().ok();
        if !pid.is_some_and(is_gone) || waited >= OUTLIVES {
            return Err(OpenError::Locked { path: root.to_owned(), pid });
        }
        #[expect(clippy::disallowed_methods, reason = "nobody tells of the end of a lock")]
        std::thread::sleep(LOOK);
        waited += LOOK;
    }
}

fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

fn lock(root: &Path) -> Result<File, OpenError> {
    let path = root.join("lock");
    let mut file = private_file(&path).map_err(OpenError::io("open", &path))?;
    take(root, &mut file, File::try_lock)?;
    file.rewind()
        .and_then(|()| file.set_len(0))
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(OpenError::io("write", &path))?;
    Ok(file)
}

/// Opens or makes a file that only we can read, whatever the mask of the process is.
fn private_file(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
