//! Reads the frames of one part of a run's output, with bounded memory; knows nothing of the other parts.

use super::frame::{self, Frame, MAGIC, MAX_PAYLOAD, Parsed, START, Start};
use super::place::Bytes;
use std::io;

/// Bytes read at once; a frame of full size and the next one's header fit.
const CHUNK: usize = 2 * MAX_PAYLOAD;

/// A part behind the head.
#[derive(Debug)]
pub(super) struct Part {
    /// Its place.
    pub(super) slot: usize,
    pub(super) bytes: Bytes,
    pub(super) start: Start,
}

impl Part {
    /// What lies at a place; none if it is not whole.
    pub(super) fn at(slot: usize, bytes: Bytes) -> io::Result<Option<Self>> {
        let mut begun = [0; MAGIC.len() + START];
        let read = bytes.read_at(&mut begun, 0)?;
        Ok(match begun[..read].strip_prefix(&MAGIC).map(frame::parse) {
            Some(Parsed::Start(start, _)) => Some(Self { slot, bytes, start }),
            _ => None,
        })
    }
}

/// Reads frames in order. Blocks on the disk.
#[derive(Debug)]
pub(super) struct PartReader {
    bytes: Bytes,
    /// Where the next frame begins; 0 before the magic was seen.
    offset: u64,
    /// What was read and not yet parsed; it begins at `offset`.
    buffer: Vec<u8>,
    parsed: usize,
}

impl PartReader {
    pub(super) fn over(bytes: Bytes) -> Self {
        Self { bytes, offset: 0, buffer: Vec::new(), parsed: 0 }
    }

    /// Where the next frame begins, or would.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame; none at the end of what is there and believable. May be asked again later.
    pub(super) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            match self.next()? {
                Some(Item::Frame(frame)) => return Ok(Some(frame)),
                Some(Item::Start) => {}
                None => return Ok(None),
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<Item>> {
        if self.offset == 0 && !self.skip_magic()? {
            return Ok(None);
        }
        loop {
            let (item, length) = match frame::parse(&self.buffer[self.parsed..]) {
                Parsed::Frame(frame, length) => (Item::Frame(frame), length),
                Parsed::Start(_, length) => (Item::Start, length),
                Parsed::Torn => {
                    // It may be a frame that is being written right now, or that was cut off and written
                    // anew: read again when asked again.
                    self.forget();
                    return Ok(None);
                }
                Parsed::Short(_) => {
                    if self.fill()? {
                        continue;
                    }
                    self.forget();
                    return Ok(None);
                }
            };
            self.parsed += length;
            self.offset += length as u64;
            return Ok(Some(item));
        }
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.parsed = 0;
    }

    fn skip_magic(&mut self) -> io::Result<bool> {
        let mut magic = [0; MAGIC.len()];
        if self.bytes.read_at(&mut magic, 0)? < MAGIC.len() || magic != MAGIC {
            return Ok(false);
        }
        self.offset = MAGIC.len() as u64;
        Ok(true)
    }

    /// Reads on behind what is buffered; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.parsed);
        self.parsed = 0;
        let have = self.buffer.len();
        self.buffer.resize(have + CHUNK, 0);
        let read = self.bytes.read_at(&mut self.buffer[have..], self.offset + have as u64);
        self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }
}

enum Item {
    Start,
    Frame(Frame),
}
