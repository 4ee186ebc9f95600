//! One node on a bench: what every test here starts from.

use crate::driver::Attempt;
use crate::executor::{Dispatch, Executor as _};
use crate::hook::MakeHook;
use crate::promise::RunPromise;
use crate::reservation::Reservation;
use crate::scripted::{Act, ScriptedDriver};
use crate::{Limits, Pool, PoolBuilder};
use jiff::{SignedDuration, Timestamp};
use punctual_clock::{Chance, Clock, VirtualClock};
use punctual_model::event::EventKind;
use punctual_model::restart::RestartPolicy;
use punctual_model::run::Trigger;
use punctual_model::{Life, Owner, Run, RunId, RunState, Task, TaskId, TaskSpec, TaskType, Work};
use punctual_store::{
    Enqueued, Expect, MemoryStore, PutTask, RunStore as _, Session, SessionStore as _, Store, TaskStore as _,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

pub(crate) fn at(seconds: i64) -> Timestamp {
    START + SignedDuration::from_secs(seconds)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) struct Bench {
    pub(crate) clock: VirtualClock,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) session: Session,
    pub(crate) driver: ScriptedDriver,
    pub(crate) pool: Pool,
    hooks: Vec<Arc<dyn MakeHook>>,
    ids: AtomicU64,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Limits { in_process: 8, processes: 2 }).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let clock = VirtualClock::new(START);
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self::over(clock, store, limits, 1, Vec::new()).await
    }

    /// A node whose attempts have hooks, which it keeps when it dies and comes back.
    pub(crate) async fn hooked(hooks: Vec<Arc<dyn MakeHook>>) -> Self {
        let clock = VirtualClock::new(START);
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self::over(clock, store, Limits { in_process: 8, processes: 2 }, 1, hooks).await
    }

    async fn over(
        clock: VirtualClock,
        store: Arc<MemoryStore>,
        limits: Limits,
        first_id: u64,
        hooks: Vec<Arc<dyn MakeHook>>,
    ) -> Self {
        let session = store.open_session("bench").await.unwrap();
        let driver = ScriptedDriver::named("handler", Arc::new(clock.clone()));
        let builder = Pool::builder(
            Arc::clone(&store) as Arc<dyn Store>,
            session.clone(),
            Arc::new(clock.clone()) as Arc<dyn Clock>,
        )
        .driver(driver.clone())
        .driver(driver.also_named("shell"))
        .driver(driver.also_named("process"))
        .chance(Arc::new(Chance::from_seed(7)))
        .limits(limits);
        let pool = hooks.iter().cloned().fold(builder, PoolBuilder::hook).build();
        pool.start();
        Self { clock, store, session, driver, pool, hooks, ids: AtomicU64::new(first_id) }
    }

    /// The process dies, and another one starts on what the store remembers; what was begun is not taken up
    /// yet.
    pub(crate) async fn crash(self) -> Self {
        let store = Arc::new(self.store.crash());
        self.pool.abandon();
        self.clock.settle().await;
        let next = self.ids.load(Ordering::Relaxed);
        let limits = Limits { in_process: 8, processes: 2 };
        Self::over(self.clock.clone(), store, limits, next, self.hooks).await
    }

    /// Another session over the same store, after this one has stopped.
    pub(crate) async fn restart(self) -> Self {
        let next = self.ids.load(Ordering::Relaxed);
        let limits = Limits { in_process: 8, processes: 2 };
        Self::over(self.clock.clone(), Arc::clone(&self.store), limits, next, self.hooks).await
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn acts(&self, acts: impl Into<Vec<Act>>) {
        self.driver.acts(acts);
    }

    /// What attempts of the task with this name do; all others succeed.
    pub(crate) fn act_of(&self, name: &'static str, act: Act) {
        let act = move |attempt: &Attempt| match attempt.task.spec.name == name {
            true => act.clone(),
            false => Act::Succeed,
        };
        self.driver.script(act);
    }

    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn task(&self, spec: TaskSpec) -> Arc<Task> {
        let task = Arc::new(Task {
            id: TaskId::new(self.id()).unwrap(),
            kind: TaskType::default(),
            revision: 1,
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
            owner: Owner::default(),
            metadata: Default::default(),
            spec,
        });
        let put = PutTask { task: Arc::clone(&task), expect: Expect::Absent, raise_checkpoint: None };
        self.store.put_task(&self.session, put).await.unwrap();
        task
    }

    /// A task whose work is scripted, under a name.
    pub(crate) async fn handler(&self, name: &str) -> Arc<Task> {
        self.task(TaskSpec::new(name, Work::handler(name))).await
    }

    /// The next revision of a task, in the store and told to the executor.
    pub(crate) async fn change(&self, task: &Task, edit: impl FnOnce(&mut TaskSpec)) -> Arc<Task> {
        let mut next = Task { revision: task.revision + 1, ..task.clone() };
        edit(&mut next.spec);
        let task = Arc::new(next);
        let expect = Expect::Revision(task.revision - 1);
        let put = PutTask { task: Arc::clone(&task), expect, raise_checkpoint: None };
        self.store.put_task(&self.session, put).await.unwrap();
        self.pool.update(Arc::clone(&task));
        task
    }

    /// A run of a task, not yet in the store.
    pub(crate) fn run_of(&self, task: &Task) -> Run {
        let now = self.clock.now();
        Run {
            id: RunId::new(self.id()).unwrap(),
            task: task.id,
            revision: task.revision,
            trigger: Trigger::Manual,
            scheduled_for: now,
            run_at: now,
            accepted_at: now,
            life: Life::born(RunState::Queued),
            started_at: None,
            finished_at: None,
            forced: false,
            params: Default::default(),
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: Default::default(),
            outcome: None,
            saved: Default::default(),
            local: Default::default(),
            events: Default::default(),
        }
    }

    /// Puts runs into the store, with places for so many.
    pub(crate) async fn enqueue(&self, runs: Vec<Run>, reserved: usize) -> Vec<Run> {
        let answers = self.store.enqueue(&self.session, runs, reserved).await.unwrap();
        answers
            .into_iter()
            .map(|answer| match answer {
                Enqueued::Accepted(run) | Enqueued::Existing(run) => run,
                Enqueued::TaskGone => panic!("the task is gone"),
            })
            .collect()
    }

    /// Asks for a run of a task, as the coordinator would.
    pub(crate) async fn go(&self, task: &Arc<Task>) -> Arc<dyn RunPromise> {
        self.go_with(task, self.run_of(task)).await
    }

    pub(crate) async fn go_with(&self, task: &Arc<Task>, run: Run) -> Arc<dyn RunPromise> {
        let run = self.enqueue(vec![run], 0).await.remove(0);
        let dispatch = Dispatch { run, task: Arc::clone(task) };
        self.pool.execute_promised(vec![dispatch], Reservation::none()).await.unwrap().remove(0)
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.store.run(id).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, id: RunId) -> RunState {
        self.run(id).await.state()
    }

    /// Lets time pass, with all its consequences.
    pub(crate) async fn pass(&self, duration: Duration) {
        self.clock.advance(duration).await;
    }

    pub(crate) async fn settle(&self) {
        self.clock.settle().await;
    }

    /// A dispatch of a run as the store has it.
    pub(crate) async fn dispatch(&self, id: RunId) -> Dispatch {
        let run = self.run(id).await;
        let task = self.store.task_revision(run.task, run.revision).await.unwrap().unwrap();
        Dispatch { run, task }
    }

    /// That nobody is at work and nobody is remembered.
    #[track_caller]
    pub(crate) fn nothing_left(&self) {
        assert_eq!(self.pool.engine.registry.entries(), 0, "entries of the registry");
        assert_eq!(self.driver.at_once(), 0, "attempts alive");
        let limits = self.pool.engine.seats.free(crate::Class::InProcess);
        assert_eq!(limits, 8, "free seats");
    }
}

/// So many restarts, a minute apart at first.
pub(crate) fn restarts(attempts: u32) -> RestartPolicy {
    RestartPolicy::attempts(attempts, seconds(60))
}

/// The names of a run's events.
pub(crate) fn events(run: &Run) -> Vec<&'static str> {
    run.events
        .iter()
        .map(|event| match &event.kind {
            EventKind::Restarting { .. } => "restarting",
            EventKind::NotRestarting { .. } => "not restarting",
            EventKind::Stopping { .. } => "stopping",
            EventKind::RestartAsked { .. } => "restart asked",
            EventKind::Killed => "killed",
            EventKind::KillFailed { .. } => "kill failed",
            EventKind::Interrupted { .. } => "interrupted",
            EventKind::LostAttempt { .. } => "lost attempt",
            EventKind::Reattached => "reattached",
            EventKind::OutputFailed { .. } => "output failed",
            EventKind::HookFailed { .. } => "hook failed",
            EventKind::Updated { .. } => "updated",
            EventKind::UpdateDeferred { .. } => "update deferred",
            EventKind::Message { .. } => "message",
            EventKind::ShutdownDelay { .. } => "shutdown delay",
            EventKind::ShutdownDelaySkipped { .. } => "shutdown delay skipped",
            EventKind::BuildingDirectory => "building directory",
            EventKind::DownloadingArtifacts { .. } => "downloading artifacts",
            EventKind::ArtifactFailed { .. } => "artifact failed",
            other => panic!("no test has asked for {other:?} yet"),
        })
        .collect()
}
