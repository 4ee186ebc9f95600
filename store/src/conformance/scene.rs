//! What the behaviours have in common: a session, ids that rise, and short words for common steps.

use super::Subject;
use crate::store::{
    CancelAnswer, Claim, Edge, EdgeAnswer, Enqueued, Expect, Fence, Materialise, Materialised, Patch,
    PutAnswer, PutTask, RunFilter, Session, Store,
};
use jiff::{SignedDuration, Timestamp};
use punctual_model::event::EventLog;
use punctual_model::restart::RestartCount;
use punctual_model::task::Metadata;
use punctual_model::{
    CancelWhy, Life, Outcome, Owner, Run, RunEvent, RunId, RunState, Task, TaskId, TaskSpec, TaskType,
    Trigger, Work,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// One test's view of a store.
pub struct Scene<'a> {
    subject: &'a mut dyn Subject,
    /// The session in use.
    pub session: Session,
    next_id: u64,
}

impl std::fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene").field("session", &self.session).finish_non_exhaustive()
    }
}

#[expect(missing_docs, reason = "the names say what the steps do, and the tests are the readers")]
#[expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]
impl<'a> Scene<'a> {
    pub async fn new(subject: &'a mut dyn Subject) -> Self {
        let session = subject.store().open_session("node").await.unwrap();
        Self { subject, session, next_id: 100 }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.subject.store()
    }

    pub fn subject(&mut self) -> &mut dyn Subject {
        self.subject
    }

    pub fn now(&self) -> Timestamp {
        punctual_clock::Clock::now(&self.subject.clock())
    }

    pub fn advance(&self, seconds: u64) {
        self.subject.clock().advance_now(Duration::from_secs(seconds));
    }

    /// This many seconds from now.
    pub fn at(&self, seconds: i64) -> Timestamp {
        self.now() + SignedDuration::from_secs(seconds)
    }

    /// Kills the store, opens it again and opens a new session.
    pub async fn reopen(&mut self) {
        self.subject.reopen().await;
        self.session = self.store().open_session("node").await.unwrap();
    }

    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A definition that is not stored yet.
    pub fn draft(&mut self, name: &str, change: impl FnOnce(&mut TaskSpec)) -> Task {
        let mut spec = TaskSpec::new(name, Work::shell("true"));
        change(&mut spec);
        Task {
            id: TaskId::new(self.id()).unwrap(),
            kind: TaskType::default(),
            revision: 1,
            created_at: self.now(),
            updated_at: self.now(),
            owner: Owner::default(),
            metadata: Metadata::default(),
            spec,
        }
    }

    pub async fn put(&self, task: &Task, expect: Expect, raise: Option<Timestamp>) -> PutAnswer {
        let put = PutTask { task: Arc::new(task.clone()), expect, raise_checkpoint: raise };
        self.store().put_task(&self.session, put).await.unwrap()
    }

    pub async fn task_with(&mut self, name: &str, change: impl FnOnce(&mut TaskSpec)) -> Task {
        let task = self.draft(name, change);
        let answer = self.put(&task, Expect::Absent, None).await;
        assert!(matches!(answer, PutAnswer::Stored(_)), "{answer:?}");
        task
    }

    pub async fn task(&mut self, name: &str) -> Task {
        self.task_with(name, |_| ()).await
    }

    /// Stores the next revision of a task.
    pub async fn change(&self, task: &Task, change: impl FnOnce(&mut TaskSpec)) -> Task {
        let mut next = task.clone();
        next.revision += 1;
        change(&mut next.spec);
        let answer = self.put(&next, Expect::Revision(task.revision), None).await;
        assert!(matches!(answer, PutAnswer::Stored(_)), "{answer:?}");
        next
    }

    /// A run by hand that is ready now and not stored yet.
    pub fn draft_run(&mut self, task: &Task) -> Run {
        Run {
            id: RunId::new(self.id()).unwrap(),
            task: task.id,
            revision: task.revision,
            trigger: Trigger::Manual,
            scheduled_for: self.now(),
            run_at: self.now(),
            accepted_at: self.now(),
            life: Life::born(RunState::Queued),
            started_at: None,
            finished_at: None,
            forced: false,
            params: Value::Null,
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: RestartCount::default(),
            outcome: None,
            saved: Value::Null,
            local: Value::Null,
            events: EventLog::default(),
        }
    }

    /// A due run, ready at its due time.
    pub fn draft_due(&mut self, task: &Task, due: Timestamp) -> Run {
        Run { trigger: Trigger::Schedule, scheduled_for: due, run_at: due, ..self.draft_run(task) }
    }

    pub async fn enqueue_all(&self, runs: Vec<Run>, reserved: usize) -> Vec<Run> {
        let answers = self.store().enqueue(&self.session, runs, reserved).await.unwrap();
        let accepted = |answer| match answer {
            Enqueued::Accepted(run) => run,
            other => panic!("not accepted: {other:?}"),
        };
        answers.into_iter().map(accepted).collect()
    }

    /// Stores a run by hand.
    pub async fn queued(&mut self, task: &Task) -> Run {
        let run = self.draft_run(task);
        self.enqueue_all(vec![run], 0).await.remove(0)
    }

    pub async fn queued_many(&mut self, task: &Task, count: usize) -> Vec<RunId> {
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let runs: Vec<_> = (ids.len()..count).take(5_000).map(|_| self.draft_run(task)).collect();
            ids.extend(self.enqueue_all(runs, 0).await.iter().map(|run| run.id));
        }
        ids
    }

    /// Stores one due of a task.
    pub async fn due(&mut self, task: &Task, seen: Option<Timestamp>, births: Vec<Run>) -> Materialised {
        let checkpoint = births.iter().map(|run| run.scheduled_for).max().unwrap_or(self.now());
        let due = Materialise {
            task: task.id,
            revision: task.revision,
            seen_checkpoint: seen,
            checkpoint,
            births,
            replaces: Vec::new(),
            reserved: 0,
        };
        self.store().materialise(&self.session, vec![due]).await.unwrap().remove(0)
    }

    pub async fn claims(&self, max: usize) -> Vec<Claim> {
        self.store().claim(&self.session, max).await.unwrap().claims
    }

    pub async fn claimed(&self, max: usize) -> Vec<RunId> {
        self.claims(max).await.iter().map(|claim| claim.run.id).collect()
    }

    pub fn edge(&self, run: &Run, event: RunEvent) -> Edge {
        let patch = Patch::default();
        Edge { run: run.id, fence: Fence::of(run), event, at: self.now(), patch }
    }

    pub fn claim_edge(&self, run: &Run, revision: u64) -> Edge {
        let mut edge = self.edge(run, RunEvent::Claimed { epoch: self.session.epoch });
        edge.patch.revision = Some(revision);
        edge
    }

    pub async fn step(&self, edge: Edge) -> EdgeAnswer {
        self.store().transition(&self.session, vec![edge]).await.unwrap().remove(0)
    }

    pub async fn applied(&self, edge: Edge) -> Run {
        let event = edge.event;
        match self.step(edge).await {
            EdgeAnswer::Applied(run) => run,
            other => panic!("{event:?} was not applied: {other:?}"),
        }
    }

    pub async fn happens(&self, run: &Run, event: RunEvent) -> Run {
        self.applied(self.edge(run, event)).await
    }

    /// Ends a run with an outcome.
    pub async fn ends(&self, run: &Run, event: RunEvent, outcome: Outcome) -> Run {
        let mut edge = self.edge(run, event);
        edge.patch.outcome = Some(outcome);
        self.applied(edge).await
    }

    pub async fn begin(&self, claim: &Claim) -> Run {
        self.applied(self.claim_edge(&claim.run, claim.task.revision)).await
    }

    /// Claims and begins up to so many runs.
    pub async fn start(&self, max: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        for claim in self.claims(max).await {
            runs.push(self.begin(&claim).await);
        }
        runs
    }

    pub async fn start_one(&self) -> Run {
        let mut runs = self.start(1).await;
        assert_eq!(runs.len(), 1, "nothing to start");
        runs.remove(0)
    }

    /// A run by hand that has begun.
    pub async fn at_work(&mut self, task: &Task) -> Run {
        let run = self.queued(task).await;
        let started = self.start_one().await;
        assert_eq!(started.id, run.id);
        started
    }

    /// A run by hand that has ended.
    pub async fn ended(&mut self, task: &Task) -> Run {
        let run = self.at_work(task).await;
        self.happens(&run, RunEvent::Succeeded).await
    }

    pub async fn cancel(&self, run: RunId) -> CancelAnswer {
        let wish = vec![(run, CancelWhy::Asked)];
        self.store().cancel(&self.session, wish).await.unwrap().remove(0)
    }

    pub async fn read(&self, id: RunId) -> Run {
        self.store().run(id).await.unwrap().unwrap()
    }

    pub async fn list(&self, filter: RunFilter) -> Vec<RunId> {
        self.store().runs(&filter).await.unwrap().items.iter().map(|run| run.id).collect()
    }
}
