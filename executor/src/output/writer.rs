//! Appends one attempt's output to its run's file, up to the cap.
//!
//! Called with every piece as it comes, from whatever thread has it: a write goes to the page cache at once,
//! so a reader sees it and nothing waits in our memory. No file is made before the first byte. An error is
//! kept for whoever finishes the attempt and drops what follows; it stops nothing.

use super::frame::{self, HEADER, MAGIC, MAX_PAYLOAD};
use super::place::Bytes;
use super::reader::Reader;
use super::{Content, Made, Outputs};
use crate::driver::Stream;
use jiff::Timestamp;
use punctual_model::RunId;
use punctual_model::outcome::OutputSummary;
use std::io;

/// The least that a frame counts against the cap, so that single bytes do not make a file many times its cap:
/// it is never larger than twice the cap.
const LEAST_COUNT: u64 = HEADER as u64;

/// The output of one attempt.
#[derive(Debug)]
pub(crate) struct Writer {
    outputs: Outputs,
    run: RunId,
    cap: u64,
    open: Option<Open>,
    error: Option<String>,
    /// Over the cap, or after an error.
    dropped: u64,
    kept: u64,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    bytes: Bytes,
    made: Made,
    /// Where the next frame goes.
    end: u64,
    sequence: u64,
    /// What counts against the cap, from all attempts.
    counted: u64,
    dropped_before: u64,
    kept_before: u64,
}

/// What an attempt wrote, and what went wrong with keeping it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Of the whole run so far; none if it never wrote.
    pub(crate) summary: Option<OutputSummary>,
    /// The first error.
    pub(crate) error: Option<String>,
}

impl Writer {
    pub(super) fn new(outputs: Outputs, run: RunId, cap: u64) -> Self {
        Self { outputs, run, cap, open: None, error: None, dropped: 0, kept: 0, buffer: Vec::new() }
    }

    /// Takes a piece of output.
    pub(crate) fn write(&mut self, at: Timestamp, stream: Stream, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            if self.error.is_some() {
                self.dropped += rest.len() as u64;
                return;
            }
            let piece = &rest[..rest.len().min(MAX_PAYLOAD)];
            match self.append(at, stream, piece) {
                Ok(0) => {
                    self.dropped += rest.len() as u64;
                    return;
                }
                Ok(taken) => {
                    self.kept += taken as u64;
                    rest = &rest[taken..];
                }
                Err(error) => self.error = Some(error.to_string()),
            }
        }
    }

    /// Writes what is left of the cap of it; answers how many bytes that were.
    fn append(&mut self, at: Timestamp, stream: Stream, data: &[u8]) -> io::Result<usize> {
        // Once over the cap nothing is kept any more, lest the text have holes that nobody sees.
        if self.dropped > 0 {
            return Ok(0);
        }
        self.outputs.take_room(data.len() as u64)?;
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(&self.outputs, self.run)?),
        };
        let room = self.cap.saturating_sub(open.counted);
        let taken = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if taken == 0 {
            return Ok(0);
        }
        self.buffer.clear();
        frame::put_bytes(&mut self.buffer, open.sequence, at, stream, &data[..taken]);
        open.put(&self.buffer)?;
        open.counted += (taken as u64).max(LEAST_COUNT);
        self.outputs.wake(self.run);
        Ok(taken)
    }

    /// Marks what is missing and makes everything durable. Blocks on the disk if anything was written; the
    /// caller sees to that.
    pub(crate) fn finish(mut self, at: Timestamp) -> Written {
        if self.kept == 0 && self.dropped == 0 && self.error.is_none() {
            // Not a word from this attempt; earlier ones have their summary in the record.
            return Written::default();
        }
        let mut summary = OutputSummary { bytes: self.kept, dropped: self.dropped };
        if let Some(open) = &mut self.open {
            summary.bytes += open.kept_before;
            summary.dropped = summary.dropped.saturating_add(open.dropped_before);
            let mut close = || {
                if self.dropped > 0 && self.error.is_none() {
                    self.buffer.clear();
                    frame::put_dropped(&mut self.buffer, open.sequence, at, self.dropped);
                    open.put(&self.buffer)?;
                }
                self.outputs.sync(&open.bytes, self.run, open.made)
            };
            if let Err(error) = close() {
                self.error.get_or_insert_with(|| error.to_string());
            }
        }
        self.outputs.wake(self.run);
        Written { summary: Some(summary), error: self.error.take() }
    }

    /// Whether there is anything to finish: a disk to wait for.
    pub(crate) fn is_untouched(&self) -> bool {
        self.open.is_none()
    }
}

impl Open {
    /// Opens the file of a run, finds its end, and cuts off what a crash tore.
    fn new(outputs: &Outputs, run: RunId) -> io::Result<Self> {
        let (bytes, made) = outputs.open_to_write(run)?;
        let mut open =
            Self { bytes, made, end: 0, sequence: 0, counted: 0, dropped_before: 0, kept_before: 0 };
        if open.bytes.length()? > MAGIC.len() as u64 {
            let mut reader = Reader::over(open.bytes.clone());
            while let Some(frame) = reader.next_frame()? {
                open.sequence = frame.sequence.saturating_add(1);
                match frame.content {
                    Content::Bytes { bytes, .. } => {
                        open.kept_before += bytes.len() as u64;
                        open.counted += (bytes.len() as u64).max(LEAST_COUNT);
                    }
                    Content::Dropped(count) => {
                        open.dropped_before = open.dropped_before.saturating_add(count);
                    }
                }
            }
            open.end = reader.offset();
        }
        if open.end == 0 {
            open.bytes.truncate(0)?;
            open.put_raw(&MAGIC)?;
        } else {
            open.bytes.truncate(open.end)?;
        }
        Ok(open)
    }

    fn put(&mut self, frame: &[u8]) -> io::Result<()> {
        self.put_raw(frame)?;
        self.sequence = self.sequence.saturating_add(1);
        Ok(())
    }

    fn put_raw(&mut self, data: &[u8]) -> io::Result<()> {
        if let Err(error) = self.bytes.write_at(data, self.end) {
            // What was written of it is cut off again if that can be; a reader stops there in any case.
            let _ = self.bytes.truncate(self.end);
            return Err(error);
        }
        self.end += data.len() as u64;
        Ok(())
    }
}
