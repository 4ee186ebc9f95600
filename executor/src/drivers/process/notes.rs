//! Which children of the daemon live, in one file of slots: what a daemon that was killed has left is found by it.
//!
//! A slot is written when a child has begun and cleared when it has gone, so the file is as long as there were ever
//! children at once. A file a child would be simpler, and costs as much as the fork: four changes of directories.

use super::home::Identity;
use punctual_model::RunId;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of a slot: what is noted has at most 100, and a slot never lies across two pages, so that a kill leaves it
/// whole.
const SLOT: usize = 128;

/// Only the owner of the data may see what its work is.
const MODE: u32 = 0o600;

/// The children of one node, as its file has them.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    /// What notes of this node on this boot of the machine begin with; those of any other mean nothing here.
    here: String,
    /// Made with the first note.
    file: Option<File>,
    noted: BTreeMap<RunId, (u64, Identity)>,
    /// Slots that may be written again.
    free: Vec<u64>,
    slots: u64,
}

impl Notes {
    /// What was noted in this file, of which there may be none, by nodes with this mark since this boot.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn open(path: PathBuf, mark: &str, boot: &str) -> io::Result<Self> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let here = format!("{boot} {:08x} ", crc32fast::hash(mark.as_bytes()));
        let (mut noted, mut free) = (BTreeMap::new(), Vec::new());
        for (slot, bytes) in (0..).zip(bytes.chunks(SLOT)) {
            match Self::read(bytes, &here).filter(|_| !boot.is_empty()) {
                Some((run, identity)) => drop(noted.insert(run, (slot, identity))),
                None => free.push(slot),
            }
        }
        let slots = bytes.len().div_ceil(SLOT) as u64;
        Ok(Self { path, here, file: None, noted, free, slots })
    }

    fn read(slot: &[u8], here: &str) -> Option<(RunId, Identity)> {
        let text = std::str::from_utf8(slot).ok()?.strip_prefix(here)?;
        let mut words = text.split_whitespace();
        let run = words.next()?.parse().ok()?;
        Some((run, Identity { pid: words.next()?.parse().ok()?, start_time: words.next()?.parse().ok()? }))
    }

    /// Notes the child of a run. Not synced: after a loss of power it does not live either.
    ///
    /// # Errors
    /// If it cannot be written; nothing is noted then.
    pub(super) fn note(&mut self, run: RunId, identity: Identity) -> io::Result<()> {
        self.forget(run)?;
        let text = format!("{}{run} {} {}\n", self.here, identity.pid, identity.start_time);
        let mut bytes = [0; SLOT];
        let room = bytes.get_mut(..text.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        room.copy_from_slice(text.as_bytes());
        let slot = self.free.last().copied().unwrap_or(self.slots);
        self.write(slot, &bytes)?;
        if self.free.pop().is_none() {
            self.slots += 1;
        }
        self.noted.insert(run, (slot, identity));
        Ok(())
    }

    /// The child that was noted of a run.
    pub(super) fn noted(&self, run: RunId) -> Option<Identity> {
        self.noted.get(&run).map(|(_, identity)| *identity)
    }

    /// The child of a run is gone.
    ///
    /// # Errors
    /// If that cannot be written; the next start then looks for somebody who is not there.
    pub(super) fn forget(&mut self, run: RunId) -> io::Result<()> {
        let Some((slot, _)) = self.noted.remove(&run) else { return Ok(()) };
        self.free.push(slot);
        self.write(slot, &[0; SLOT])
    }

    fn write(&mut self, slot: u64, bytes: &[u8; SLOT]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        file.write_all_at(bytes, slot * SLOT as u64)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64) -> RunId {
        RunId::new(number).unwrap()
    }

    fn identity(pid: i32) -> Identity {
        Identity { pid, start_time: 99 }
    }

    #[test]
    fn a_note_reads_back_until_the_next_boot_and_in_no_copy() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("children");
        let open = |mark, boot| Notes::open(path.clone(), mark, boot).unwrap();
        let mut notes = open("mark", "boot");
        assert_eq!(notes.noted(run(5)), None);
        notes.note(run(5), identity(4711)).unwrap();
        assert_eq!(notes.noted(run(5)), Some(identity(4711)));
        assert_eq!(open("mark", "boot").noted(run(5)), Some(identity(4711)));
        for (mark, boot) in [("mark", "another"), ("copy", "boot")] {
            assert_eq!(open(mark, boot).noted(run(5)), None, "{mark} {boot}");
        }
        notes.forget(run(5)).unwrap();
        notes.forget(run(5)).unwrap();
        assert_eq!(open("mark", "boot").noted(run(5)), None);
        // Where boots cannot be told apart nothing can be believed.
        open("mark", "").note(run(5), identity(1)).unwrap();
        assert_eq!(open("mark", "").noted(run(5)), None);
    }

    #[test]
    fn slots_are_used_again_and_none_that_somebody_has() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("children");
        let mut notes = Notes::open(path.clone(), "mark", "boot").unwrap();
        (1..=3).for_each(|number| notes.note(run(number), identity(1)).unwrap());
        notes.forget(run(2)).unwrap();
        // The next session, to which two are left.
        let mut notes = Notes::open(path.clone(), "mark", "boot").unwrap();
        for number in 10..100 {
            notes.note(run(number), identity(i32::try_from(number).unwrap())).unwrap();
            assert_eq!((notes.noted(run(1)), notes.noted(run(3))), (Some(identity(1)), Some(identity(1))));
            notes.forget(run(number)).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 3 * SLOT as u64);
        // The longest there is, over what is there of the same run, and garbage beside it.
        let longest = Identity { pid: i32::MAX, start_time: u64::MAX };
        let (mark, boot) = ("mark", "00000000-0000-0000-0000-000000000000");
        std::fs::write(&path, [b'x'; 3 * SLOT + 7]).unwrap();
        let mut notes = Notes::open(path.clone(), mark, boot).unwrap();
        notes.note(run(u64::MAX >> 1), identity(1)).unwrap();
        notes.note(run(u64::MAX >> 1), longest).unwrap();
        let again = Notes::open(path, mark, boot).unwrap();
        assert_eq!((again.noted(run(u64::MAX >> 1)), again.noted.len()), (Some(longest), 1));
    }
}
