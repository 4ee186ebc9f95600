//! The store as the world sees it: every answer of the real one is told to the truth before the engine hears it.
//! Inside of the faults, so that it also knows what was written and answered as failed.

use crate::truth::{Dealt, Truth};
use async_trait::async_trait;
use jiff::Timestamp;
use punctual::clock::{Clock, VirtualClock};
use punctual::model::event::EventKind;
use punctual::model::overlap::Unfinished;
use punctual::model::{CancelWhy, Run, RunId, Task, TaskId, TaskType};
use punctual::store::{
    CancelAnswer, Claims, Edge, EdgeAnswer, Enqueued, Error, Hints, HistoryStore, Materialise, Materialised,
    MemoryStore, Page, Pruned, PutAnswer, PutTask, Quarantined, RunFilter, RunStore, Session, SessionStore,
    SoftNote, StoreStats, StoredTask, StoredTiming, TaskFilter, TaskStore,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone)]
pub(crate) struct Watched {
    inner: Arc<MemoryStore>,
    clock: VirtualClock,
    truth: Arc<Mutex<Truth>>,
    /// Called when the store fails by itself.
    failed: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

pub(crate) fn lock(truth: &Mutex<Truth>) -> MutexGuard<'_, Truth> {
    truth.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    pub(crate) fn new(
        inner: Arc<MemoryStore>,
        clock: VirtualClock,
        truth: Arc<Mutex<Truth>>,
        failed: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { inner, clock, truth, failed }
    }

    /// Takes note of a failure on its way.
    fn heard<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Failed { .. }) = &answer {
            (self.failed)();
        }
        answer
    }

    /// The run that an ended one says it is told by.
    async fn teller_of(&self, run: &Run) -> Option<Run> {
        if !run.state().is_terminal() {
            return None;
        }
        let mut told = None;
        for event in run.events.iter() {
            if let EventKind::Message { source, text } = &event.kind
                && source.starts_with("on_")
            {
                told = text.strip_prefix("told by the run ").and_then(|id| id.parse().ok());
            }
        }
        self.inner.run(told?).await.ok().flatten()
    }

    fn truth(&self) -> (MutexGuard<'_, Truth>, Timestamp) {
        (lock(&self.truth), self.clock.now())
    }
}

#[async_trait]
impl SessionStore for Watched {
    async fn open_session(&self, node: &str) -> Result<Session, Error> {
        let session = self.heard(self.inner.open_session(node).await)?;
        self.truth().0.session(session.epoch, session.id_floor);
        Ok(session)
    }

    async fn close_session(&self, session: &Session) -> Result<(), Error> {
        self.inner.close_session(session).await
    }
}

#[async_trait]
impl TaskStore for Watched {
    async fn put_task(&self, session: &Session, put: PutTask) -> Result<PutAnswer, Error> {
        let raised = put.raise_checkpoint.is_some();
        let answer = self.heard(self.inner.put_task(session, put).await)?;
        if let PutAnswer::Stored(stored) = &answer {
            let (mut truth, now) = self.truth();
            truth.written(session.epoch, "a task");
            truth.task_put(stored, raised, now);
        }
        Ok(answer)
    }

    async fn task(&self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        self.inner.task(id).await
    }

    async fn task_revision(&self, id: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        self.inner.task_revision(id, revision).await
    }

    async fn task_by_name(&self, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error> {
        self.inner.task_by_name(kind, name).await
    }

    async fn tasks(&self, filter: &TaskFilter) -> Result<Page<StoredTask, TaskId>, Error> {
        self.inner.tasks(filter).await
    }

    async fn timings(
        &self,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Page<StoredTiming, TaskId>, Error> {
        self.inner.timings(after, limit).await
    }

    async fn delete_task(&self, session: &Session, id: TaskId, revision: Option<u64>) -> Result<bool, Error> {
        let deleted = self.heard(self.inner.delete_task(session, id, revision).await)?;
        if deleted {
            let (mut truth, now) = self.truth();
            truth.written(session.epoch, "a deletion");
            truth.task_deleted(id, now);
        }
        Ok(deleted)
    }

    async fn deleted_with_open_runs(&self) -> Result<Vec<TaskId>, Error> {
        self.inner.deleted_with_open_runs().await
    }
}

#[async_trait]
impl RunStore for Watched {
    async fn materialise(
        &self,
        session: &Session,
        dues: Vec<Materialise>,
    ) -> Result<Vec<Materialised>, Error> {
        let dealt: Vec<Dealt> = dues
            .iter()
            .map(|due| Dealt { task: due.task, revision: due.revision, checkpoint: due.checkpoint })
            .collect();
        let answers = self.heard(self.inner.materialise(session, dues).await)?;
        let (mut truth, now) = self.truth();
        for (dealt, answer) in dealt.iter().zip(&answers) {
            if let Materialised::Stored { births, replaced } = answer {
                truth.written(session.epoch, "a due");
                truth.materialised(dealt, births, replaced, now);
            }
        }
        drop(truth);
        Ok(answers)
    }

    async fn enqueue(
        &self,
        session: &Session,
        runs: Vec<Run>,
        reserved: usize,
    ) -> Result<Vec<Enqueued>, Error> {
        let answers = self.heard(self.inner.enqueue(session, runs, reserved).await)?;
        let (mut truth, now) = self.truth();
        for answer in &answers {
            match answer {
                Enqueued::Accepted(run) => {
                    truth.written(session.epoch, "a run");
                    truth.adopt(run, now, "accepted");
                }
                Enqueued::Existing(run) => truth.seen(run, "existing"),
                Enqueued::TaskGone => {}
            }
        }
        drop(truth);
        Ok(answers)
    }

    async fn claim(&self, session: &Session, max: usize) -> Result<Claims, Error> {
        self.inner.claim(session, max).await
    }

    async fn release(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        self.inner.release(session, runs).await
    }

    async fn transition(&self, session: &Session, edges: Vec<Edge>) -> Result<Vec<EdgeAnswer>, Error> {
        let asked: Vec<_> = edges.iter().map(|edge| (edge.fence, edge.event)).collect();
        let answers = self.heard(self.inner.transition(session, edges).await)?;
        // Nothing waits here, so nobody hears of these runs before the world does.
        let mut tellers = Vec::with_capacity(answers.len());
        for answer in &answers {
            tellers.push(match answer {
                EdgeAnswer::Applied(run) => self.teller_of(run).await,
                EdgeAnswer::Stale(_) | EdgeAnswer::Unknown => None,
            });
        }
        let (mut truth, now) = self.truth();
        for (((fence, event), answer), teller) in asked.into_iter().zip(&answers).zip(tellers) {
            match answer {
                EdgeAnswer::Applied(run) => {
                    truth.written(session.epoch, "an edge");
                    truth.edge(fence, run, now, &format!("{event:?}"));
                    truth.told(run, teller.as_ref(), now);
                }
                // Several edges of one commit may concern one run: only the last word is what is stored.
                EdgeAnswer::Stale(_) | EdgeAnswer::Unknown => truth.counts.stale += 1,
            }
        }
        drop(truth);
        Ok(answers)
    }

    async fn cancel(
        &self,
        session: &Session,
        runs: Vec<(RunId, CancelWhy)>,
    ) -> Result<Vec<CancelAnswer>, Error> {
        let answers = self.heard(self.inner.cancel(session, runs).await)?;
        let (mut truth, now) = self.truth();
        for answer in &answers {
            match answer {
                CancelAnswer::Ended(run) | CancelAnswer::Stopping(run) => {
                    truth.written(session.epoch, "a cancellation");
                    truth.moved(run, now, "cancel");
                }
                CancelAnswer::AlreadyEnded(run) => truth.seen(run, "cancel"),
                CancelAnswer::Unknown => {}
            }
        }
        drop(truth);
        Ok(answers)
    }

    async fn cancel_waiting(
        &self,
        session: &Session,
        task: TaskId,
        why: CancelWhy,
        max: usize,
    ) -> Result<Vec<Run>, Error> {
        let runs = self.heard(self.inner.cancel_waiting(session, task, why, max).await)?;
        let (mut truth, now) = self.truth();
        for run in &runs {
            truth.written(session.epoch, "a cancellation");
            truth.moved(run, now, "cancel waiting");
        }
        drop(truth);
        Ok(runs)
    }

    fn note(&self, notes: Vec<SoftNote>) {
        self.inner.note(notes);
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        self.inner.run(id).await
    }

    async fn run_of_key(&self, task: TaskId, key: &str) -> Result<Option<Run>, Error> {
        self.inner.run_of_key(task, key).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run, RunId>, Error> {
        self.inner.runs(filter).await
    }

    async fn unfinished(&self, task: TaskId) -> Result<Unfinished, Error> {
        self.inner.unfinished(task).await
    }

    async fn begun_before(&self, epoch: u64, after: Option<RunId>, limit: usize) -> Result<Vec<Run>, Error> {
        self.inner.begun_before(epoch, after, limit).await
    }

    async fn untold(&self, limit: usize) -> Result<Vec<RunId>, Error> {
        self.inner.untold(limit).await
    }

    async fn told(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error> {
        self.heard(self.inner.told(session, runs).await)
    }

    fn hints(&self) -> Hints {
        self.inner.hints()
    }
}

#[async_trait]
impl HistoryStore for Watched {
    fn overgrown(&self, max: usize) -> Vec<TaskId> {
        self.inner.overgrown(max)
    }

    async fn prune(&self, session: &Session, task: TaskId, max: usize) -> Result<Pruned, Error> {
        let pruned = self.heard(self.inner.prune(session, task, max).await)?;
        let (mut truth, _) = self.truth();
        if !pruned.runs.is_empty() {
            truth.written(session.epoch, "pruning");
            truth.pruned(&pruned.runs);
        }
        drop(truth);
        Ok(pruned)
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        self.inner.quarantined()
    }

    fn tallies(&self) -> punctual::store::Tallies {
        self.inner.tallies()
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }
}
