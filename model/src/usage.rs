//! What work has taken of the machine.

use crate::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Processor time, and memory. Where it is about work that has ended, all processes of it that somebody waited for
/// count, and the memory is the most that any one of them had at once. Where it is about work that lives, it is a look
/// at those that live, with what those before them have taken, and the memory is what all have together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in its own code.
    #[serde(with = "duration::text")]
    pub user: Duration,
    /// Processor time of the system on its behalf.
    #[serde(with = "duration::text")]
    pub system: Duration,
    /// Resident bytes.
    pub memory: u64,
}
