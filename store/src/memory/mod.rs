//! A store that remembers as long as the process lives: the same rules and the same queue as the embedded
//! database, without a thread and without a disk. For tests, simulations and embedding without durability.
//!
//! Each call is one commit and is done when it returns, so a run of the engine on it is deterministic.

mod tables;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::hints::Hints;
use crate::ledger::{Answer, Batch, Ledger, Request, Settled, read};
use crate::store::{
    CancelAnswer, Claims, Edge, EdgeAnswer, Enqueued, HistoryStore, Materialise, Materialised, Page, Pruned,
    PutAnswer, PutTask, Quarantined, RunFilter, RunStore, Session, SessionStore, SoftNote, StoreStats,
    StoredTask, StoredTiming, TaskFilter, TaskStore,
};
use crate::tally::Tallies;
use async_trait::async_trait;
use punctual_clock::Clock;
use punctual_model::overlap::Unfinished;
use punctual_model::{CancelWhy, Run, RunId, Task, TaskId, TaskType};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tables::MemoryTables;
use tokio::sync::{Notify, broadcast};

/// Hints about changed runs that a slow listener may be behind before it has to look at everything.
const CHANGED_KEPT: usize = 1_024;

/// An honest store without a disk.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    ready: Arc<Notify>,
    changed: broadcast::Sender<RunId>,
}

#[derive(Debug)]
struct Inner {
    tables: MemoryTables,
    ledger: Ledger,
    /// The tables after each commit, where they are recorded.
    recorded: Option<Vec<MemoryTables>>,
    /// Why nothing works any more.
    failed: Option<String>,
    /// The commit before which it dies.
    dies_before: Option<u64>,
}

impl MemoryStore {
    /// An empty store on this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::on(MemoryTables::default(), clock, None)
    }

    /// An empty store that also keeps its state after each commit, for [`Self::crash_at`]. It grows with the
    /// square of what is written: for tests.
    #[must_use]
    pub fn recording(clock: Arc<dyn Clock>) -> Self {
        let tables = MemoryTables::default();
        Self::on(tables.clone(), clock, Some(vec![tables]))
    }

    fn on(tables: MemoryTables, clock: Arc<dyn Clock>, recorded: Option<Vec<MemoryTables>>) -> Self {
        // Tables in memory always answer; if they ever do not, the store does not either.
        let (ledger, failed) = match Ledger::open(&tables, clock.now()) {
            Ok(ledger) => (ledger, None),
            Err(error) => (Ledger::empty(clock.now()), Some(error.to_string())),
        };
        let inner = Mutex::new(Inner { tables, ledger, recorded, failed, dies_before: None });
        Self { inner, clock, ready: Arc::default(), changed: broadcast::Sender::new(CHANGED_KEPT) }
    }

    /// What a process finds that starts after this one was killed: all that was acknowledged, nothing that was
    /// only in memory. This store fails from now on.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.crash_at(u64::MAX)
    }

    /// As [`Self::crash`], but of a recording store only the first so many commits survive.
    #[must_use]
    pub fn crash_at(&self, commits: u64) -> Self {
        let mut inner = self.lock();
        inner.failed = Some("the store has crashed".to_owned());
        let mut recorded = inner.recorded.clone();
        let mut tables = inner.tables.clone();
        if let Some(recorded) = &mut recorded {
            let keep = usize::try_from(commits).unwrap_or(usize::MAX).saturating_add(1);
            recorded.truncate(keep);
            tables = recorded.last().cloned().unwrap_or_default();
        }
        tables.quarantine = Arc::default();
        Self::on(tables, Arc::clone(&self.clock), recorded)
    }

    /// The process dies when so many more commits are there, just before the next one: the store fails from then
    /// on, and [`Self::crash`] shows what is left.
    pub fn die_after(&self, commits: u64) {
        let mut inner = self.lock();
        inner.dies_before = Some(inner.tables.sequence.saturating_add(commits));
    }

    /// Makes the record of a run unreadable, as a damaged disk would.
    pub fn damage_run(&self, id: RunId) {
        self.lock().tables.damaged_runs.insert(id);
    }

    /// Makes the small record of a task unreadable, as a damaged disk would.
    pub fn damage_task(&self, id: TaskId) {
        self.lock().tables.damaged_heads.insert(id);
    }

    /// Makes all definitions of a task unreadable, as a damaged disk would.
    pub fn damage_definition(&self, id: TaskId) {
        self.lock().tables.damaged_definitions.insert(id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let inner = self.lock();
        match &inner.failed {
            Some(reason) => Err(Error::Failed { reason: reason.clone() }),
            None => Ok(inner),
        }
    }

    fn write(&self, request: Request) -> Result<Answer, Error> {
        let now = self.clock.now();
        let (answer, settled) = {
            let mut guard = self.open()?;
            let Inner { tables, ledger, recorded, failed, dies_before } = &mut *guard;
            let mut batch = Batch::new();
            let answer = ledger.judge(&mut batch, tables, request, now);
            for changes in batch.commits() {
                if *dies_before == Some(tables.sequence) {
                    let reason = failed.insert("the process died before this commit".to_owned()).clone();
                    return Err(Error::Failed { reason });
                }
                changes.for_each(|change| tables.apply(change));
                tables.sequence += 1;
                if let Some(recorded) = recorded {
                    recorded.push(tables.clone());
                }
            }
            (answer, ledger.settle(batch, tables)?)
        };
        self.tell(settled);
        answer
    }

    fn tell(&self, settled: Settled) {
        for run in settled.changed {
            // Nobody listening is fine.
            let _ = self.changed.send(run);
        }
        if settled.ready {
            self.ready.notify_one();
        }
    }
}

/// The answer of one kind of request; any other is a bug of the ledger.
macro_rules! answer {
    ($answer:expr, $kind:ident) => {
        match $answer? {
            Answer::$kind(answer) => Ok(answer),
            other => Err(Error::Failed { reason: format!("the ledger gave the wrong answer: {other:?}") }),
        }
    };
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn open_session(&self, node: &str) -> Result<Session, Error> {
        answer!(self.write(Request::OpenSession { node: node.to_owned() }), SessionOpened)
    }

    async fn close_session(&self, session: &Session) -> Result<(), Error> {
        self.write(Request::CloseSession { session: session.clone() }).map(|_| ())
    }
}

#[async_trait]
impl TaskStore for MemoryStore {
    async fn put_task(&self, session: &Session, put: PutTask) -> Result<PutAnswer, Error> {
        answer!(self.write(Request::PutTask { session: session.clone(), put }), TaskPut)
    }

    async fn task(&self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        read::task(&self.open()?.tables, id)
    }

    async fn task_revision(&self, id: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        use crate::ledger::Tables;
        self.open()?.tables.definition(id, revision)
    }

    async fn task_by_name(&self, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error> {
        read::task_by_name(&self.open()?.tables, kind, name)
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Page<StoredTask, TaskId>, Error> {
        read::tasks(&self.open()?.tables, filter)
    }

    async fn timings(
        &self,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Page<StoredTiming, TaskId>, Error> {
        read::timings(&self.open()?.tables, after, limit)
    }

    async fn delete_task(&self, session: &Session, id: TaskId, revision: Option<u64>) -> Result<bool, Error> {
        answer!(self.write(Request::DeleteTask { session: session.clone(), id, revision }), TaskDeleted)
    }

    async fn deleted_with_open_runs(&self) -> Result<Vec<TaskId>, Error> {
        Ok(self.open()?.ledger.deleted_with_open_runs())
    }
}

#[async_trait]
impl RunStore for MemoryStore {
    async fn materialise(
        &self,
        session: &Session,
        dues: Vec<Materialise>,
    ) -> Result<Vec<Materialised>, Error> {
        let request = Request::Materialise { session: session.clone(), dues };
        answer!(self.write(request), Materialised)
    }

    async fn enqueue(
        &self,
        session: &Session,
        runs: Vec<Run>,
        reserved: usize,
    ) -> Result<Vec<Enqueued>, Error> {
        answer!(self.write(Request::Enqueue { session: session.clone(), runs, reserved }), Enqueued)
    }

    async fn claim(&self, session: &Session, max: usize) -> Result<Claims, Error> {
        let now = self.clock.now();
        let mut guard = self.open()?;
        let Inner { tables, ledger, .. } = &mut *guard;
        ledger.claim(session, max, tables, now)
    }

    async fn release(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        let ready = self.open()?.ledger.release(session, &runs)?;
        self.tell(Settled { ready, changed: Vec::new() });
        Ok(())
    }

    async fn transition(&self, session: &Session, edges: Vec<Edge>) -> Result<Vec<EdgeAnswer>, Error> {
        answer!(self.write(Request::Transition { session: session.clone(), edges }), Transitioned)
    }

    async fn cancel(
        &self,
        session: &Session,
        runs: Vec<(RunId, CancelWhy)>,
    ) -> Result<Vec<CancelAnswer>, Error> {
        answer!(self.write(Request::Cancel { session: session.clone(), runs }), Canceled)
    }

    async fn cancel_waiting(
        &self,
        session: &Session,
        task: TaskId,
        why: CancelWhy,
        max: usize,
    ) -> Result<Vec<Run>, Error> {
        let request = Request::CancelWaiting { session: session.clone(), task, why, max };
        answer!(self.write(request), WaitingCanceled)
    }

    fn note(&self, notes: Vec<SoftNote>) {
        self.lock().ledger.note(notes);
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        use crate::ledger::Tables;
        let now = self.clock.now();
        let inner = self.open()?;
        Ok(inner.tables.run(id)?.map(|run| inner.ledger.shown(run, now)))
    }

    async fn run_of_key(&self, task: TaskId, key: &str) -> Result<Option<Run>, Error> {
        use crate::ledger::Tables;
        let id = self.open()?.tables.key(task, key)?;
        match id {
            Some(id) => self.run(id).await,
            None => Ok(None),
        }
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run, RunId>, Error> {
        let now = self.clock.now();
        let inner = self.open()?;
        let at_work = || inner.ledger.at_work().map(|run| run.id).collect();
        read::runs(&inner.tables, filter, |run| inner.ledger.shown(run, now), at_work)
    }

    async fn unfinished(&self, task: TaskId) -> Result<Unfinished, Error> {
        Ok(self.open()?.ledger.unfinished(task))
    }

    async fn begun_before(&self, epoch: u64, after: Option<RunId>, limit: usize) -> Result<Vec<Run>, Error> {
        Ok(self.open()?.ledger.begun_before(epoch, after, limit))
    }

    async fn untold(&self, limit: usize) -> Result<Vec<RunId>, Error> {
        Ok(self.open()?.ledger.untold(limit))
    }

    async fn told(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        answer!(self.write(Request::Told { session: session.clone(), runs }), Told)
    }

    fn hints(&self) -> Hints {
        Hints { ready: Arc::clone(&self.ready), changed: self.changed.subscribe() }
    }
}

#[async_trait]
impl HistoryStore for MemoryStore {
    fn overgrown(&self, max: usize) -> Vec<TaskId> {
        self.lock().ledger.take_overgrown(max)
    }

    async fn prune(&self, session: &Session, task: TaskId, max: usize) -> Result<Pruned, Error> {
        answer!(self.write(Request::Prune { session: session.clone(), task, max }), Pruned)
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        self.lock().tables.quarantine.list()
    }

    fn stats(&self) -> StoreStats {
        let inner = self.lock();
        inner.ledger.stats(inner.tables.sequence)
    }

    fn tallies(&self) -> Tallies {
        self.lock().ledger.tallies().clone()
    }
}
