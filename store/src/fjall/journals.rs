//! A look at the database's journals before the database itself opens them.
//!
//! It cuts a journal off after the last batch that it can read, without a word, and never looks for one that
//! is missing. So: are all of them there, what is the last commit in them, and what follows it? Reads the layout
//! of fjall's journal format 3. Only [`cut_torn`] changes a file.

use super::key;
use super::tables::{SEQUENCE, SYNCED};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// The format that this file knows, as the database's `version` file tells it.
const KNOWN: &[u8] = b"FJL\x03";
/// What ends a batch, after its checksum.
const TRAILER: &[u8; 4] = b"FJL\x03";
/// One read; journals are read through from the first to the last byte.
const BUFFER: usize = 256 << 10;

/// A journal file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// Its number; they rise by one.
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

/// Where the journal of this number is.
pub(super) fn path(database: &Path, number: u64) -> PathBuf {
    database.join(format!("{number}.jnl"))
}

/// All journals of a database, in order.
pub(super) fn list(database: &Path) -> io::Result<Vec<Journal>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".jnl"))
            .and_then(|number| number.parse().ok());
        journals.extend(number.map(|number| Journal { number, path }));
    }
    journals.sort_by_key(|journal| journal.number);
    Ok(journals)
}

/// Lowest and highest number of the journals.
pub(super) fn range(database: &Path) -> io::Result<(u64, u64)> {
    let journals = list(database)?;
    Ok((journals.first().map_or(0, |first| first.number), journals.last().map_or(0, |last| last.number)))
}

/// Whether the database has the format that [`read`] can judge.
pub(super) fn is_known(database: &Path) -> io::Result<bool> {
    Ok(fs::read(database.join("version"))?.starts_with(KNOWN))
}

/// A batch of the database that is whole and has the right checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// Our number of it.
    pub(super) sequence: u64,
    /// The database's number of it, which its tables know too.
    pub(super) order: u64,
}

/// What comes after the last commit of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing, or the zeros of preallocated space.
    Nothing,
    /// No whole batch: what a crash leaves of the commits that it interrupted.
    Torn,
    /// No whole batch, and then whole ones that were written when it was synced already: no trace of a crash.
    Hole,
    /// A whole batch with a wrong checksum, which was synced for all that is known.
    Checksum,
}

/// What a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    /// The last commit up to which everything is as it was written.
    pub(super) last: Option<Commit>,
    /// Where that commit ends.
    pub(super) end: u64,
    pub(super) rest: Rest,
}

/// Reads a journal up to where it cannot be read any more. The journals before it end with the commit `before`.
pub(super) fn read(path: &Path, before: Option<u64>) -> io::Result<Contents> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let file = BufReader::with_capacity(BUFFER, file);
    let mut journal = Reader { file, left: len, body: Vec::new() };
    let mut contents = Contents { last: None, end: 0, rest: Rest::Nothing };
    let mut whole = false;
    while let Some(batch) = journal.batch()? {
        if !batch.is_right {
            whole = true;
            break;
        }
        let sequence = batch.sequence.or(contents.last.map(|last| last.sequence));
        contents.last = sequence.map(|sequence| Commit { sequence, order: batch.order });
        contents.end = len - journal.left;
    }
    let mut file = journal.file.into_inner();
    file.seek(SeekFrom::Start(contents.end))?;
    let last = contents.last.map(|last| last.sequence).or(before);
    contents.rest = match rest(&mut file)? {
        Follows::Nothing => Rest::Nothing,
        Follows::Commits { synced } if synced.is_none() || last.is_none() || synced > last => {
            if whole {
                Rest::Checksum
            } else {
                Rest::Hole
            }
        }
        // Written while the one that is torn was on its way to the disk: nobody had an answer to either.
        Follows::Commits { .. } => Rest::Torn,
        Follows::Unreadable if whole => Rest::Checksum,
        Follows::Unreadable => Rest::Torn,
    };
    Ok(contents)
}

/// What is behind the last commit that can be read.
enum Follows {
    Nothing,
    /// Bytes that are no whole batch.
    Unreadable,
    /// Bytes, and then whole batches. When the last of them was written, commits up to this one were synced, as far
    /// as they tell.
    Commits {
        synced: Option<u64>,
    },
}

/// Cuts off what a crash has left of a commit that it interrupted, durably. The database would do the same, but on
/// its way there it believes the sizes that it finds: it may ask for gigabytes, or assert that they agree.
pub(super) fn cut_torn(database: &Path) -> io::Result<()> {
    let (mut journals, mut before) = (list(database)?, None);
    let Some(journal) = journals.pop() else { return Ok(()) };
    for earlier in journals {
        before = read(&earlier.path, before)?.last.map(|last| last.sequence).or(before);
    }
    let contents = read(&journal.path, before)?;
    if contents.rest == Rest::Torn {
        let file = File::options().write(true).open(&journal.path)?;
        file.set_len(contents.end)?;
        file.sync_all()?;
    }
    Ok(())
}

/// What this is, if it does not begin with a whole and right batch.
fn rest(file: &mut File) -> io::Result<Follows> {
    let mut rest = Vec::new();
    let mut chunk = vec![0; BUFFER];
    // Zeros at the end are not kept: there may be 64 MiB of them.
    let mut zeros = 0;
    loop {
        let read = match file.read(&mut chunk)? {
            0 => break,
            read => &chunk[..read],
        };
        match read.iter().rposition(|byte| *byte != 0) {
            None => zeros += read.len(),
            Some(last) => {
                rest.resize(rest.len() + zeros, 0);
                rest.extend_from_slice(&read[..=last]);
                zeros = read.len() - last - 1;
            }
        }
    }
    if rest.is_empty() {
        return Ok(Follows::Nothing);
    }
    let (mut at, mut follows) = (0, Follows::Unreadable);
    while let Some(found) = rest[at..].windows(TRAILER.len()).position(|bytes| bytes == TRAILER) {
        at += found + TRAILER.len();
        let left = (rest.len() - at) as u64;
        let mut reader = Reader { file: &rest[at..], left, body: Vec::new() };
        if let Some(batch) = reader.batch()?.filter(|batch| batch.is_right) {
            // One that does not say what it is was not written by us as we are now.
            let known = batch.synced.or(batch.sequence.and_then(|sequence| sequence.checked_sub(1)));
            follows = match (follows, known) {
                (Follows::Commits { synced: None }, _) | (_, None) => Follows::Commits { synced: None },
                (Follows::Commits { synced }, known) => Follows::Commits { synced: synced.max(known) },
                (Follows::Nothing | Follows::Unreadable, known) => Follows::Commits { synced: known },
            };
        }
    }
    Ok(follows)
}

struct Reader<R> {
    file: R,
    left: u64,
    /// Key and value of the last entry.
    body: Vec<u8>,
}

/// A batch whose parts have the right sizes.
struct Batch {
    order: u64,
    sequence: Option<u64>,
    /// The last commit that was synced when this one was written, if it says so.
    synced: Option<u64>,
    is_right: bool,
}

impl<R: Read> Reader<R> {
    /// The next batch; none if there is no whole one.
    fn batch(&mut self) -> io::Result<Option<Batch>> {
        const START: u8 = 1;
        const ITEM: u8 = 2;
        const END: u8 = 3;
        let Some([START, a, b, c, d, order @ ..]) = self.take::<13>()? else { return Ok(None) };
        let mut hash = Xxh3::new();
        let (mut sequence, mut synced) = (None, None);
        for n in 0..u32::from_le_bytes([a, b, c, d]) {
            // Tag, kind of value, compression, keyspace, then the sizes.
            let Some(item @ [ITEM, ..]) = self.take::<21>()? else { return Ok(None) };
            let key = u16::from_le_bytes([item[11], item[12]]);
            let value = u32::from_le_bytes([item[17], item[18], item[19], item[20]]);
            if !self.take_body(u64::from(key) + u64::from(value))? {
                return Ok(None);
            }
            hash.update(&item);
            hash.update(&self.body);
            // Each batch of ours begins with its number.
            if n == 0 && usize::from(key) == SEQUENCE.len() {
                sequence = self.body.strip_prefix(SEQUENCE).and_then(key::number);
            }
            if n == 1 && usize::from(key) == SYNCED.len() {
                synced = self.body.strip_prefix(SYNCED).and_then(key::number);
            }
        }
        let Some([END, end @ ..]) = self.take::<13>()? else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, trailer @ ..] = end;
        let is_right = u64::from_le_bytes([a, b, c, d, e, f, g, h]) == hash.digest();
        let batch = Batch { order: u64::from_le_bytes(order), sequence, synced, is_right };
        Ok((trailer == *TRAILER).then_some(batch))
    }

    fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        if self.left < N as u64 {
            return Ok(None);
        }
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.left -= N as u64;
        Ok(Some(bytes))
    }

    fn take_body(&mut self, len: u64) -> io::Result<bool> {
        if self.left < len {
            return Ok(false);
        }
        // No more than what is left of the file.
        self.body.resize(len as usize, 0);
        self.file.read_exact(&mut self.body)?;
        self.left -= len;
        Ok(true)
    }
}

/// Copies the journals into a new folder of `aside`, durably, without the zeros of preallocated space.
pub(super) fn copy_aside(database: &Path, aside: &Path) -> io::Result<PathBuf> {
    let folder = (1u32..)
        .map(|number| aside.join(number.to_string()))
        .find(|folder| !folder.exists())
        .ok_or_else(|| io::Error::other("there are too many copies already"))?;
    fs::create_dir(&folder)?;
    for journal in list(database)? {
        copy(&journal.path, &path(&folder, journal.number), u64::MAX)?;
    }
    File::open(&folder)?.sync_all()?;
    File::open(aside)?.sync_all()?;
    Ok(folder)
}

/// Copies the beginning of a file durably, for us alone, and without storing its zeros.
pub(super) fn copy(from: &Path, to: &Path, len: u64) -> io::Result<()> {
    copy_unsynced(from, to, len)?.sync_all()
}

/// [`copy`], and whoever asks for it syncs it.
pub(super) fn copy_unsynced(from: &Path, to: &Path, len: u64) -> io::Result<File> {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    let source = File::open(from)?;
    let len = len.min(source.metadata()?.len());
    let target = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    target.set_len(len)?;
    let mut chunk = vec![0; BUFFER];
    let mut at = 0;
    while at < len {
        let most = BUFFER.min((len - at).try_into().unwrap_or(BUFFER));
        let read = match source.read_at(&mut chunk[..most], at)? {
            0 => break,
            read => &chunk[..read],
        };
        if read.iter().any(|byte| *byte != 0) {
            target.write_all_at(read, at)?;
        }
        at += read.len() as u64;
    }
    Ok(target)
}
