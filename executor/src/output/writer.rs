//! Appends one attempt's output to its run's file, up to the cap; behind it the newest is kept.
//!
//! Called with every piece as it comes, from whatever thread has it, in the daemon or in a process of its own:
//! a write goes to the page cache at once, so a reader sees it and nothing waits in our memory. All that it
//! needs to know it finds in the files. No file is made before the first byte. An error is kept for whoever
//! finishes the attempt and drops what follows; it stops nothing.

use super::frame::{self, HEADER, MAGIC, MAX_PAYLOAD, Start};
use super::part::PartReader;
use super::place::Bytes;
use super::{Content, Layout, Made, Outputs};
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
    layout: Layout,
    open: Option<Open>,
    error: Option<String>,
    /// Of this attempt: over a cap that leaves no room for the newest, or after an error.
    dropped: u64,
    buffer: Vec<u8>,
}

/// The run's files.
#[derive(Debug)]
struct Open {
    /// The part that is written to; the head is 0.
    part: u64,
    bytes: Bytes,
    /// Where the next frame goes.
    end: u64,
    sequence: u64,
    /// What counts against the share of the part.
    counted: u64,
    /// Bytes of the run so far, whatever became of them, through all attempts.
    position: u64,
    /// The parts that hold something, the oldest first; the last one is written to.
    held: Vec<Held>,
    /// What was made on the way.
    made: Made,
}

/// A part that holds output.
#[derive(Debug)]
struct Held {
    slot: usize,
    /// Bytes of the run in it.
    kept: u64,
    /// It may not be durable yet.
    is_written: bool,
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
    pub(super) fn new(outputs: Outputs, run: RunId, layout: Layout) -> Self {
        Self { outputs, run, layout, open: None, error: None, dropped: 0, buffer: Vec::new() }
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
                Ok(taken) => rest = &rest[taken..],
                Err(error) => self.error = Some(error.to_string()),
            }
        }
    }

    /// Writes as much of it as the part has room for; answers how many bytes that were.
    fn append(&mut self, at: Timestamp, stream: Stream, data: &[u8]) -> io::Result<usize> {
        // Once over a cap without parts nothing is kept any more, lest the text have holes that nobody sees.
        if self.dropped > 0 {
            return Ok(0);
        }
        self.outputs.take_room(data.len() as u64)?;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.open.insert(Open::new(&self.outputs, self.run)?);
                open.trim(&self.outputs, self.run, self.layout)?;
                open
            }
        };
        let room = |open: &Open| self.layout.room(open.part, open.counted, open.kept());
        if room(open) == 0 {
            if self.layout.is_one() {
                return Ok(0);
            }
            open.turn(&self.outputs, self.run, self.layout, at)?;
        }
        let taken = data.len().min(usize::try_from(room(open)).unwrap_or(usize::MAX));
        if taken == 0 {
            return Ok(0);
        }
        self.buffer.clear();
        frame::put_bytes(&mut self.buffer, open.sequence, at, stream, &data[..taken]);
        open.put(&self.buffer)?;
        open.took(taken as u64);
        self.outputs.wake(self.run);
        Ok(taken)
    }

    /// Marks what is missing and makes everything durable. Blocks on the disk if anything was written; the
    /// caller sees to that.
    pub(crate) fn finish(mut self, at: Timestamp) -> Written {
        let mut summary = OutputSummary { bytes: 0, dropped: self.dropped };
        if let Some(open) = &mut self.open {
            let kept = open.kept();
            summary.bytes = kept;
            summary.dropped = summary.dropped.saturating_add(open.position.saturating_sub(kept));
            let mut close = || {
                if self.dropped > 0 && self.error.is_none() {
                    self.buffer.clear();
                    frame::put_dropped(&mut self.buffer, open.sequence, at, self.dropped);
                    open.put(&self.buffer)?;
                }
                let written = open.held.iter().filter(|held| held.is_written).map(|held| held.slot);
                self.outputs.sync(self.run, written, open.made)
            };
            if let Err(error) = close() {
                self.error.get_or_insert_with(|| error.to_string());
            }
        } else if self.dropped == 0 && self.error.is_none() {
            // Not a word from this attempt; earlier ones have their summary in the record.
            return Written::default();
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
    /// Opens the files of a run, finds their end, and cuts off what a crash tore.
    fn new(outputs: &Outputs, run: RunId) -> io::Result<Self> {
        let (bytes, made) = outputs.open_to_write(run, 0)?;
        let mut open =
            Self { part: 0, bytes, end: 0, sequence: 0, counted: 0, position: 0, held: Vec::new(), made };
        let head = open.bytes.clone();
        open.scan(head, 0)?;
        if open.end == 0 {
            open.bytes.truncate(0)?;
            open.put_raw(&MAGIC)?;
        }
        // One whose beginning is not whole is among the next to be made anew.
        let mut parts = outputs.parts(run).collect::<io::Result<Vec<_>>>()?;
        parts.sort_unstable_by_key(|part| part.start.part);
        if !parts.is_empty() {
            // A head with nothing in it marks what has been dropped.
            open.held.retain(|head| head.kept > 0);
        }
        for part in parts {
            (open.part, open.counted) = (part.start.part, 0);
            (open.sequence, open.position) = (part.start.sequence, part.start.position);
            open.scan(part.bytes, part.slot)?;
        }
        if let Some(last) = open.held.last_mut() {
            last.is_written = true;
            if last.slot != 0 {
                open.bytes = outputs.open_to_write(run, last.slot)?.0;
            }
        }
        open.bytes.truncate(open.end)?;
        Ok(open)
    }

    /// Counts what stands in a part, and finds its end.
    fn scan(&mut self, bytes: Bytes, slot: usize) -> io::Result<()> {
        let (mut reader, mut kept) = (PartReader::over(bytes), 0);
        while let Some(frame) = reader.next_frame()? {
            self.sequence = frame.sequence.saturating_add(1);
            match frame.content {
                Content::Bytes { bytes, .. } => {
                    let length = bytes.len() as u64;
                    kept += length;
                    self.counted += length.max(LEAST_COUNT);
                    self.position = self.position.saturating_add(length);
                }
                Content::Dropped(count) => self.position = self.position.saturating_add(count),
            }
        }
        self.end = reader.offset();
        self.held.push(Held { slot, kept, is_written: false });
        Ok(())
    }

    /// Goes on in a new part. Only when that is there goes what has to go: a crash in between leaves a part too many,
    /// which the next turn sees, and never one too few.
    fn turn(&mut self, outputs: &Outputs, run: RunId, layout: Layout, at: Timestamp) -> io::Result<()> {
        let (drops_head, going) = self.going(layout, self.held.len());
        let slot = going.first().copied().unwrap_or_else(|| self.free_slot());
        let part = self.part.saturating_add(1);
        let mut start = Vec::new();
        frame::put_start(&mut start, Start { sequence: self.sequence, at, part, position: self.position });
        let bytes = outputs.replace(run, slot, &start)?;
        self.held.retain(|held| held.slot != slot);
        self.held.push(Held { slot, kept: 0, is_written: true });
        (self.part, self.bytes, self.end, self.counted) = (part, bytes, start.len() as u64, 0);
        self.made = self.made.max(Made::File);
        let surplus = going.into_iter().skip(1).chain(drops_head.then_some(0));
        self.drop_parts(outputs, run, surplus)
    }

    /// Drops what others have left that is too much beside the part that is written to.
    fn trim(&mut self, outputs: &Outputs, run: RunId, layout: Layout) -> io::Result<()> {
        if layout.is_one() || self.part == 0 {
            return Ok(());
        }
        let (drops_head, going) = self.going(layout, self.held.len().saturating_sub(1));
        self.drop_parts(outputs, run, going.into_iter().chain(drops_head.then_some(0)))
    }

    /// Which of so many of the oldest parts have to go beside a new one: whether the head, and of the others these, the
    /// oldest first.
    fn going(&self, layout: Layout, oldest: usize) -> (bool, Vec<usize>) {
        let parts = &self.held[..oldest];
        let head = parts.iter().find(|held| held.slot == 0).map(|head| head.kept);
        let behind: Vec<&Held> = parts.iter().filter(|held| held.slot != 0).collect();
        let turn = layout.turn(head, &behind.iter().map(|held| held.kept).collect::<Vec<_>>());
        (turn.drops_head, behind.into_iter().take(turn.drops).map(|held| held.slot).collect())
    }

    /// Leaves places with nothing in them: whoever looks for parts goes on to the first place that is not there.
    fn drop_parts(
        &mut self,
        outputs: &Outputs,
        run: RunId,
        slots: impl Iterator<Item = usize>,
    ) -> io::Result<()> {
        for slot in slots {
            outputs.replace(run, slot, &MAGIC)?;
            self.held.retain(|held| held.slot != slot);
        }
        Ok(())
    }

    /// Bytes of the run that are there.
    fn kept(&self) -> u64 {
        self.held.iter().map(|held| held.kept).sum()
    }

    /// The first place behind the head where nothing is that anybody could read.
    fn free_slot(&self) -> usize {
        (1..).find(|slot| self.held.iter().all(|held| held.slot != *slot)).unwrap_or(1)
    }

    fn took(&mut self, length: u64) {
        self.counted += length.max(LEAST_COUNT);
        self.position = self.position.saturating_add(length);
        if let Some(held) = self.held.last_mut() {
            held.kept += length;
        }
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
