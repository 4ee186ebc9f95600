//! Everything that happens in a simulated world, in order: its hash, and its last lines for whoever has to find
//! out why a seed fails.

use std::collections::VecDeque;
use std::fmt;

/// Lines kept for a report.
const KEPT: usize = 60;

/// FNV-1a, 64 bits: a hash that never changes between versions of the standard library.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

pub(crate) struct Trace {
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    /// Prints every line: for comparing two runs of one seed.
    loud: bool,
}

impl Trace {
    pub(crate) fn new(loud: bool) -> Self {
        Self { hash: OFFSET, lines: 0, last: VecDeque::with_capacity(KEPT), loud }
    }

    pub(crate) fn line(&mut self, what: fmt::Arguments<'_>) {
        let mut text =
            if self.last.len() == KEPT { self.last.pop_front().unwrap_or_default() } else { String::new() };
        text.clear();
        let _ = fmt::Write::write_fmt(&mut text, what);
        for byte in text.bytes().chain(std::iter::once(b'\n')) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        self.lines += 1;
        if self.loud {
            println!("{text}");
        }
        self.last.push_back(text);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
