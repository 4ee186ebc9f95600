//! A look at the database's journals before the database itself opens them.
//!
//! It cuts a journal off after the last batch that it can read, without a word, and never looks for one that
//! is missing. So: are all of them there, and would anything but the zeros of preallocated space be cut off?
//! Reads the layout of fjall's journal format 3, and trusts a batch whose parts have the right sizes; its
//! checksums are the database's own business.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

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

/// Whether the database has the format that [`loses_something`] can judge.
pub(super) fn is_known(database: &Path) -> io::Result<bool> {
    Ok(fs::read(database.join("version"))?.starts_with(KNOWN))
}

/// Whether opening this journal would cut off anything but zeros.
pub(super) fn loses_something(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut journal = Reader { file: BufReader::with_capacity(BUFFER, file), at: 0, len };
    let mut whole = 0;
    while let Some(end) = journal.batch()? {
        whole = end;
    }
    let mut file = journal.file.into_inner();
    file.seek(SeekFrom::Start(whole))?;
    let mut rest = vec![0; BUFFER];
    loop {
        match file.read(&mut rest)? {
            0 => return Ok(false),
            read if rest[..read].iter().any(|byte| *byte != 0) => return Ok(true),
            _ => {}
        }
    }
}

struct Reader {
    file: BufReader<File>,
    at: u64,
    len: u64,
}

impl Reader {
    /// Where the next batch ends; none if there is no whole one.
    fn batch(&mut self) -> io::Result<Option<u64>> {
        const START: u8 = 1;
        const ITEM: u8 = 2;
        const END: u8 = 3;
        let Some([START, header @ ..]) = self.take::<13>()? else { return Ok(None) };
        let [a, b, c, d, ..] = header;
        for _ in 0..u32::from_le_bytes([a, b, c, d]) {
            // Tag, kind of value, compression, keyspace, then the sizes.
            let Some([ITEM, item @ ..]) = self.take::<21>()? else { return Ok(None) };
            let key = u16::from_le_bytes([item[10], item[11]]);
            let value = u32::from_le_bytes([item[16], item[17], item[18], item[19]]);
            if !self.skip(u64::from(key) + u64::from(value))? {
                return Ok(None);
            }
        }
        let Some([END, end @ ..]) = self.take::<13>()? else { return Ok(None) };
        Ok(end.ends_with(TRAILER).then_some(self.at))
    }

    fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        if self.len - self.at < N as u64 {
            return Ok(None);
        }
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(Some(bytes))
    }

    fn skip(&mut self, bytes: u64) -> io::Result<bool> {
        if self.len - self.at < bytes {
            return Ok(false);
        }
        // At most 4 GiB and 64 KiB, so it fits.
        self.file.seek_relative(bytes as i64)?;
        self.at += bytes;
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
        copy_sparse(&journal.path, &folder.join(format!("{}.jnl", journal.number)))?;
    }
    File::open(&folder)?.sync_all()?;
    File::open(aside)?.sync_all()?;
    Ok(folder)
}

fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    let source = File::open(from)?;
    let target = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    target.set_len(source.metadata()?.len())?;
    let mut chunk = vec![0; BUFFER];
    let mut at = 0;
    loop {
        match source.read_at(&mut chunk, at)? {
            0 => return target.sync_all(),
            read => {
                if chunk[..read].iter().any(|byte| *byte != 0) {
                    target.write_all_at(&chunk[..read], at)?;
                }
                at += read as u64;
            }
        }
    }
}
