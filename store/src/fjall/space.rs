//! The mark of free space below which new work is refused, so that the work at hand can still end.

use super::options::FreeSpace;
use crate::error::Error;
use punctual_clock::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer of the file system is believed: at 300 MB/s a disk loses little more than the least
/// mark in that time.
const BELIEVED: Duration = Duration::from_secs(1);

/// Looks at the disk, at most once a second.
#[derive(Debug)]
pub(super) struct Space {
    root: PathBuf,
    mark: FreeSpace,
    clock: Arc<dyn Clock>,
    looked: Option<(Duration, Result<(), Error>)>,
}

impl Space {
    pub(super) fn new(root: PathBuf, mark: FreeSpace, clock: Arc<dyn Clock>) -> Self {
        Self { root, mark, clock, looked: None }
    }

    /// [`Error::Full`] if there is no room for new work.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let now = self.clock.monotonic();
        if let Some((at, answer)) = &self.looked
            && now.saturating_sub(*at) < BELIEVED
        {
            return answer.clone();
        }
        let answer = self.look();
        if let Err(error) = &answer
            && !matches!(self.looked, Some((_, Err(_))))
        {
            tracing::warn!(%error, "new work is refused until there is room again");
        }
        self.looked = Some((now, answer.clone()));
        answer
    }

    fn look(&self) -> Result<(), Error> {
        // A file system that does not tell is no reason to refuse work; its writes will tell.
        let Ok(disk) = rustix::fs::statvfs(&self.root) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed = self.mark.mark(disk.f_blocks.saturating_mul(disk.f_frsize));
        if free < needed { Err(Error::Full { free, needed }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_clock::VirtualClock;

    #[test]
    fn below_the_mark_there_is_no_room_and_the_disk_is_asked_again_after_a_second() {
        let clock = VirtualClock::new(jiff::Timestamp::UNIX_EPOCH);
        let space = |mark| Space::new(std::env::temp_dir(), mark, Arc::new(clock.clone()));
        assert_eq!(space(FreeSpace::Bytes(0)).check(), Ok(()));
        let mut full = space(FreeSpace::Bytes(u64::MAX));
        assert!(matches!(full.check(), Err(Error::Full { needed: u64::MAX, .. })));
        full.mark = FreeSpace::Bytes(0);
        assert!(full.check().is_err());
        clock.advance_now(Duration::from_secs(1));
        assert_eq!(full.check(), Ok(()));
    }

    #[test]
    fn the_usual_mark_is_a_fiftieth_and_at_least_256_mib() {
        assert_eq!(FreeSpace::Usual.mark(1 << 30), 256 << 20);
        assert_eq!(FreeSpace::Usual.mark(100 << 30), 2 << 30);
    }
}
