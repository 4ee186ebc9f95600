//! The keyspaces of the embedded database, and how each is tuned.

use super::options::Options;
use fjall::config::{FilterPolicy, PinningPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions};
use std::path::Path;

/// Against 8 MiB, 4 save 30 MiB of memory with a million waiting runs and cost nothing in throughput
/// (measured); the more often they are flushed, the less there is to read again at a start.
const MEMTABLE: u64 = 4 << 20;
/// All journals together, the least that the database allows: what has to be read again at a start. Beyond it
/// the database flushes keyspaces that hold an old journal back.
const JOURNALS: u64 = 64 << 20;
/// Background threads for flushes and compactions. Of several the first does flushes only, and as long as another one
/// compacts, it takes the next compaction out and puts it back without a pause: a whole core (measured; fjall 3.1.13).
const WORKERS: usize = 1;
/// Open table files; far below the usual limit of 1,024 descriptors.
const OPEN_FILES: usize = 200;

/// How many keyspaces there are.
pub(super) const COUNT: usize = 8;

/// Handles to all of them.
#[derive(Clone)]
pub(super) struct Keyspaces {
    /// The record about the store, the number of the last commit, and who is at work.
    pub(super) meta: Keyspace,
    /// Task → its head.
    pub(super) heads: Keyspace,
    /// Task, revision → definition.
    pub(super) definitions: Keyspace,
    /// Type, name → task.
    pub(super) names: Keyspace,
    /// Task, idempotency key → run.
    pub(super) keys: Keyspace,
    /// Run → its record.
    pub(super) runs: Keyspace,
    /// Lane, ready time, run → mark: the waiting runs.
    pub(super) open: Keyspace,
    /// Task, run: the runs of a task.
    pub(super) of_task: Keyspace,
}

/// Opens the database of a folder, or makes it.
pub(super) fn open(path: &Path, options: &Options) -> fjall::Result<(Database, Keyspaces)> {
    let database = Database::builder(path)
        // The writer syncs each batch by itself, with the mode that it means.
        .manual_journal_persist(true)
        .journal_compression(CompressionType::None)
        .max_journaling_size(JOURNALS)
        .worker_threads(WORKERS)
        .max_cached_files(Some(OPEN_FILES))
        .cache_size(options.cache)
        .open()?;
    // At a start the database looks the keyspace of each journal entry up, in the order of youngest first:
    // those that are written most come last.
    let keyspaces = Keyspaces {
        definitions: database.keyspace("definitions", records)?,
        names: database.keyspace("names", lookups)?,
        keys: database.keyspace("keys", lookups)?,
        meta: database.keyspace("meta", records)?,
        heads: database.keyspace("heads", records)?,
        of_task: database.keyspace("of_task", scans)?,
        open: database.keyspace("open", scans)?,
        runs: database.keyspace("runs", records)?,
    };
    Ok((database, keyspaces))
}

impl Keyspaces {
    /// Each with its name.
    pub(super) fn named(&self) -> [(&'static str, &Keyspace); COUNT] {
        let Self { meta, heads, definitions, names, keys, runs, open, of_task } = self;
        [
            ("meta", meta),
            ("heads", heads),
            ("definitions", definitions),
            ("names", names),
            ("keys", keys),
            ("runs", runs),
            ("open", open),
            ("of_task", of_task),
        ]
    }

    /// Flushes and rewrites everything into its smallest form. Blocks for as long as that takes.
    pub(super) fn compact(&self) -> fjall::Result<()> {
        for (_, keyspace) in self.named() {
            keyspace.rotate_memtable_and_wait()?;
            keyspace.major_compact()?;
        }
        Ok(())
    }
}

fn base() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE).manual_journal_persist(true)
}

/// Read by keys that are known to be there: the lowest level, nine tenths of all, needs no filter.
fn records() -> KeyspaceCreateOptions {
    base().expect_point_read_hits(true)
}

/// Asked for what is mostly not there.
fn lookups() -> KeyspaceCreateOptions {
    base()
}

/// Never read by key.
fn scans() -> KeyspaceCreateOptions {
    base().filter_policy(FilterPolicy::disabled()).filter_block_pinning_policy(PinningPolicy::all(false))
}
