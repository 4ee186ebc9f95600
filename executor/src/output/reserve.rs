//! The room on a disk that output leaves free, so that runs can still end when one of them floods it.
//!
//! Asked before each piece of output is written. Decides nothing about new work, which the store refuses earlier.

use punctual_store::fjall::FreeSpace;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes that all runs write together before the disk is looked at again: far less than what is left free, and
/// a look costs as much as a small write.
const LOOK_EVERY: u64 = 1 << 20;

/// What is left of a disk.
#[derive(Debug)]
pub(super) struct Reserve {
    /// On that disk, and there before anything is written.
    folder: PathBuf,
    space: FreeSpace,
    written: AtomicU64,
    /// What the last look found.
    full: AtomicBool,
}

impl Reserve {
    pub(super) fn new(folder: PathBuf, space: FreeSpace) -> Self {
        Self { folder, space, written: AtomicU64::new(0), full: AtomicBool::new(false) }
    }

    /// What is kept free of new work.
    #[cfg(target_os = "linux")]
    pub(super) fn space(&self) -> FreeSpace {
        self.space
    }

    /// Takes room for so many bytes; an error if there is none for output.
    pub(super) fn take(&self, bytes: u64) -> io::Result<()> {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        let is_due = before == 0 || before / LOOK_EVERY != before.wrapping_add(bytes) / LOOK_EVERY;
        // Whoever is refused is one run, once; the next one finds out whether there is room again.
        if !is_due && !self.full.load(Ordering::Relaxed) {
            return Ok(());
        }
        // A file system that does not tell is no reason to lose output; its writes will tell.
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // Half of what is kept free of new work is for the ends of the work at hand.
        let needed = self.space.mark(disk.f_blocks.saturating_mul(disk.f_frsize)) / 2;
        self.full.store(free < needed, Ordering::Relaxed);
        if free < needed {
            let text =
                format!("the disk is nearly full: {free} bytes are free, {needed} are kept for the store");
            return Err(io::Error::other(text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_refused_below_half_the_mark_and_taken_again_above_it() {
        let reserve = |bytes| Reserve::new(std::env::temp_dir(), FreeSpace::Bytes(bytes));
        assert!(reserve(0).take(10).is_ok());
        let mut full = reserve(u64::MAX);
        for _ in 0..3 {
            assert!(full.take(10).unwrap_err().to_string().contains("nearly full"));
        }
        full.space = FreeSpace::Bytes(0);
        assert!(full.take(10).is_ok());
        // Between two looks the disk is believed.
        full.space = FreeSpace::Bytes(u64::MAX);
        assert!(full.take(10).is_ok());
        assert!(full.take(LOOK_EVERY).is_err());
    }
}
