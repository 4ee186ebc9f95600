//! A node without a scheduler and an executor: a store, a session, a task, and the steps of a run's life.
#![allow(dead_code, reason = "each test takes the steps that it needs")]

use jiff::Timestamp;
use punctual_clock::{Clock, IdGenerator, SystemClock};
use punctual_model::*;
use punctual_store::fjall::{FjallStore, FreeSpace, Options};
use punctual_store::*;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) store: Arc<FjallStore>,
    pub(crate) session: Session,
    pub(crate) clock: SystemClock,
    ids: Arc<IdGenerator>,
    task: Arc<Task>,
}

/// How full the disk of a test machine is must not matter.
pub(crate) fn options() -> Options {
    Options { free_space: FreeSpace::Bytes(0), ..Options::default() }
}

impl Node {
    /// Opens a store and makes sure of a task without limits.
    pub(crate) async fn open(path: &Path, clock: &SystemClock) -> Outcome<Self> {
        let store = FjallStore::open(path, Arc::new(clock.clone()), &options())?;
        let session = store.open_session("node").await?;
        let ids = IdGenerator::new(Arc::new(clock.clone()));
        ids.raise_floor(session.id_floor);
        let task = match store.task_by_name(&TaskType::default(), "noop").await? {
            Some(found) => found.task,
            None => {
                let task = Arc::new(Task {
                    id: ids.next_id().into(),
                    kind: TaskType::default(),
                    revision: 1,
                    created_at: clock.now(),
                    updated_at: clock.now(),
                    owner: Owner::Local,
                    metadata: serde_json::Map::new(),
                    spec: TaskSpec::new("noop", Work::handler("noop")),
                });
                let put = PutTask { task: task.clone(), expect: Expect::Absent, raise_checkpoint: None };
                store.put_task(&session, put).await?;
                task
            }
        };
        Ok(Self { store: Arc::new(store), session, clock: clock.clone(), ids: Arc::new(ids), task })
    }

    /// Hands in so many runs that are ready now; up to `reserved` of them begin at once.
    pub(crate) async fn accept(&self, count: usize, reserved: usize) -> Outcome<Vec<Run>> {
        let now = self.clock.now();
        let runs = (0..count).map(|_| self.run(now)).collect();
        let answers = self.store.enqueue(&self.session, runs, reserved).await?;
        let runs = answers.into_iter().map(|answer| match answer {
            Enqueued::Accepted(run) => Ok(run),
            other => Err(format!("not accepted: {other:?}").into()),
        });
        runs.collect()
    }

    fn run(&self, now: Timestamp) -> Run {
        Run {
            id: self.ids.next_id().into(),
            task: self.task.id,
            revision: 1,
            trigger: Trigger::Manual,
            scheduled_for: now,
            run_at: now,
            accepted_at: now,
            life: Life::born(RunState::Queued),
            started_at: None,
            finished_at: None,
            forced: false,
            params: serde_json::Value::Null,
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: restart::RestartCount::default(),
            outcome: None,
            saved: serde_json::Value::Null,
            local: serde_json::Value::Null,
            events: event::EventLog::default(),
        }
    }

    /// Writes that claimed runs begin.
    pub(crate) async fn begin(&self, runs: &[Run]) -> Outcome<Vec<Run>> {
        let event = RunEvent::Claimed { epoch: self.session.epoch };
        self.step(runs, event, Patch { revision: Some(1), ..Patch::default() }).await
    }

    /// Writes that runs at work have ended well.
    pub(crate) async fn end(&self, runs: &[Run]) -> Outcome<Vec<Run>> {
        let patch = Patch { outcome: Some(punctual_model::Outcome::success()), ..Patch::default() };
        self.step(runs, RunEvent::Succeeded, patch).await
    }

    async fn step(&self, runs: &[Run], event: RunEvent, patch: Patch) -> Outcome<Vec<Run>> {
        let at = self.clock.now();
        let edge = |run: &Run| Edge { run: run.id, fence: Fence::of(run), event, at, patch: patch.clone() };
        let answers = self.store.transition(&self.session, runs.iter().map(edge).collect()).await?;
        let runs = answers.into_iter().map(|answer| match answer {
            EdgeAnswer::Applied(run) => Ok(run),
            other => Err(format!("not applied: {other:?}").into()),
        });
        runs.collect()
    }
}

/// Bytes of memory that this process has.
pub(crate) fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}
