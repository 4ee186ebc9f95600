//! Appends one attempt's output to its run's file, up to the cap; behind it the newest is kept.
//!
//! Called with every piece as it comes, from whatever thread has it, in the daemon or in a process of its own:
//! a write goes to the page cache at once, so a reader sees it and nothing waits in our memory. All that it
//! needs to know it finds in the files. No file is made before the first byte. An error is kept for whoever
//! finishes the attempt and drops what follows; it stops nothing.

use super::frame::{self, HEADER, MAGIC, MAX_PAYLOAD, Start};
use super::part::PartReader;
use super::place::Bytes;
use super::{Content, Made, Outputs};
use crate::driver::Stream;
use jiff::Timestamp;
use punctual_model::RunId;
use punctual_model::outcome::OutputSummary;
use std::io;

/// The least that a frame counts against the cap, so that single bytes do not make a file many times its cap:
/// it is never larger than twice the cap.
const LEAST_COUNT: u64 = HEADER as u64;

/// The least cap of which a part is for the newest output. Below it a part would hold a few lines, so the whole
/// cap is for the beginning and what follows is dropped.
const LEAST_ROTATED: u64 = 64 << 10;

/// What of the cap a part may hold, where the newest is kept: half of it for the beginning, a quarter for each
/// of the two that take turns, so that nothing is lost up to the cap, and behind it at least the newest quarter
/// of the cap is there.
fn share(cap: u64, part: u64) -> u64 {
    match part {
        _ if cap < LEAST_ROTATED => cap,
        0 => cap - 2 * (cap / 4),
        _ => cap / 4,
    }
}

/// The output of one attempt.
#[derive(Debug)]
pub(crate) struct Writer {
    outputs: Outputs,
    run: RunId,
    cap: u64,
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
    /// Those kept in the head, in the part before the last, and in the last.
    kept: [u64; 3],
    /// What has to be made durable: the parts written to, by the same places.
    written: [Option<(Bytes, Made)>; 3],
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
        Self { outputs, run, cap, open: None, error: None, dropped: 0, buffer: Vec::new() }
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
            None => self.open.insert(Open::new(&self.outputs, self.run)?),
        };
        if open.counted >= share(self.cap, open.part) {
            if self.cap < LEAST_ROTATED {
                return Ok(0);
            }
            open.turn(&self.outputs, self.run, at)?;
        }
        let room = share(self.cap, open.part).saturating_sub(open.counted);
        let taken = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
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
            let kept = open.kept.iter().sum();
            summary.bytes = kept;
            summary.dropped = summary.dropped.saturating_add(open.position.saturating_sub(kept));
            let mut close = || {
                if self.dropped > 0 && self.error.is_none() {
                    self.buffer.clear();
                    frame::put_dropped(&mut self.buffer, open.sequence, at, self.dropped);
                    open.put(&self.buffer)?;
                }
                let written: Vec<_> = open.written.iter().flatten().cloned().collect();
                self.outputs.sync(self.run, &written)
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
        let (bytes, made) = outputs.open_to_write(run, 0, false)?;
        let mut open = Self {
            part: 0,
            bytes,
            end: 0,
            sequence: 0,
            counted: 0,
            position: 0,
            kept: [0; 3],
            written: [None, None, None],
        };
        open.written[0] = Some((open.bytes.clone(), made));
        open.scan(PartReader::over(open.bytes.clone()), 0)?;
        if open.end == 0 {
            open.bytes.truncate(0)?;
            open.put_raw(&MAGIC)?;
        }
        let mut tails = Vec::new();
        for slot in [1, 2] {
            let Some(bytes) = outputs.open_to_read(run, slot)? else { continue };
            let mut reader = PartReader::over(bytes);
            // One whose beginning is not whole is the next to be made anew.
            if let Some(start) = reader.start()? {
                tails.push((reader, start));
            }
        }
        tails.sort_unstable_by_key(|(_, start)| start.part);
        let last = tails.len();
        for (n, (reader, start)) in tails.into_iter().enumerate() {
            let place = if n + 1 == last { 2 } else { 1 };
            let (bytes, made) = outputs.open_to_write(run, start.part, false)?;
            open.written[place] = Some((bytes.clone(), made));
            (open.part, open.bytes, open.counted) = (start.part, bytes, 0);
            (open.sequence, open.position) = (start.sequence, start.position);
            open.scan(reader, place)?;
        }
        open.bytes.truncate(open.end)?;
        Ok(open)
    }

    /// Counts what stands in a part, and finds its end.
    fn scan(&mut self, mut reader: PartReader, place: usize) -> io::Result<()> {
        while let Some(frame) = reader.next_frame()? {
            self.sequence = frame.sequence.saturating_add(1);
            match frame.content {
                Content::Bytes { bytes, .. } => {
                    let length = bytes.len() as u64;
                    self.kept[place] += length;
                    self.counted += length.max(LEAST_COUNT);
                    self.position = self.position.saturating_add(length);
                }
                Content::Dropped(count) => self.position = self.position.saturating_add(count),
            }
        }
        self.end = reader.offset();
        Ok(())
    }

    /// Goes on in a new part, in the place of the one before the last.
    fn turn(&mut self, outputs: &Outputs, run: RunId, at: Timestamp) -> io::Result<()> {
        let part = self.part.saturating_add(1);
        let (bytes, made) = outputs.open_to_write(run, part, true)?;
        // What stood before the last has gone with its file.
        (self.kept[1], self.kept[2]) = (self.kept[2], 0);
        self.written[1] = self.written[2].replace((bytes.clone(), made));
        (self.part, self.bytes, self.end, self.counted) = (part, bytes, 0, 0);
        let mut start = Vec::new();
        frame::put_start(&mut start, Start { sequence: self.sequence, at, part, position: self.position });
        self.put_raw(&start)
    }

    fn took(&mut self, length: u64) {
        self.counted += length.max(LEAST_COUNT);
        self.position = self.position.saturating_add(length);
        self.kept[if self.part == 0 { 0 } else { 2 }] += length;
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
