//! The seal: the number of the last commit that is known to be on the disk, outside the database.
//!
//! The database drops what follows damage without a word; the seal is how that is noticed. Two slots in pages
//! of their own, written in turn, so that a torn write leaves the other. Written only after the sync of the
//! commit that it names.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Distance of the slots: a page, the largest unit that a disk is known to tear.
const SLOT: u64 = 4096;
const MAGIC: &[u8; 8] = b"PNCTseal";
/// Magic, generation, commit, first and last journal, clean: 8 bytes each; then a checksum of 4.
const LEN: usize = 52;

/// What a seal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last commit that is synced.
    pub(super) sequence: u64,
    /// Lowest and highest number of the journals that were there.
    pub(super) journals: (u64, u64),
    /// The store was stopped in order, and nothing follows that commit.
    pub(super) clean: bool,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Seal {
    file: File,
    generation: u64,
    mark: Mark,
}

impl Seal {
    /// Makes a seal, durably but for its name: whoever makes it syncs the directory.
    pub(super) fn create(path: &Path, mark: Mark) -> io::Result<Self> {
        let file = options().create(true).truncate(true).open(path)?;
        let mut seal = Self { file, generation: 0, mark };
        // Both slots, so that no later writing needs room on the disk.
        seal.write(mark)?;
        seal.write(mark)?;
        Ok(seal)
    }

    /// Opens it by the newer of the slots that can be read; none if neither can.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = options().open(path)?;
        let newest = newest(&file)?;
        Ok(newest.map(|Slot { generation, mark }| Self { file, generation, mark }))
    }

    /// What a seal says, of one that is not going to be written.
    pub(super) fn read(path: &Path) -> io::Result<Option<Mark>> {
        Ok(newest(&File::open(path)?)?.map(|slot| slot.mark))
    }

    /// What it says.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Says this from now on, durably.
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        let generation = self.generation + 1;
        self.file.write_all_at(&encode(&Slot { generation, mark }), generation % 2 * SLOT)?;
        self.file.sync_data()?;
        self.generation = generation;
        self.mark = mark;
        Ok(())
    }
}

fn newest(file: &File) -> io::Result<Option<Slot>> {
    let mut newest = None;
    for slot in 0..2 {
        let mut bytes = [0; LEN];
        match file.read_exact_at(&mut bytes, slot * SLOT) {
            Ok(()) => newest = newest.max(decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(newest)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    generation: u64,
    mark: Mark,
}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.generation.cmp(&other.generation)
    }
}

fn encode(slot: &Slot) -> [u8; LEN] {
    let Mark { sequence, journals, clean } = slot.mark;
    let mut bytes = [0; LEN];
    bytes[..8].copy_from_slice(MAGIC);
    let numbers = [slot.generation, sequence, journals.0, journals.1, u64::from(clean)];
    for (number, place) in numbers.iter().zip(bytes[8..48].chunks_exact_mut(8)) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32fast::hash(&bytes[..48]);
    bytes[48..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; LEN]) -> Option<Slot> {
    let (body, checksum) = bytes.split_at(48);
    if !body.starts_with(MAGIC) || checksum != crc32fast::hash(body).to_le_bytes() {
        return None;
    }
    let number = |n: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&body[8 + n * 8..16 + n * 8]);
        u64::from_le_bytes(eight)
    };
    let mark = Mark { sequence: number(1), journals: (number(2), number(3)), clean: number(4) != 0 };
    Some(Slot { generation: number(0), mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64) -> Mark {
        Mark { sequence, journals: (1, 3), clean: sequence.is_multiple_of(2) }
    }

    #[test]
    fn the_newest_mark_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal");
        let mut seal = Seal::create(&path, mark(0)).unwrap();
        for n in 1..10 {
            seal.write(mark(n)).unwrap();
            assert_eq!(Seal::open(&path).unwrap().unwrap().mark(), mark(n));
        }
    }

    #[test]
    fn a_torn_write_leaves_the_mark_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seal");
        let mut seal = Seal::create(&path, mark(1)).unwrap();
        seal.write(mark(2)).unwrap();
        seal.write(mark(3)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        // Generation 4 lies in the first slot.
        for at in 0..LEN {
            let mut torn = whole.clone();
            torn[at] ^= 0x40;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(Seal::open(&path).unwrap().unwrap().mark(), mark(2), "byte {at}");
        }
        std::fs::write(&path, [0; 10]).unwrap();
        assert!(Seal::open(&path).unwrap().is_none());
    }
}
