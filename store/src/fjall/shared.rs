//! What the writer and all callers share.

use super::directory::Directory;
use super::inbox::Inbox;
use super::journal_sync::JournalSync;
use super::journals;
use super::seal::{Mark, Seal};
use super::tables::Core;
use super::writer::Letter;
use crate::error::Error;
use crate::hints::Hints;
use crate::ledger::Ledger;
use punctual_model::RunId;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, broadcast, watch};

/// Ends and stops that a listener may be behind before it has to look at everything it waits for.
const CHANGES: usize = 4_096;

/// One open store.
pub(super) struct Shared {
    // Dropped before the guard, which then knows that nothing writes any more.
    pub(super) core: Core,
    pub(super) guard: Guard,
    pub(super) inbox: Inbox<Letter>,
    /// Locked for a sync.
    pub(super) journal: Mutex<JournalSync>,
    ledger: Mutex<Ledger>,
    failed: OnceLock<String>,
    /// The last commit that anybody may see.
    written: AtomicU64,
    /// The last commit that is durable.
    synced: watch::Sender<u64>,
    ready: Arc<Notify>,
    changed: broadcast::Sender<RunId>,
}

impl Shared {
    pub(super) fn new(core: Core, guard: Guard, journal: JournalSync, ledger: Ledger, sequence: u64) -> Self {
        Self {
            core,
            guard,
            inbox: Inbox::new(),
            journal: Mutex::new(journal),
            ledger: Mutex::new(ledger),
            failed: OnceLock::new(),
            written: AtomicU64::new(sequence),
            synced: watch::channel(sequence).0,
            ready: Arc::new(Notify::new()),
            changed: broadcast::channel(CHANGES).0,
        }
    }

    /// The state in memory. Held for one decision at a time, never during a sync.
    pub(super) fn ledger(&self) -> Result<MutexGuard<'_, Ledger>, Error> {
        // Who panicked with it in hand may have left it half changed.
        self.ledger.lock().map_err(|_| Error::Failed { reason: "a decision panicked".to_owned() })
    }

    /// The same for those who only look, and may do so after a failure.
    pub(super) fn peek(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this commit may be seen, although it is not durable.
    pub(super) fn writing(&self, sequence: u64) {
        self.written.store(sequence, Ordering::SeqCst);
    }

    /// All commits up to this one are durable.
    pub(super) fn synced(&self, sequence: u64) {
        self.synced.send_replace(sequence);
    }

    /// The last durable commit.
    pub(super) fn sequence(&self) -> u64 {
        *self.synced.borrow()
    }

    /// Returns when everything that its caller has read is durable: what is told to somebody may not be lost.
    pub(super) async fn durable(&self) -> Result<(), Error> {
        let seen = self.written.load(Ordering::SeqCst);
        if self.sequence() >= seen {
            return Ok(());
        }
        let mut synced = self.synced.subscribe();
        let answer = synced.wait_for(|synced| *synced >= seen || self.failed.get().is_some()).await;
        if answer.is_ok_and(|synced| *synced >= seen) { Ok(()) } else { Err(self.failure()) }
    }

    /// Takes no more writes, for this reason.
    pub(super) fn fail(&self, error: &Error) {
        let reason = match error {
            Error::Failed { reason } => reason.clone(),
            other => other.to_string(),
        };
        tracing::error!(reason, "the store failed; nothing more is acknowledged");
        // The first reason is the one that tells.
        let _ = self.failed.set(reason);
        // Whoever sleeps until a letter or a sync comes hears of it too.
        self.inbox.close();
        self.synced.send_modify(|_| {});
        self.wake(true, &[]);
    }

    /// Whether it takes no more writes.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Why writes are refused.
    pub(super) fn failure(&self) -> Error {
        let reason = self.failed.get().map_or("the store is closed", String::as_str);
        Error::Failed { reason: reason.to_owned() }
    }

    pub(super) fn wake(&self, ready: bool, changed: &[RunId]) {
        if ready {
            self.ready.notify_one();
        }
        for run in changed {
            // Nobody may be listening.
            let _ = self.changed.send(*run);
        }
    }

    pub(super) fn hints(&self) -> Hints {
        Hints { ready: Arc::clone(&self.ready), changed: self.changed.subscribe() }
    }
}

/// The directory and its seal. When it goes, everything that writes has gone; if that was in order, the seal
/// says so.
pub(super) struct Guard {
    pub(super) directory: Directory,
    seal: Mutex<Seal>,
    stopped: OnceLock<Option<u64>>,
}

impl Guard {
    pub(super) fn new(directory: Directory, seal: Seal) -> Self {
        Self { directory, seal: Mutex::new(seal), stopped: OnceLock::new() }
    }

    pub(super) fn write_seal(&self, mark: Mark) -> io::Result<()> {
        self.seal.lock().unwrap_or_else(PoisonError::into_inner).write(mark)
    }

    /// The writer has ended in order, after this commit.
    pub(super) fn stopped_at(&self, sequence: u64) {
        let _ = self.stopped.set(Some(sequence));
    }

    /// Leaves the directory as a process does that is killed.
    #[cfg(test)]
    pub(super) fn crash(&self) {
        let _ = self.stopped.set(None);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(&Some(sequence)) = self.stopped.get() else { return };
        let sealed = journals::range(&self.directory.database())
            .and_then(|journals| self.write_seal(Mark { sequence, journals, clean: true }));
        if let Err(error) = sealed {
            tracing::warn!(%error, "the mark of a clean stop was not written; the next start looks twice");
        }
    }
}
