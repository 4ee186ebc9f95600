//! Reads a run's output through all its parts, once or again and again while somebody writes, perhaps another
//! process, with bounded memory. What is gone between two parts is told in its place.

use super::Outputs;
use super::frame::{Content, Frame, Start};
use super::part::{Part, PartReader};
use punctual_model::RunId;
use std::io;

/// Reads frames in order. Blocks on the disk.
#[derive(Debug)]
pub struct Reader {
    outputs: Outputs,
    run: RunId,
    /// The part at hand; none as long as there is no output.
    part: Option<PartReader>,
    /// Its number.
    number: u64,
    /// Bytes that the run wrote before what comes next.
    position: u64,
}

impl Reader {
    pub(super) fn new(outputs: Outputs, run: RunId) -> Self {
        Self { outputs, run, part: None, number: 0, position: 0 }
    }

    /// The next frame; none at the end of what is there and believable. May be asked again later.
    ///
    /// # Errors
    /// What the file system says.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if self.part.is_none() {
                self.part = self.outputs.open_to_read(self.run, 0)?.map(PartReader::over);
            }
            let Some(part) = &mut self.part else { return Ok(None) };
            if let Some(frame) = part.next_frame()? {
                return Ok(Some(self.passed(frame)));
            }
            let Some((next, start)) = self.next_part()? else { return Ok(None) };
            // With a later part there, this one is complete: what came between the two looks comes first.
            if let Some(frame) = self.part.as_mut().map(PartReader::next_frame).transpose()?.flatten() {
                return Ok(Some(self.passed(frame)));
            }
            let gone = start.position.saturating_sub(self.position);
            (self.part, self.number, self.position) = (Some(next), start.part, start.position);
            if gone > 0 {
                let sequence = start.sequence.saturating_sub(1);
                return Ok(Some(Frame { sequence, at: start.at, content: Content::Dropped(gone) }));
            }
        }
    }

    fn passed(&mut self, frame: Frame) -> Frame {
        self.position = self.position.saturating_add(match &frame.content {
            Content::Bytes { bytes, .. } => bytes.len() as u64,
            Content::Dropped(count) => *count,
        });
        frame
    }

    /// The oldest part that is there behind the one at hand.
    fn next_part(&self) -> io::Result<Option<(PartReader, Start)>> {
        let found = self.look_for_next()?;
        match &found {
            // While the places were looked at, a new part may have come to one that was passed already: what is then
            // found behind a gap need not be the next one. A second look sees it.
            Some((_, start)) if start.part > self.number.saturating_add(1) => {
                let again = self.look_for_next()?;
                let is_older = |(_, other): &(PartReader, Start)| other.part < start.part;
                Ok(if again.as_ref().is_some_and(is_older) { again } else { found })
            }
            _ => Ok(found),
        }
    }

    fn look_for_next(&self) -> io::Result<Option<(PartReader, Start)>> {
        let mut found: Option<(PartReader, Start)> = None;
        for part in self.outputs.parts(self.run) {
            let Part { bytes, start, .. } = part?;
            if start.part > self.number && found.as_ref().is_none_or(|(_, other)| start.part < other.part) {
                found = Some((PartReader::over(bytes), start));
                if start.part == self.number.saturating_add(1) {
                    break;
                }
            }
        }
        Ok(found)
    }
}
