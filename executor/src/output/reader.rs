//! Reads a run's output: from its beginning or near its end, once or following, with bounded memory.

use super::frame::{self, Frame, MAGIC, MAX_PAYLOAD, Parsed};
use super::place::Bytes;
use std::io;

/// Bytes read at once; a frame of full size and the next one's header fit.
const CHUNK: usize = 2 * MAX_PAYLOAD;

/// Reads frames in order. Blocks on the disk.
#[derive(Debug)]
pub struct Reader {
    bytes: Option<Bytes>,
    /// Where the next frame begins; 0 before the magic was seen.
    offset: u64,
    /// What was read and not yet parsed; it begins at `offset`.
    buffer: Vec<u8>,
    parsed: usize,
}

impl Reader {
    /// A reader of a run that has no output yet.
    pub(super) fn empty() -> Self {
        Self { bytes: None, offset: 0, buffer: Vec::new(), parsed: 0 }
    }

    pub(super) fn over(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes), ..Self::empty() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_none()
    }

    /// Where the next frame begins, or would.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame; none at the end of what is there and believable. May be asked again later.
    ///
    /// # Errors
    /// What the file system says.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        if self.offset == 0 && !self.skip_magic()? {
            return Ok(None);
        }
        loop {
            match frame::parse(&self.buffer[self.parsed..]) {
                Parsed::Frame(frame, length) => {
                    self.parsed += length;
                    self.offset += length as u64;
                    return Ok(Some(frame));
                }
                Parsed::Torn => {
                    // It may be a frame that is being written right now, or that was cut off and written
                    // anew: read again when asked again.
                    self.forget();
                    return Ok(None);
                }
                Parsed::Short(_) => {
                    if !self.fill()? {
                        self.forget();
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.parsed = 0;
    }

    fn skip_magic(&mut self) -> io::Result<bool> {
        let mut magic = [0; MAGIC.len()];
        let Some(bytes) = &self.bytes else { return Ok(false) };
        if bytes.read_at(&mut magic, 0)? < MAGIC.len() || magic != MAGIC {
            return Ok(false);
        }
        self.offset = MAGIC.len() as u64;
        Ok(true)
    }

    /// Reads on behind what is buffered; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(bytes) = &self.bytes else { return Ok(false) };
        self.buffer.drain(..self.parsed);
        self.parsed = 0;
        let have = self.buffer.len();
        self.buffer.resize(have + CHUNK, 0);
        let read = bytes.read_at(&mut self.buffer[have..], self.offset + have as u64);
        self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }
}
