//! What can go wrong with remembering, by what the caller can do about it.

/// An operation on an open store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another session took over; stop acting under this one. Nothing was written.
    #[error("session with epoch {epoch} is not the current one any more")]
    Fenced {
        /// The epoch that was used.
        epoch: u64,
    },
    /// A write failed. Whether it is there is not known; nothing more is acknowledged, the process has to end
    /// and start again.
    #[error("the store failed and takes no more writes: {reason}")]
    Failed {
        /// The first error.
        reason: String,
    },
    /// The disk is nearly full: no new work, while work in progress may still end. Try again later.
    #[error("the disk of the store is nearly full: {free} bytes are free, {needed} are needed for new work")]
    Full {
        /// Free bytes.
        free: u64,
        /// The mark.
        needed: u64,
    },
    /// The request cannot be stored as it is.
    #[error("{what} is too large to be stored: {size} bytes, at most {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A single record could not be read. It is in quarantine; everything else goes on.
    #[error("a stored {kind} cannot be read: {reason}")]
    Unreadable {
        /// The kind of record.
        kind: &'static str,
        /// Why.
        reason: String,
    },
}
