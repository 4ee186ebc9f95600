//! The bytes of an output file, or of each of its parts: a magic, then frames. Little endian.
//!
//! A frame is `length u32, crc32 u32, sequence u64, microseconds since 1970 i64, stream u8, bytes`; the
//! checksum covers everything behind itself. A frame that is cut short or does not check is where a crash tore
//! the file: nothing after it is believed.

use crate::driver::Stream;
use jiff::Timestamp;

/// First bytes of every output file.
pub(super) const MAGIC: [u8; 8] = *b"PNCTOUT1";

/// Bytes before the payload of a frame.
pub(super) const HEADER: usize = 25;

/// Bytes of the frame that a part behind the head begins with.
pub(super) const START: usize = HEADER + 16;

/// Largest payload of one frame; longer writes are split, so that a reader's memory is bounded.
pub(super) const MAX_PAYLOAD: usize = 64 << 10;

/// What a frame is about.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const LOG: u8 = 3;
/// The payload is a count of bytes that were dropped, as u64.
const DROPPED: u8 = 4;
/// First in each part behind the head: the part's number and how many bytes the run wrote before it, as u64.
const PART: u8 = 5;

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Rises from frame to frame of a run, through all its attempts: by one, but where frames are gone.
    pub sequence: u64,
    /// When it was written, to the microsecond.
    pub at: Timestamp,
    /// What it is.
    pub content: Content,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes, exactly as they were written.
    Bytes {
        /// To which stream.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// So many bytes that stood here were over the cap and are gone.
    Dropped(u64),
}

impl Content {
    /// The bytes to show, with a line for people in place of what is gone.
    #[must_use]
    pub fn show(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Bytes { bytes, .. } => bytes.into(),
            Self::Dropped(count) => format!("\n[{count} bytes of output dropped]\n").into_bytes().into(),
        }
    }
}

/// What a part behind the head begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// The sequence number of the part's first frame.
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    /// Rises by one from part to part; the head is 0.
    pub(super) part: u64,
    /// Bytes that the run wrote before, kept or not.
    pub(super) position: u64,
}

/// Appends a frame of bytes to a buffer.
pub(super) fn put_bytes(out: &mut Vec<u8>, sequence: u64, at: Timestamp, stream: Stream, payload: &[u8]) {
    let tag = match stream {
        Stream::Stdout => STDOUT,
        Stream::Stderr => STDERR,
        Stream::Log => LOG,
    };
    put(out, sequence, at, tag, payload);
}

/// Appends a frame that tells what is missing.
pub(super) fn put_dropped(out: &mut Vec<u8>, sequence: u64, at: Timestamp, count: u64) {
    put(out, sequence, at, DROPPED, &count.to_le_bytes());
}

/// Appends the magic and the first frame of a part behind the head.
pub(super) fn put_start(out: &mut Vec<u8>, start: Start) {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&start.part.to_le_bytes());
    payload[8..].copy_from_slice(&start.position.to_le_bytes());
    out.extend_from_slice(&MAGIC);
    put(out, start.sequence, start.at, PART, &payload);
}

fn put(out: &mut Vec<u8>, sequence: u64, at: Timestamp, tag: u8, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&at.as_microsecond().to_le_bytes());
    out.push(tag);
    out.extend_from_slice(payload);
    let crc = crc32fast::hash(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A frame, and how many bytes it takes.
    Frame(Frame, usize),
    /// The beginning of a part, and how many bytes it takes.
    Start(Start, usize),
    /// The beginning of a frame; so many bytes are needed at least.
    Short(usize),
    /// No frame.
    Torn,
}

/// Reads the frame at the beginning of these bytes.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some((head, rest)) = bytes.split_at_checked(HEADER) else { return Parsed::Short(HEADER) };
    let length = u32_at(head, 0) as usize;
    if length > MAX_PAYLOAD {
        return Parsed::Torn;
    }
    let Some(payload) = rest.get(..length) else { return Parsed::Short(HEADER + length) };
    if crc32fast::hash(&bytes[8..HEADER + length]) != u32_at(head, 4) {
        return Parsed::Torn;
    }
    let Ok(at) = Timestamp::from_microsecond(u64_at(head, 16).cast_signed()) else { return Parsed::Torn };
    let sequence = u64_at(head, 8);
    let bytes = |stream| Content::Bytes { stream, bytes: payload.to_vec() };
    let content = match head[24] {
        STDOUT => bytes(Stream::Stdout),
        STDERR => bytes(Stream::Stderr),
        LOG => bytes(Stream::Log),
        DROPPED if length == 8 => Content::Dropped(u64_at(payload, 0)),
        PART if length == 16 => {
            let start = Start { sequence, at, part: u64_at(payload, 0), position: u64_at(payload, 8) };
            return Parsed::Start(start, HEADER + length);
        }
        _ => return Parsed::Torn,
    };
    Parsed::Frame(Frame { sequence, at, content }, HEADER + length)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Timestamp = Timestamp::constant(1_767_225_600, 123_456_000);

    #[test]
    fn the_bytes_of_a_frame_are_fixed() {
        let mut out = Vec::new();
        put_bytes(&mut out, 7, AT, Stream::Stderr, b"hi\n");
        assert_eq!(out.len(), HEADER + 3);
        assert_eq!(&out[..4], &[3, 0, 0, 0]);
        assert_eq!(&out[8..16], &[7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out[24], 2);
        assert_eq!(u32_at(&out, 4), crc32fast::hash(&out[8..]));
    }

    proptest! {
        #[test]
        fn frames_read_back_and_a_cut_one_is_never_believed(
            payload in prop::collection::vec(any::<u8>(), 0..300), sequence: u64, cut in 0usize..300, flip: prop::sample::Index,
        ) {
            let mut out = Vec::new();
            put_bytes(&mut out, sequence, AT, Stream::Log, &payload);
            let frame = Frame { sequence, at: AT, content: Content::Bytes { stream: Stream::Log, bytes: payload } };
            prop_assert_eq!(parse(&out), Parsed::Frame(frame.clone(), out.len()));
            if cut < out.len() {
                prop_assert!(matches!(parse(&out[..cut]), Parsed::Short(needed) if needed > cut));
            }
            let at = flip.index(out.len());
            out[at] ^= 0x40;
            prop_assert!(!matches!(parse(&out), Parsed::Frame(other, _) if other == frame));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
