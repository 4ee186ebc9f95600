//! The embedded store as the engine sees it.

use super::journal_sync::JournalSync;
use super::memtables::Memtables;
use super::open::{Opened, open};
use super::open_error::OpenError;
use super::options::Options;
use super::shared::{Guard, Shared};
use super::space::Space;
use super::syncer::Syncer;
use super::tables::failed;
use super::writer::{Letter, Reply, Writer};
use crate::error::Error;
use crate::hints::Hints;
use crate::ledger::{Answer, Ledger, Request, Tables, read};
use crate::store::*;
use crate::tally::Tallies;
use async_trait::async_trait;
use jiff::Timestamp;
use punctual_clock::Clock;
use punctual_model::overlap::Unfinished;
use punctual_model::{CancelWhy, Run, RunId, Task, TaskId, TaskType};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Tasks that are read at once where they are asked for; more take so long that others should not wait for the thread.
const FEW: usize = 32;

/// A store in a directory of its own, for one process at a time.
///
/// Writes go to one thread, which groups what waits into one synced commit. Reads of single records are made
/// on the caller's thread: some microseconds, or a read of the disk if the record is old. Scans
/// ([`RunStore::runs`], [`TaskStore::tasks`]) go to the runtime's blocking threads.
///
/// When it is dropped it ends what it was given, seals, and lets go of the directory; that may take as long
/// as a commit.
pub struct FjallStore {
    pub(super) shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    writer: Option<JoinHandle<()>>,
}

impl FjallStore {
    /// Opens the store in a directory, or makes one. Blocks: about a second for a million waiting runs. The
    /// clock is the one that the whole engine has.
    ///
    /// # Errors
    /// [`OpenError`]: the directory is in use, damaged, of a later version, or not ours.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>, options: &Options) -> Result<Self, OpenError> {
        let Opened { core, seal, directory, sequence } = open(path.as_ref(), options)?;
        let ledger = Ledger::open(&core.view(), clock.now()).map_err(|error| OpenError::Damaged {
            path: directory.root().to_owned(),
            error: error.to_string(),
            sealed: Some(sequence),
            aside: None,
        })?;
        let space = Space::new(directory.root().to_owned(), options.free_space, Arc::clone(&clock));
        let path = path.as_ref();
        let io = |what| move |source| OpenError::Io { what, path: path.to_owned(), source };
        let journal = JournalSync::open(&directory.database()).map_err(io("open the journal of"))?;
        let memtables = Memtables::hold(core.keyspaces.clone()).map_err(io("start the freeing thread of"))?;
        let guard = Guard::new(directory, seal);
        let shared = Arc::new(Shared::new(core, guard, journal, ledger, sequence));
        let syncer = Arc::new(Syncer::new(Arc::clone(&shared), Arc::clone(&clock)));
        let syncing = {
            let syncer = Arc::clone(&syncer);
            let thread = std::thread::Builder::new().name("punctual-sync".to_owned());
            thread.spawn(move || syncer.run()).map_err(io("start the syncing thread of"))?
        };
        let writer = Writer {
            shared: Arc::clone(&shared),
            clock: Arc::clone(&clock),
            space,
            syncer: Arc::clone(&syncer),
            syncing,
            memtables,
            sequence,
            sealed: (sequence, clock.monotonic()),
        };
        let thread = std::thread::Builder::new().name("punctual-store".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(|error| {
            syncer.close();
            io("start the writer thread of")(error)
        })?;
        Ok(Self { shared, clock, writer: Some(thread) })
    }

    /// Ends what it was given, seals, and lets go of the directory. Dropping it does the same.
    pub fn close(self) {
        drop(self);
    }

    /// Rewrites the database into its smallest form, which it otherwise does bit by bit. Blocks, for minutes if
    /// it is large; everything else goes on meanwhile.
    ///
    /// # Errors
    /// [`Error::Failed`] if the database does not answer.
    pub fn compact(&self) -> Result<(), Error> {
        self.shared.core.keyspaces.compact().map_err(failed)
    }

    /// Goes without the mark of a clean stop.
    #[cfg(test)]
    pub(super) fn crash(self) {
        self.shared.guard.crash();
    }

    async fn write(&self, request: Request) -> Result<Answer, Error> {
        self.ask(|reply| Letter::Write(request, reply)).await
    }

    async fn ask<T>(&self, letter: impl FnOnce(Reply<T>) -> Letter) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        if self.shared.inbox.send(letter(reply)).await.is_err() {
            return Err(self.shared.failure());
        }
        answer.await.unwrap_or_else(|_| Err(self.shared.failure()))
    }

    /// What was read, once it is durable: the writer lets the next batch build on the last one before its sync, but
    /// nobody is told of it.
    async fn durable<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        self.shared.durable().await?;
        read
    }

    /// Runs a scan where it may take its time, and answers once what it has read is durable.
    async fn scan<T: Send + 'static>(
        &self,
        scan: impl FnOnce(&Shared, Timestamp) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.durable(self.aside(scan).await).await
    }

    /// Runs a scan where it may take its time.
    async fn aside<T: Send + 'static>(
        &self,
        scan: impl FnOnce(&Shared, Timestamp) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (shared, now) = (Arc::clone(&self.shared), self.clock.now());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime.spawn_blocking(move || scan(&shared, now)).await.unwrap_or_else(|error| {
                Err(Error::Failed { reason: format!("a scan ended early: {error}") })
            }),
            // Without a runtime nobody else waits for this thread.
            Err(_) => scan(&shared, now),
        }
    }

    fn shown(&self, run: Run) -> Run {
        self.shared.peek().shown(run, self.clock.now())
    }
}

impl Drop for FjallStore {
    fn drop(&mut self) {
        self.shared.inbox.close();
        if let Some(writer) = self.writer.take() {
            // Its panics were caught and told already.
            let _ = writer.join();
        }
    }
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore")
            .field("directory", &self.shared.guard.directory.root())
            .finish_non_exhaustive()
    }
}

/// Unwraps the answer that belongs to a request; the ledger gives no other.
macro_rules! answer {
    ($self:ident, $answer:ident, $request:expr) => {
        match $self.write($request).await? {
            Answer::$answer(answer) => Ok(answer),
            other => Err(Error::Failed { reason: format!("the wrong answer: {other:?}") }),
        }
    };
}

#[async_trait]
impl SessionStore for FjallStore {
    async fn open_session(&self, node: &str) -> Result<Session, Error> {
        answer!(self, SessionOpened, Request::OpenSession { node: node.to_owned() })
    }

    async fn close_session(&self, session: &Session) -> Result<(), Error> {
        self.write(Request::CloseSession { session: session.clone() }).await.map(|_| ())
    }
}

#[async_trait]
impl TaskStore for FjallStore {
    async fn put_task(&self, session: &Session, put: PutTask) -> Result<PutAnswer, Error> {
        answer!(self, TaskPut, Request::PutTask { session: session.clone(), put })
    }

    async fn task(&self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        self.durable(read::task(&self.shared.core.view(), id)).await
    }

    async fn task_ahead(&self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        read::task(&self.shared.core.view(), id)
    }

    async fn tasks_ahead(&self, ids: Vec<TaskId>) -> Vec<Result<Option<StoredTask>, Error>> {
        let asked = ids.len();
        if asked <= FEW {
            return read::tasks_of(&self.shared.core.view(), &ids);
        }
        let read = move |shared: &Shared, _| {
            let found = read::tasks_of(&shared.core.view(), &ids);
            // A run that has to wait is claimed soon; what a listing reads is not.
            found.iter().flatten().flatten().for_each(|stored| shared.core.definitions.keep(&stored.task));
            Ok(found)
        };
        let found = self.aside(read).await;
        found.unwrap_or_else(|error| vec![Err(error); asked])
    }

    async fn task_revision(&self, id: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        self.durable(self.shared.core.view().definition(id, revision)).await
    }

    async fn task_by_name(&self, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error> {
        self.durable(read::task_by_name(&self.shared.core.view(), kind, name)).await
    }

    async fn task_by_name_ahead(&self, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error> {
        read::task_by_name(&self.shared.core.view(), kind, name)
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Page<StoredTask, TaskId>, Error> {
        let filter = filter.clone();
        self.scan(move |shared, _| read::tasks(&shared.core.view(), &filter)).await
    }

    async fn timings(
        &self,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Page<StoredTiming, TaskId>, Error> {
        self.scan(move |shared, _| read::timings(&shared.core.view(), after, limit)).await
    }

    async fn delete_task(&self, session: &Session, id: TaskId, revision: Option<u64>) -> Result<bool, Error> {
        answer!(self, TaskDeleted, Request::DeleteTask { session: session.clone(), id, revision })
    }

    async fn deleted_with_open_runs(&self) -> Result<Vec<TaskId>, Error> {
        Ok(self.shared.peek().deleted_with_open_runs())
    }
}

#[async_trait]
impl RunStore for FjallStore {
    async fn materialise(
        &self,
        session: &Session,
        dues: Vec<Materialise>,
    ) -> Result<Vec<Materialised>, Error> {
        answer!(self, Materialised, Request::Materialise { session: session.clone(), dues })
    }

    async fn enqueue(
        &self,
        session: &Session,
        runs: Vec<Run>,
        reserved: usize,
    ) -> Result<Vec<Enqueued>, Error> {
        answer!(self, Enqueued, Request::Enqueue { session: session.clone(), runs, reserved })
    }

    async fn claim(&self, session: &Session, max: usize) -> Result<Claims, Error> {
        self.ask(|reply| Letter::Claim { session: session.clone(), max, reply }).await
    }

    async fn release(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        self.ask(|reply| Letter::Release { session: session.clone(), runs, reply }).await
    }

    async fn transition(&self, session: &Session, edges: Vec<Edge>) -> Result<Vec<EdgeAnswer>, Error> {
        answer!(self, Transitioned, Request::Transition { session: session.clone(), edges })
    }

    async fn cancel(
        &self,
        session: &Session,
        runs: Vec<(RunId, CancelWhy)>,
    ) -> Result<Vec<CancelAnswer>, Error> {
        answer!(self, Canceled, Request::Cancel { session: session.clone(), runs })
    }

    async fn cancel_waiting(
        &self,
        session: &Session,
        task: TaskId,
        why: CancelWhy,
        max: usize,
    ) -> Result<Vec<Run>, Error> {
        answer!(self, WaitingCanceled, Request::CancelWaiting { session: session.clone(), task, why, max })
    }

    fn note(&self, notes: Vec<SoftNote>) {
        self.shared.peek().note(notes);
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        let run = self.shared.core.view().run(id).map(|run| run.map(|run| self.shown(run)));
        self.durable(run).await
    }

    async fn run_of_key(&self, task: TaskId, key: &str) -> Result<Option<Run>, Error> {
        match self.shared.core.view().key(task, key)? {
            Some(id) => self.run(id).await,
            None => Ok(None),
        }
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run, RunId>, Error> {
        let filter = filter.clone();
        self.scan(move |shared, now| {
            let shown = |run| shared.peek().shown(run, now);
            let at_work = || shared.peek().at_work().map(|run| run.id).collect();
            read::runs(&shared.core.view(), &filter, shown, at_work)
        })
        .await
    }

    async fn unfinished(&self, task: TaskId) -> Result<Unfinished, Error> {
        Ok(self.shared.peek().unfinished(task))
    }

    async fn begun_before(&self, epoch: u64, after: Option<RunId>, limit: usize) -> Result<Vec<Run>, Error> {
        Ok(self.shared.peek().begun_before(epoch, after, limit))
    }

    async fn untold(&self, limit: usize) -> Result<Vec<RunId>, Error> {
        let untold = self.shared.peek().untold(limit);
        self.durable(Ok(untold)).await
    }

    async fn told(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        answer!(self, Told, Request::Told { session: session.clone(), runs })
    }

    fn hints(&self) -> Hints {
        self.shared.hints()
    }
}

#[async_trait]
impl HistoryStore for FjallStore {
    fn overgrown(&self, max: usize) -> Vec<TaskId> {
        self.shared.peek().take_overgrown(max)
    }

    async fn prune(&self, session: &Session, task: TaskId, max: usize) -> Result<Pruned, Error> {
        answer!(self, Pruned, Request::Prune { session: session.clone(), task, max })
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        self.shared.core.quarantine.list()
    }

    fn stats(&self) -> StoreStats {
        self.shared.peek().stats(self.shared.sequence())
    }

    fn tallies(&self) -> Tallies {
        self.shared.peek().tallies().clone()
    }
}
