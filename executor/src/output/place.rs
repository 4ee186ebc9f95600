//! Where the bytes of a run's output are: a file below the data directory, or memory.
//!
//! `output/<4 digits>/<2 digits>/<run id>.out`: the leading digits of an id are its time, so one directory
//! holds the runs of 4.4 minutes and empties when retention has passed them; none grows without bound. A run
//! that writes more than its head has room for has up to two parts more beside it, `.tail1` and `.tail2`, which
//! take turns.

use punctual_model::RunId;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Only the owner reads what tasks write: output may hold anything.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The path of a file that belongs to a run.
pub(crate) fn path_of(root: &Path, run: RunId, extension: &str) -> PathBuf {
    let id = run.to_string();
    root.join(&id[..4]).join(&id[4..6]).join(format!("{id}.{extension}"))
}

/// The extensions of all files that hold output, the head's last.
pub(super) const EXTENSIONS: [&str; 3] = ["tail1", "tail2", "out"];

/// The extension of a part of a run's output: the head is 0, and those behind it take turns.
pub(super) fn extension(part: u64) -> &'static str {
    match part {
        0 => "out",
        part if part % 2 == 1 => "tail1",
        _ => "tail2",
    }
}

/// What did not exist before a file was opened, and whose name is therefore not yet durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Nothing,
    File,
    Directories,
}

/// Makes a file of a run anew; whoever reads what was there reads it to its end.
pub(super) fn replace(path: &Path) -> io::Result<(File, Made)> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create(path)
}

/// Opens a file of a run for writing, making the directories that it needs.
pub(crate) fn create(path: &Path) -> io::Result<(File, Made)> {
    let open =
        |new: bool| OpenOptions::new().read(true).write(true).create_new(new).mode(FILE_MODE).open(path);
    match open(true) {
        Ok(file) => Ok((file, Made::File)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok((open(false)?, Made::Nothing)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
            }
            // Retention may have removed the empty directory again just now; one more try is enough, since
            // what it removes is old.
            Ok((open(true)?, Made::Directories))
        }
        Err(error) => Err(error),
    }
}

/// Removes a file of a run, and the directories that are empty by it; nothing there is fine.
pub(crate) fn remove(path: &Path, root: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    for directory in path.ancestors().skip(1).take_while(|directory| *directory != root) {
        if std::fs::remove_dir(directory).is_err() {
            break;
        }
    }
    Ok(())
}

/// Bytes that go with the process.
pub(super) type Buffer = Arc<Mutex<Vec<u8>>>;

/// The bytes themselves.
#[derive(Debug, Clone)]
pub(super) enum Bytes {
    File(Arc<File>),
    Memory(Buffer),
}

impl Bytes {
    /// Reads what is there at an offset; 0 at the end.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(buffer, offset),
            Self::Memory(bytes) => {
                let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }

    /// Writes at an offset, which is the end.
    pub(super) fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all_at(data, offset),
            Self::Memory(bytes) => {
                let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
                bytes.extend_from_slice(data);
                Ok(())
            }
        }
    }

    /// Cuts off what stands behind an offset.
    pub(super) fn truncate(&self, length: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.set_len(length),
            Self::Memory(bytes) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                bytes.lock().unwrap_or_else(PoisonError::into_inner).truncate(length);
                Ok(())
            }
        }
    }
}
