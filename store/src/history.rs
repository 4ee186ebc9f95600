//! The part of the contract that keeps history within its bounds, and tells what a store has come to.

use crate::error::Error;
use crate::store::Session;
use crate::tally::Tallies;
use async_trait::async_trait;
use punctual_model::{RunId, TaskId};

/// What [`HistoryStore::prune`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Records that are gone; their output may go too.
    pub runs: Vec<RunId>,
    /// Whether there is more to do for the same task.
    pub more: bool,
}

/// A record that could not be read; set aside, reported, and in nobody's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The kind of record (keyspace).
    pub kind: String,
    /// Its key, in hex.
    pub key: String,
    /// Why it cannot be read.
    pub reason: String,
}

/// Figures about the store, for health and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Runs that wait for a time, a place or a limit.
    pub waiting: u64,
    /// Runs at work.
    pub at_work: u64,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Requests answered by those commits.
    pub requests: u64,
    /// Sequence number of the last commit.
    pub sequence: u64,
}

/// Keeping history within its bounds.
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// Tasks whose kept history is over its bound of count by more than a slack; each is named once until it
    /// grows again.
    fn overgrown(&self, max: usize) -> Vec<TaskId>;

    /// Removes finished runs of a task beyond its retention (count and age; Skipped and Missed are counted
    /// apart), revisions that no run refers to, and expired idempotency keys; at most `max` runs a call.
    async fn prune(&self, session: &Session, task: TaskId, max: usize) -> Result<Pruned, Error>;

    /// Records that could not be read.
    fn quarantined(&self) -> Vec<Quarantined>;

    /// Figures.
    fn stats(&self) -> StoreStats;

    /// What runs came to since the store was opened. Each end of a run counts once, whoever made it, once it is
    /// durable.
    fn tallies(&self) -> Tallies;
}
