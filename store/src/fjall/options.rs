//! What an embedder may tune.

/// Settings of an embedded store; the defaults are right for nearly everybody.
#[derive(Debug, Clone)]
pub struct Options {
    /// Free space below which new work is refused while work in progress still ends.
    pub free_space: FreeSpace,
    /// Bytes of the database's block cache.
    pub cache: u64,
}

impl Options {
    /// Default [`Self::cache`]: recent runs are in the memtables anyway, and a small engine is to stay small.
    pub const CACHE: u64 = 16 << 20;
}

impl Default for Options {
    fn default() -> Self {
        Self { free_space: FreeSpace::Usual, cache: Self::CACHE }
    }
}

/// How much of the disk is kept free of new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeSpace {
    /// The larger of [`FreeSpace::LEAST`] and a fiftieth of the disk.
    Usual,
    /// So many bytes.
    Bytes(u64),
}

impl FreeSpace {
    /// 256 MiB hold the ends of two million runs, and the database's own compactions.
    pub const LEAST: u64 = 256 << 20;

    /// The mark for a disk of this size.
    #[must_use]
    pub fn mark(self, disk: u64) -> u64 {
        match self {
            Self::Usual => Self::LEAST.max(disk / 50),
            Self::Bytes(bytes) => bytes,
        }
    }
}
