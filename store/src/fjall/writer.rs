//! The one thread that judges and writes.
//!
//! ```text
//! callers ──request, reply──► inbox ──all of them──► judged one after the other ──► one batch, written
//!                                                                                     │
//!      answers, wake-ups ◄── syncer: synced ◄── queue and state in memory follow it ◄─┘
//! ```
//!
//! The next batch is judged by what the last one has written, which need not be durable yet: syncs keep the order, so
//! what follows from something is never there without it. But nobody hears of anything before its sync. The
//! first error of the database, or a panic here, is the end: whether the batch is there is not known, so everybody
//! gets [`Error::Failed`] and nothing is tried again.

use super::inbox::Fetched;
use super::memtables::Memtables;
use super::seal::Mark;
use super::shared::Shared;
use super::space::Space;
use super::syncer::{Flight, Syncer};
use super::tables::failed;
use super::{journals, tables::View};
use crate::error::Error;
use crate::ledger::{Answer, Batch, Change, Request};
use crate::store::{Claims, Session};
use fjall::PersistMode;
use punctual_clock::Clock;
use punctual_faults::crash_point;
use punctual_model::RunId;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Records in a batch after which no further request joins it. From 100 on a commit costs little for each;
/// beyond 500 the database stalls when it rotates its memtables (measured).
pub(super) const BATCH: usize = 512;
/// Bytes of runs in a batch after which no further request joins it. A record may have 64 KiB, and 512 of them 32
/// MiB: eight memtables at once, and a sync for which everybody waits (400 callers with 60 kB each: half of them
/// answered after 0.1 s instead of 0.3 s). So a batch has this and one request at most.
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// The seal is at most this far behind. Each writing of it is a sync of its own.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// What a caller leaves in the inbox.
#[derive(Debug)]
pub(super) enum Letter {
    /// A call that may write.
    Write(Request, Reply<Answer>),
    /// Runs are wanted. Served between batches, as the queue wants it.
    Claim { session: Session, max: usize, reply: Reply<Claims> },
    /// Claims come back.
    Release { session: Session, runs: Vec<RunId>, reply: Reply<()> },
}

/// Where an answer goes. Nobody may be waiting for it any more.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the thread owns.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) space: Space,
    pub(super) syncer: Arc<Syncer>,
    /// The syncer's thread.
    pub(super) syncing: JoinHandle<()>,
    pub(super) memtables: Memtables,
    /// The last commit that was written.
    pub(super) sequence: u64,
    /// What the seal says, and when it was written.
    pub(super) sealed: (u64, Duration),
}

impl Writer {
    /// Works until the inbox is closed and empty, or until the first failure.
    pub(super) fn run(mut self) {
        let mut backlog = VecDeque::new();
        let end = catch_unwind(AssertUnwindSafe(|| self.work(&mut backlog)));
        let end = end.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(Error::Failed { reason: format!("the writer panicked: {text}") })
        });
        if let Err(error) = &end {
            self.shared.fail(error);
        }
        self.syncer.close();
        // Its panics were caught and told already.
        let _ = self.syncing.join();
        if !self.shared.has_failed() {
            self.shared.guard.stopped_at(self.sequence);
        }
        // Whoever waits hears of it; after this nobody gets in.
        self.shared.inbox.close();
        self.shared.inbox.fetch(&mut backlog, None);
        let mut pending = Pending::default();
        for letter in backlog {
            match letter {
                Letter::Write(_, reply) => pending.answers.push((reply, Err(self.shared.failure()))),
                claim => pending.claims.push(claim),
            }
        }
        pending.refuse(&self.shared.failure());
    }

    fn work(&mut self, backlog: &mut VecDeque<Letter>) -> Result<(), Error> {
        loop {
            if backlog.is_empty() {
                // A sleep while something is unsealed is a short one.
                let patience = (self.sealed.0 < self.sequence).then_some(SEAL_EVERY);
                match self.shared.inbox.fetch(backlog, patience) {
                    Fetched::Some => {}
                    Fetched::None => self.seal()?,
                    Fetched::Closed => return Ok(()),
                }
            }
            if self.shared.has_failed() {
                return Err(self.shared.failure());
            }
            if !backlog.is_empty() {
                self.serve(backlog)?;
            }
            let due = self.clock.monotonic().saturating_sub(self.sealed.1) >= SEAL_EVERY;
            if due && self.sealed.0 < self.shared.sequence() {
                self.seal()?;
            }
        }
    }

    /// One batch of what waits, and the claims that came with it.
    fn serve(&mut self, backlog: &mut VecDeque<Letter>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let mut view = shared.core.view();
        let mut pending = Pending::default();
        let flight = match self.judge_and_write(backlog, &mut view, &mut pending) {
            Ok((records, begun, changed)) => {
                let answers = std::mem::take(&mut pending.answers);
                Flight { sequence: self.sequence, records, begun, answers, changed }
            }
            Err(error) => {
                pending.refuse(&error);
                return Err(error);
            }
        };
        // A claim is nothing that could be lost; a run that is claimed starts by a write that comes after its own.
        let served = pending.claims.into_iter().try_for_each(|claim| self.serve_claim(claim, &view));
        self.syncer.send(flight).and(served)
    }

    /// Judges a batch, writes it, and lets the queue and the state in memory follow. Answers how many records that
    /// were, when it was written, and whose waiters have to hear of it.
    fn judge_and_write(
        &mut self,
        backlog: &mut VecDeque<Letter>,
        view: &mut View<'_>,
        pending: &mut Pending,
    ) -> Result<(usize, Duration, Vec<RunId>), Error> {
        let mut batch = Batch::new();
        let mut records = 0;
        let now = self.clock.now();
        while records < BATCH
            && batch.bytes() < BATCH_BYTES
            && let Some(letter) = backlog.pop_front()
        {
            let (request, reply) = match letter {
                Letter::Write(request, reply) => (request, reply),
                claim => {
                    pending.claims.push(claim);
                    continue;
                }
            };
            records += weight(&request);
            if request.is_new_work()
                && let Err(full) = self.space.check()
            {
                pending.answers.push((reply, Err(full)));
                continue;
            }
            let answer = self.shared.ledger()?.judge(&mut batch, view, request, now);
            let fatal = match &answer {
                Err(error @ Error::Failed { .. }) => Some(error.clone()),
                _ => None,
            };
            pending.answers.push((reply, answer));
            fatal.map_or(Ok(()), Err)?;
        }
        let begun = self.clock.monotonic();
        if !batch.is_empty() {
            batch.commits().try_for_each(|changes| self.write(changes))?;
            view.refresh();
        }
        let settled = self.shared.ledger()?.settle(batch, view)?;
        self.shared.wake(settled.ready, &[]);
        Ok((records, begun, settled.changed))
    }

    fn write<'a>(&mut self, changes: impl Iterator<Item = Change<'a>> + Clone) -> Result<(), Error> {
        let core = &self.shared.core;
        let sequence = self.sequence + 1;
        let mut write = core.batch(sequence, self.shared.sequence(), changes.clone().count());
        for change in changes.clone() {
            core.add(&mut write, &change)?;
        }
        crash_point("store.before_commit");
        self.shared.writing(sequence);
        // Into the journal's file; the syncer sees to it that it stays there.
        if let Err(error) = write.durability(Some(PersistMode::Buffer)).commit() {
            // Nobody has seen any of it: the database shows what is in its journal.
            self.shared.writing(self.sequence);
            return Err(failed(error));
        }
        changes.for_each(|change| core.took(&change));
        self.sequence = sequence;
        self.memtables.committed();
        Ok(())
    }

    fn serve_claim(&self, letter: Letter, view: &View<'_>) -> Result<(), Error> {
        match letter {
            Letter::Claim { session, max, reply } => {
                let claims = self.shared.ledger()?.claim(&session, max, view, self.clock.now());
                let fatal = match &claims {
                    Err(error @ Error::Failed { .. }) => Err(error.clone()),
                    _ => Ok(()),
                };
                if let Err(Ok(lost)) = reply.send(claims) {
                    // Nobody took them, so nobody would give them back.
                    let runs: Vec<_> = lost.claims.iter().map(|claim| claim.run.id).collect();
                    let ready = self.shared.ledger()?.release(&session, &runs).unwrap_or_default();
                    self.shared.wake(ready, &[]);
                }
                fatal
            }
            Letter::Release { session, runs, reply } => {
                let released = self.shared.ledger()?.release(&session, &runs);
                self.shared.wake(*released.as_ref().unwrap_or(&false), &[]);
                drop(reply.send(released.map(|_| ())));
                Ok(())
            }
            Letter::Write(..) => Ok(()),
        }
    }

    fn seal(&mut self) -> Result<(), Error> {
        let database = self.shared.guard.directory.database();
        let sequence = self.shared.sequence();
        let mark = journals::range(&database).and_then(|journals| {
            let mark = Mark { sequence, journals, clean: false };
            crash_point("store.before_seal");
            self.shared.guard.write_seal(mark)
        });
        crash_point("store.after_seal");
        mark.map_err(|error| Error::Failed { reason: format!("failed to write the seal: {error}") })?;
        self.sealed = (sequence, self.clock.monotonic());
        Ok(())
    }
}

/// What is answered once the batch is durable, and the claims that came with it.
#[derive(Default)]
struct Pending {
    answers: Vec<(Reply<Answer>, Result<Answer, Error>)>,
    claims: Vec<Letter>,
}

impl Pending {
    fn refuse(self, error: &Error) {
        for (reply, _) in self.answers {
            drop(reply.send(Err(error.clone())));
        }
        for letter in self.claims {
            match letter {
                Letter::Claim { reply, .. } => drop(reply.send(Err(error.clone()))),
                Letter::Release { reply, .. } => drop(reply.send(Err(error.clone()))),
                Letter::Write(_, reply) => drop(reply.send(Err(error.clone()))),
            }
        }
    }
}

/// How many records a request writes, about.
fn weight(request: &Request) -> usize {
    match request {
        Request::OpenSession { .. }
        | Request::CloseSession { .. }
        | Request::PutTask { .. }
        | Request::DeleteTask { .. } => 1,
        Request::Materialise { dues, .. } => {
            dues.iter().map(|due| 1 + due.births.len() + due.replaces.len()).sum()
        }
        Request::Enqueue { runs, .. } => runs.len(),
        Request::Transition { edges, .. } => edges.len(),
        Request::Cancel { runs, .. } => runs.len(),
        Request::Told { runs, .. } => runs.len(),
        Request::CancelWaiting { max, .. } | Request::Prune { max, .. } => *max,
    }
}
