//! Where the bytes of a run's output are: a file below the data directory, or memory.
//!
//! `output/<4 digits>/<2 digits>/<run id>.out`: the leading digits of an id are its time, so one directory
//! holds the runs of 4.4 minutes and empties when retention has passed them; none grows without bound. A run
//! that writes more than its head has room for has more parts beside it, `.tail1`, `.tail2` and on without a gap,
//! which take turns. A new part takes its place whole, by its name.

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

/// Places that are looked at although the ones before them are empty.
const SURE_SLOTS: usize = 2;

/// More places for parts than any run has.
pub(super) const MOST_SLOTS: usize = 128;

/// Where a part is: the head is in 0, those behind it wherever there was room.
pub(super) fn extension(slot: usize) -> String {
    match slot {
        0 => "out".to_owned(),
        slot => format!("tail{slot}"),
    }
}

/// The extension of a part that is being made.
const NEW: &str = "tail.new";

/// Whether there can be anything at a place, when the one before it is empty or not.
pub(super) fn is_to_be_looked_at(slot: usize, before_is_empty: bool) -> bool {
    slot <= SURE_SLOTS || (!before_is_empty && slot < MOST_SLOTS)
}

/// What did not exist before a file was opened, and whose name is therefore not yet durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Made {
    Nothing,
    File,
    Directories,
}

/// Puts a part in its place with these bytes in it; whoever reads what stood there reads that to its end.
pub(super) fn replace(root: &Path, run: RunId, slot: usize, bytes: &[u8]) -> io::Result<File> {
    let new = path_of(root, run, NEW);
    let (file, _) = create(&new)?;
    // What a crash has left there is none of ours.
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    std::fs::rename(&new, path_of(root, run, &extension(slot)))?;
    Ok(file)
}

/// Removes all parts of a run's output. The head goes last, and of the others the last first: what is left by a crash
/// is found the next time.
pub(super) fn remove_all(root: &Path, run: RunId) -> io::Result<()> {
    let mut last = SURE_SLOTS;
    while last + 1 < MOST_SLOTS && path_of(root, run, &extension(last + 1)).exists() {
        last += 1;
    }
    let mut result = Ok(());
    for extension in std::iter::once(NEW.to_owned()).chain((0..=last).rev().map(extension)) {
        result = result.and(remove(&path_of(root, run, &extension), root));
    }
    result
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
