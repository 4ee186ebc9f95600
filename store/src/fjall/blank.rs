//! The database of a new store, before anything is in it.
//!
//! Where it is made it syncs some hundred and fifty times, one after the other, and each of them waits for whatever
//! else the disk has to do: seconds, beside a build. So it is made in memory, copied, and synced side by side, which
//! file systems take together. Called by [`super::open`] only; without such memory the database is made in place.
//!
//! The journal is left behind, as long as nothing was written to it: one that the database finds it cuts to what is in
//! it, and then each commit makes the file longer, so that each sync writes its length, too, in another place of the
//! disk. One that it makes has its full length from the beginning. (Measured with a lone caller: a third more runs.)

use super::directory::Directory;
use super::journals;
use super::keyspaces;
use super::options::Options;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Where Linux has memory that looks like a disk.
const MEMORY: &str = "/dev/shm";

/// Syncs side by side: so many that a file system takes most of them in one go.
const SYNCS: usize = 16;

/// Makes an empty database of a directory that has none, whole or not at all, durable but for its own name. Answers
/// whether it is there; if not, nothing is.
pub(super) fn make(directory: &Directory, options: &Options) -> io::Result<bool> {
    let Some(memory) = Memory::of(directory)? else { return Ok(false) };
    let begun = directory.root().join("db.new");
    match fs::remove_dir_all(&begun) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Whatever is wrong with that memory, or with what was made there, is seen where it is made instead.
    let Ok(made) = keyspaces::open(&memory.0, options) else { return Ok(false) };
    drop(made);
    let mut copied = Vec::new();
    copy(&memory.0, &begun, &mut copied)?;
    sync(&copied)?;
    fs::rename(begun, directory.database())?;
    Ok(true)
}

/// A folder in memory, which goes with this.
struct Memory(PathBuf);

impl Memory {
    /// None where there is no such memory. Its name is that of the directory, so that one which a killed process has
    /// left is found.
    fn of(directory: &Directory) -> io::Result<Option<Self>> {
        let is_memory = rustix::fs::statfs(MEMORY).is_ok_and(|about| is_tmpfs(&about));
        let about = directory.root().metadata()?;
        let folder = Path::new(MEMORY).join(format!("punctual-{}-{}", about.dev(), about.ino()));
        let _ = fs::remove_dir_all(&folder);
        // Never in one that somebody else has put there.
        let made = is_memory && DirBuilder::new().mode(0o700).create(&folder).is_ok();
        Ok(made.then_some(Self(folder)))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next start, or by the end of the machine's.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(target_os = "linux")]
fn is_tmpfs(about: &rustix::fs::StatFs) -> bool {
    /// `TMPFS_MAGIC` of the kernel's `linux/magic.h`.
    const TMPFS: u64 = 0x0102_1994;
    u64::try_from(about.f_type) == Ok(TMPFS)
}

#[cfg(not(target_os = "linux"))]
fn is_tmpfs(_: &rustix::fs::StatFs) -> bool {
    false
}

/// Copies a folder, and notes all that has to be synced.
fn copy(from: &Path, to: &Path, copied: &mut Vec<PathBuf>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&path, &target, copied)?;
            continue;
        }
        // A file is copied as far as it is stored: of a journal without a commit nothing is.
        let stored = entry.metadata()?.blocks() * 512;
        if stored == 0 && path.extension().is_some_and(|extension| extension == "jnl") {
            continue;
        }
        journals::copy_unsynced(&path, &target, stored)?;
        copied.push(target);
    }
    copied.push(to.to_owned());
    Ok(())
}

fn sync(paths: &[PathBuf]) -> io::Result<()> {
    let sync = |paths: &[PathBuf]| paths.iter().try_for_each(|path| File::open(path)?.sync_all());
    std::thread::scope(|scope| {
        let parts = paths.chunks(paths.len().div_ceil(SYNCS).max(1));
        let begun: Vec<_> = parts
            .map(|part| std::thread::Builder::new().spawn_scoped(scope, move || sync(part)))
            .collect::<io::Result<_>>()?;
        begun.into_iter().try_for_each(|part| {
            part.join().unwrap_or_else(|_panic| Err(io::Error::other("a thread that synced has died")))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::open::open;
    use super::*;
    use std::collections::BTreeSet;

    /// All names below a folder.
    fn names(folder: &Path) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = PathBuf::from(entry.file_name());
            if entry.path().is_dir() {
                found.extend(names(&entry.path()).into_iter().map(|below| name.join(below)));
            }
            found.insert(name);
        }
        found
    }

    #[test]
    fn the_first_journal_has_its_full_length_from_the_beginning() {
        let root = tempfile::tempdir().unwrap();
        let opened = open(root.path(), &Options::default()).unwrap();
        let [journal] = &*journals::list(&opened.directory.database()).unwrap() else {
            panic!("more than one journal")
        };
        let about = journal.path.metadata().unwrap();
        assert_eq!((about.len(), about.blocks()), (64 << 20, 0));
    }

    #[test]
    fn a_database_is_the_same_wherever_it_was_made_and_nothing_else_is_left() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let memory = |root: &Path| {
            let about = root.metadata().unwrap();
            Path::new(MEMORY).join(format!("punctual-{}-{}", about.dev(), about.ino()))
        };
        // Left by a start that was killed; and no folder, so that there is no memory for the other one.
        let is_memory = fs::create_dir(memory(one.path())).is_ok();
        fs::create_dir(one.path().join("db.new")).unwrap();
        if is_memory {
            fs::write(memory(other.path()), "taken").unwrap();
        }
        let opened = [&one, &other].map(|root| open(root.path(), &Options::default()).unwrap());
        let [first, second] = [&one, &other].map(|root| names(root.path()));
        drop(opened);
        let _ = fs::remove_file(memory(other.path()));
        assert!(first.contains(Path::new("db/keyspaces/0/current")), "{first:?}");
        // The list of keyspaces may be compacted at any time. A journal is numbered anew where it was made anew.
        let alike = |names: BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
            let names = names.into_iter().filter(|name| !name.starts_with("db/keyspaces/0"));
            names.filter(|name| name.extension().is_none_or(|extension| extension != "jnl")).collect()
        };
        assert_eq!(alike(first), alike(second));
        assert!(!memory(one.path()).exists());
        for root in [&one, &other] {
            drop(open(root.path(), &Options::default()).unwrap());
        }
    }
}
