//! Looks for a text in a run's output, line by line, with bounded memory; knows nothing of where frames come from.

use super::frame::{Content, Frame};
use crate::driver::Stream;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Longest line that is looked at as one, in bytes; what is longer is looked at in pieces of this size, so that a
/// run that writes no line ends costs no more.
const LONGEST_LINE: usize = 64 << 10;

/// Turns frames into those lines that contain a text. Lines of different streams do not mix.
#[derive(Debug)]
pub struct Search {
    text: Vec<u8>,
    /// The beginnings of lines whose ends have not come yet, by stream.
    begun: BTreeMap<&'static str, Begun>,
}

#[derive(Debug)]
struct Begun {
    stream: Stream,
    sequence: u64,
    at: Timestamp,
    bytes: Vec<u8>,
}

impl Search {
    /// Looks for these bytes, exactly; for none of them, every line is one.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), begun: BTreeMap::new() }
    }

    /// The lines that end in this frame and contain the text, each as a frame of its own with the number and the
    /// time of the frame in which it began. What tells that output is gone comes through, behind what stood open.
    #[must_use]
    pub fn take(&mut self, frame: Frame) -> Vec<Frame> {
        let Frame { sequence, at, content } = frame;
        let (stream, bytes) = match content {
            Content::Bytes { stream, bytes } => (stream, bytes),
            Content::Dropped(_) => {
                let mut found = self.rest();
                found.push(Frame { sequence, at, content });
                return found;
            }
        };
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(LONGEST_LINE)) {
            let begun = self.begun.entry(stream.as_str()).or_insert_with(|| Begun {
                stream,
                sequence,
                at,
                bytes: Vec::new(),
            });
            begun.bytes.extend_from_slice(piece);
            if (piece.ends_with(b"\n") || begun.bytes.len() >= LONGEST_LINE)
                && let Some(line) = self.begun.remove(stream.as_str())
            {
                found.extend(self.matching(line));
            }
        }
        found
    }

    /// The lines that have no end, when nothing more comes.
    #[must_use]
    pub fn rest(&mut self) -> Vec<Frame> {
        let mut lines: Vec<Begun> = std::mem::take(&mut self.begun).into_values().collect();
        lines.sort_by_key(|line| line.sequence);
        lines.into_iter().filter_map(|line| self.matching(line)).collect()
    }

    fn matching(&self, line: Begun) -> Option<Frame> {
        let Begun { stream, sequence, at, mut bytes } = line;
        let found =
            self.text.is_empty() || bytes.windows(self.text.len()).any(|bytes| bytes == self.text.as_slice());
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        found.then_some(Frame { sequence, at, content: Content::Bytes { stream, bytes } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, pieces: &[(Stream, &str)]) -> Vec<(u64, String)> {
        let mut search = Search::new(text);
        let mut found = Vec::new();
        for (sequence, (stream, piece)) in (0..).zip(pieces) {
            let content = Content::Bytes { stream: *stream, bytes: piece.as_bytes().to_vec() };
            found.extend(search.take(Frame { sequence, at: Timestamp::UNIX_EPOCH, content }));
        }
        found.extend(search.rest());
        let shown = |frame: &Frame| String::from_utf8(frame.content.show().into_owned()).unwrap();
        found.iter().map(|frame| (frame.sequence, shown(frame))).collect()
    }

    #[test]
    fn lines_are_found_whole_wherever_they_were_cut_and_streams_do_not_mix() {
        use Stream::{Stderr, Stdout};
        let pieces =
            [(Stdout, "all go"), (Stderr, "no error\n"), (Stdout, "od\nan er"), (Stdout, "ror, here\nlast")];
        let is =
            |all: &[(u64, &str)]| all.iter().map(|(n, line)| (*n, (*line).to_owned())).collect::<Vec<_>>();
        assert_eq!(found("error", &pieces), is(&[(1, "no error\n"), (2, "an error, here\n")]));
        assert_eq!(found("good", &pieces), is(&[(0, "all good\n")]));
        assert_eq!(found("last", &pieces), is(&[(3, "last\n")]));
        assert_eq!(found("", &pieces).len(), 4);
        assert_eq!(found("Error", &pieces), []);
    }

    #[test]
    fn a_line_without_an_end_costs_bounded_memory() {
        let mut search = Search::new("needle");
        for sequence in 0..1_000 {
            let bytes = vec![b'x'; 10_000];
            let content = Content::Bytes { stream: Stream::Stdout, bytes };
            assert!(search.take(Frame { sequence, at: Timestamp::UNIX_EPOCH, content }).is_empty());
            let held: usize = search.begun.values().map(|line| line.bytes.len()).sum();
            assert!(held <= 2 * LONGEST_LINE);
        }
    }

    #[test]
    fn what_is_gone_is_told_where_it_is_missing() {
        let mut search = Search::new("a");
        let at = Timestamp::UNIX_EPOCH;
        let content = Content::Bytes { stream: Stream::Log, bytes: b"a torn line".to_vec() };
        assert!(search.take(Frame { sequence: 0, at, content }).is_empty());
        let gone = Frame { sequence: 7, at, content: Content::Dropped(99) };
        let found = search.take(gone.clone());
        assert_eq!((found.len(), &found[1]), (2, &gone));
    }
}
