//! Wraps any store and makes it fail where a test wants it to, as a disk would: before the write, or after it,
//! so that nobody knows whether it is there. From then on everything fails, as in the real one.

use crate::error::Error;
use crate::hints::Hints;
use crate::store::{
    CancelAnswer, Claims, Edge, EdgeAnswer, Enqueued, HistoryStore, Materialise, Materialised, Page, Pruned,
    PutAnswer, PutTask, Quarantined, RunFilter, RunStore, Session, SessionStore, SoftNote, Store, StoreStats,
    StoredTask, StoredTiming, TaskFilter, TaskStore,
};
use crate::tally::Tallies;
use async_trait::async_trait;
use punctual_model::overlap::Unfinished;
use punctual_model::{CancelWhy, Run, RunId, Task, TaskId, TaskType};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happens to one writing call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is let through.
    Pass,
    /// It fails and nothing of it is written.
    FailBefore,
    /// It is written, and answered as failed.
    FailAfter,
    /// It alone is answered with this error and not written; the store goes on (`Full`, `TooLarge`, `Fenced`).
    Refuse(Error),
}

/// Decides about each writing call, by its name in the contract and its number, counted from 1.
pub type Plan = Box<dyn FnMut(&'static str, u64) -> Verdict + Send>;

/// A store that fails on purpose.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
}

struct State {
    calls: u64,
    plan: Plan,
    failed: Option<Error>,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("calls", &state.calls)
            .field("failed", &state.failed)
            .finish_non_exhaustive()
    }
}

impl FaultyStore {
    /// Nothing fails until a plan says so.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self::planned(inner, |_, _| Verdict::Pass)
    }

    /// The n-th writing call fails before it writes.
    #[must_use]
    pub fn failing_before(inner: Arc<dyn Store>, nth: u64) -> Self {
        Self::planned(inner, move |_, n| if n == nth { Verdict::FailBefore } else { Verdict::Pass })
    }

    /// The n-th writing call writes and is answered as failed.
    #[must_use]
    pub fn failing_after(inner: Arc<dyn Store>, nth: u64) -> Self {
        Self::planned(inner, move |_, n| if n == nth { Verdict::FailAfter } else { Verdict::Pass })
    }

    /// The plan decides.
    #[must_use]
    pub fn planned(
        inner: Arc<dyn Store>,
        plan: impl FnMut(&'static str, u64) -> Verdict + Send + 'static,
    ) -> Self {
        Self { inner, state: Mutex::new(State { calls: 0, plan: Box::new(plan), failed: None }) }
    }

    /// Another plan from the next writing call on; the count goes on.
    pub fn plan(&self, plan: impl FnMut(&'static str, u64) -> Verdict + Send + 'static) {
        self.lock().plan = Box::new(plan);
    }

    /// How many writing calls there have been.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> Result<(), Error> {
        self.lock().failed.clone().map_or(Ok(()), Err)
    }

    async fn write<V: Send>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<V, Error>> + Send,
    ) -> Result<V, Error> {
        let verdict = {
            let mut state = self.lock();
            state.failed.clone().map_or(Ok(()), Err)?;
            state.calls += 1;
            let calls = state.calls;
            let verdict = (state.plan)(name, calls);
            if verdict == Verdict::FailBefore {
                return Err(Self::fail(&mut state, name));
            }
            verdict
        };
        match verdict {
            Verdict::Refuse(error) => Err(error),
            Verdict::FailAfter => {
                let _ = call.await;
                Err(Self::fail(&mut self.lock(), name))
            }
            Verdict::Pass | Verdict::FailBefore => call.await,
        }
    }

    fn fail(state: &mut State, name: &str) -> Error {
        let error = Error::Failed { reason: format!("made to fail in call {} ({name})", state.calls) };
        state.failed = Some(error.clone());
        error
    }
}

#[async_trait]
impl SessionStore for FaultyStore {
    async fn open_session(&self, node: &str) -> Result<Session, Error> {
        self.write("open_session", self.inner.open_session(node)).await
    }

    async fn close_session(&self, session: &Session) -> Result<(), Error> {
        self.write("close_session", self.inner.close_session(session)).await
    }
}

#[async_trait]
impl TaskStore for FaultyStore {
    async fn put_task(&self, session: &Session, put: PutTask) -> Result<PutAnswer, Error> {
        self.write("put_task", self.inner.put_task(session, put)).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        self.alive()?;
        self.inner.task(id).await
    }

    async fn task_revision(&self, id: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        self.alive()?;
        self.inner.task_revision(id, revision).await
    }

    async fn task_by_name(&self, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error> {
        self.alive()?;
        self.inner.task_by_name(kind, name).await
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Page<StoredTask, TaskId>, Error> {
        self.alive()?;
        self.inner.tasks(filter).await
    }

    async fn timings(
        &self,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Page<StoredTiming, TaskId>, Error> {
        self.alive()?;
        self.inner.timings(after, limit).await
    }

    async fn delete_task(&self, session: &Session, id: TaskId, revision: Option<u64>) -> Result<bool, Error> {
        self.write("delete_task", self.inner.delete_task(session, id, revision)).await
    }

    async fn deleted_with_open_runs(&self) -> Result<Vec<TaskId>, Error> {
        self.alive()?;
        self.inner.deleted_with_open_runs().await
    }
}

#[async_trait]
impl RunStore for FaultyStore {
    async fn materialise(
        &self,
        session: &Session,
        dues: Vec<Materialise>,
    ) -> Result<Vec<Materialised>, Error> {
        self.write("materialise", self.inner.materialise(session, dues)).await
    }

    async fn enqueue(
        &self,
        session: &Session,
        runs: Vec<Run>,
        reserved: usize,
    ) -> Result<Vec<Enqueued>, Error> {
        self.write("enqueue", self.inner.enqueue(session, runs, reserved)).await
    }

    async fn claim(&self, session: &Session, max: usize) -> Result<Claims, Error> {
        self.alive()?;
        self.inner.claim(session, max).await
    }

    async fn release(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        self.alive()?;
        self.inner.release(session, runs).await
    }

    async fn transition(&self, session: &Session, edges: Vec<Edge>) -> Result<Vec<EdgeAnswer>, Error> {
        self.write("transition", self.inner.transition(session, edges)).await
    }

    async fn cancel(
        &self,
        session: &Session,
        runs: Vec<(RunId, CancelWhy)>,
    ) -> Result<Vec<CancelAnswer>, Error> {
        self.write("cancel", self.inner.cancel(session, runs)).await
    }

    async fn cancel_waiting(
        &self,
        session: &Session,
        task: TaskId,
        why: CancelWhy,
        max: usize,
    ) -> Result<Vec<Run>, Error> {
        self.write("cancel_waiting", self.inner.cancel_waiting(session, task, why, max)).await
    }

    fn note(&self, notes: Vec<SoftNote>) {
        if self.alive().is_ok() {
            self.inner.note(notes);
        }
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        self.alive()?;
        self.inner.run(id).await
    }

    async fn run_of_key(&self, task: TaskId, key: &str) -> Result<Option<Run>, Error> {
        self.alive()?;
        self.inner.run_of_key(task, key).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run, RunId>, Error> {
        self.alive()?;
        self.inner.runs(filter).await
    }

    async fn unfinished(&self, task: TaskId) -> Result<Unfinished, Error> {
        self.alive()?;
        self.inner.unfinished(task).await
    }

    async fn begun_before(&self, epoch: u64, after: Option<RunId>, limit: usize) -> Result<Vec<Run>, Error> {
        self.alive()?;
        self.inner.begun_before(epoch, after, limit).await
    }

    async fn untold(&self, limit: usize) -> Result<Vec<RunId>, Error> {
        self.alive()?;
        self.inner.untold(limit).await
    }

    async fn told(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        self.write("told", self.inner.told(session, runs)).await
    }

    fn hints(&self) -> Hints {
        self.inner.hints()
    }
}

#[async_trait]
impl HistoryStore for FaultyStore {
    fn overgrown(&self, max: usize) -> Vec<TaskId> {
        self.inner.overgrown(max)
    }

    async fn prune(&self, session: &Session, task: TaskId, max: usize) -> Result<Pruned, Error> {
        self.write("prune", self.inner.prune(session, task, max)).await
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        self.inner.quarantined()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }

    fn tallies(&self) -> Tallies {
        self.inner.tallies()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use jiff::Timestamp;
    use punctual_clock::VirtualClock;

    async fn opened(faulty: &FaultyStore) -> [Result<Session, Error>; 3] {
        [faulty.open_session("n").await, faulty.open_session("n").await, faulty.open_session("n").await]
    }

    fn memory() -> Arc<MemoryStore> {
        Arc::new(MemoryStore::new(Arc::new(VirtualClock::new(Timestamp::UNIX_EPOCH))))
    }

    #[tokio::test]
    async fn the_nth_writing_call_fails_and_everything_after_it_too() {
        for (after, written) in [(false, 1), (true, 2)] {
            let memory = memory();
            let inner: Arc<dyn Store> = memory.clone();
            let faulty = if after {
                FaultyStore::failing_after(inner, 2)
            } else {
                FaultyStore::failing_before(inner, 2)
            };
            let [first, second, third] = opened(&faulty).await;
            assert_eq!(first.map(|session| session.epoch), Ok(1));
            assert!(matches!(second, Err(Error::Failed { .. })));
            assert!(matches!(third, Err(Error::Failed { .. })));
            assert!(matches!(faulty.tasks(&TaskFilter::default()).await, Err(Error::Failed { .. })));
            assert_eq!(memory.stats().commits, written, "written before the failure: {after}");
        }
    }

    #[tokio::test]
    async fn a_refusal_concerns_one_call_alone() {
        let full = Error::Full { free: 1, needed: 2 };
        let plan = full.clone();
        let faulty = FaultyStore::planned(memory(), move |name, n| match (name, n) {
            ("open_session", 2) => Verdict::Refuse(plan.clone()),
            _ => Verdict::Pass,
        });
        let [first, second, third] = opened(&faulty).await;
        assert_eq!(first.map(|session| session.epoch), Ok(1));
        assert_eq!(second, Err(full));
        assert_eq!(third.map(|session| session.epoch), Ok(2));
        assert_eq!(faulty.calls(), 3);
    }
}
