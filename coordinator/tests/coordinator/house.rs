//! A coordinator with everything it stands on, and a crash at any time.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use punctual_clock::{Clock, IdGenerator, VirtualClock};
use punctual_coordinator::{Coordinator, Error, OutputRemover, Parts, RunQuery, StartReport, Tasks};
use punctual_executor::{Class, Dispatch, GiveBack, MockExecutor, MockRunPromise, Reservation, RunPromise};
use punctual_model::schedule::{Cron, Every};
use punctual_model::{
    CancelWhy, CatchUp, CatchUpPolicy, LostWhy, Run, RunEvent, RunId, RunStateName, Schedule, TaskId,
    TaskSpec, Work,
};
use punctual_scheduler::Scheduler;
use punctual_scheduler::schedule::Zone;
use punctual_store::MemoryStore;
use punctual_store::{Edge, EdgeAnswer, Fence, Patch, RunFilter, Session, Store};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Thursday 2026-01-01T00:00Z.
pub(crate) const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many seconds after [`START`].
pub(crate) fn at(seconds: i64) -> Timestamp {
    START + SignedDuration::from_secs(seconds)
}

pub(crate) fn every(seconds: u64) -> Schedule {
    Schedule::Every(Every::new(secs(seconds)))
}

pub(crate) fn cron(expr: &str) -> Schedule {
    Schedule::Cron(Cron::new(expr))
}

pub(crate) fn spec(name: &str, schedules: Vec<Schedule>) -> TaskSpec {
    TaskSpec { schedules, ..TaskSpec::new(name, Work::handler("work")) }
}

pub(crate) fn catch_up_all() -> CatchUp {
    CatchUp { window: secs(400 * 86_400), ..CatchUpPolicy::All.into() }
}

/// What the executor was asked to do, in order.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Execute(Vec<Dispatch>),
    Manual(Dispatch),
    Resume(Dispatch),
    Cancel(RunId, CancelWhy),
}

/// The memory of the mocked executor.
#[derive(Debug, Default)]
pub(crate) struct Fed {
    calls: Mutex<Vec<Call>>,
    /// The changed definitions it was told of.
    pub(crate) updates: Mutex<Vec<(TaskId, u64)>>,
    seats: Mutex<usize>,
}

impl Fed {
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn push(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    /// How many workers the next reservations get.
    pub(crate) fn set_seats(&self, seats: usize) {
        *self.seats.lock().unwrap() = seats;
    }

    /// Everything handed over for execution, in order.
    pub(crate) fn dispatched(&self) -> Vec<Dispatch> {
        let runs = |call| match call {
            Call::Execute(batch) => batch,
            Call::Manual(dispatch) => vec![dispatch],
            Call::Resume(_) | Call::Cancel(..) => Vec::new(),
        };
        self.calls().into_iter().flat_map(runs).collect()
    }

    pub(crate) fn canceled(&self) -> Vec<(RunId, CancelWhy)> {
        let canceled = |call| match call {
            Call::Cancel(run, why) => Some((run, why)),
            _ => None,
        };
        self.calls().into_iter().filter_map(canceled).collect()
    }
}

fn promise(run: RunId) -> Arc<dyn RunPromise> {
    let mut promise = MockRunPromise::new();
    promise.expect_id().return_const(run);
    Arc::new(promise)
}

/// An executor that starts nothing: it writes down what it is fed, and the intent of each cancel.
fn executor(fed: &Arc<Fed>, store: &Arc<dyn Store>, session: &Session) -> MockExecutor {
    let mut mock = MockExecutor::new();
    let seen = Arc::clone(fed);
    mock.expect_reserve().returning(move |_, wanted| {
        let seats = *seen.seats.lock().unwrap();
        let give_back: GiveBack = Arc::new(|_, _| {});
        Reservation::new(Class::InProcess, wanted.min(seats), &give_back)
    });
    let seen = Arc::clone(fed);
    mock.expect_execute().returning(move |batch, _| {
        seen.push(Call::Execute(batch));
        Ok(())
    });
    let seen = Arc::clone(fed);
    mock.expect_run_manually().returning(move |dispatch, _| {
        let id = dispatch.run.id;
        seen.push(Call::Manual(dispatch));
        Ok(promise(id))
    });
    let (seen, to, with) = (Arc::clone(fed), Arc::clone(store), session.clone());
    mock.expect_resume().returning(move |dispatch| {
        seen.push(Call::Resume(dispatch.clone()));
        let event = RunEvent::Lost { why: LostWhy::NodeDied };
        let answer = ready(to.transition(&with, vec![edge(&dispatch.run, event, START)]))?;
        match answer.into_iter().next() {
            Some(EdgeAnswer::Applied(run)) => Ok(run),
            other => panic!("{other:?}"),
        }
    });
    let (seen, to, with) = (Arc::clone(fed), Arc::clone(store), session.clone());
    mock.expect_cancel().returning(move |run, why| {
        seen.push(Call::Cancel(run, why));
        ready(to.cancel(&with, vec![(run, why)]))?;
        Ok(ready(to.run(run))?)
    });
    let seen = Arc::clone(fed);
    mock.expect_update().returning(move |task| seen.updates.lock().unwrap().push((task.id, task.revision)));
    let from = Arc::clone(store);
    mock.expect_promise().returning(move |run| Ok(ready(from.run(run))?.map(|run| promise(run.id))));
    mock
}

/// The memory store has no thread, so its futures are ready when they are asked.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("the memory store answers at once")
}

pub(crate) fn edge(run: &Run, event: RunEvent, at: Timestamp) -> Edge {
    Edge { run: run.id, fence: Fence::of(run), event, at, patch: Patch::default() }
}

/// Remembers what was to go with its record, and whose output alone.
#[derive(Debug, Default)]
pub(crate) struct Removed(pub(crate) Mutex<Vec<RunId>>, pub(crate) Mutex<Vec<RunId>>);

#[async_trait]
impl OutputRemover for Removed {
    async fn remove(&self, runs: &[RunId]) {
        self.0.lock().unwrap().extend_from_slice(runs);
    }

    async fn remove_output(&self, runs: &[RunId]) {
        self.1.lock().unwrap().extend_from_slice(runs);
    }
}

/// What outlives a crash.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) clock: VirtualClock,
    pub(crate) store: Arc<MemoryStore>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let clock = VirtualClock::new(START);
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self { clock, store }
    }
}

/// A node from start to stop or crash.
pub(crate) struct House {
    pub(crate) ground: Ground,
    pub(crate) clock: VirtualClock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) session: Session,
    pub(crate) scheduler: Scheduler,
    pub(crate) fed: Arc<Fed>,
    pub(crate) removed: Arc<Removed>,
    pub(crate) coordinator: Coordinator,
    stop: CancellationToken,
    running: Option<JoinHandle<Result<(), Error>>>,
}

impl House {
    /// A fresh node, recovered and running.
    pub(crate) async fn new() -> Self {
        Self::on(Ground::new()).await.0
    }

    /// A node on what an earlier one left, recovered and running.
    pub(crate) async fn on(ground: Ground) -> (Self, StartReport) {
        let mut house = Self::idle(ground).await;
        let report = house.coordinator.recover().await.unwrap();
        house.run();
        (house, report)
    }

    /// A node that has not been started.
    pub(crate) async fn idle(ground: Ground) -> Self {
        let store: Arc<dyn Store> = ground.store.clone();
        Self::with(ground, store).await
    }

    /// A node that has not been started, over a store that may stand in front of the ground's.
    pub(crate) async fn with(ground: Ground, store: Arc<dyn Store>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ground.clock.clone());
        let session = store.open_session("test").await.unwrap();
        let ids = Arc::new(IdGenerator::new(Arc::clone(&clock)));
        ids.raise_floor(session.id_floor);
        let scheduler = Scheduler::new(Arc::clone(&clock), Zone::utc());
        let fed = Arc::new(Fed::default());
        let removed = Arc::new(Removed::default());
        let coordinator = Coordinator::new(Parts {
            store: Arc::clone(&store),
            session: session.clone(),
            scheduler: scheduler.clone(),
            executor: Arc::new(executor(&fed, &store, &session)),
            clock,
            ids,
            default_zone: Zone::utc(),
            output: removed.clone(),
        });
        let (clock, stop) = (ground.clock.clone(), CancellationToken::new());
        Self { ground, clock, store, session, scheduler, fed, removed, coordinator, stop, running: None }
    }

    pub(crate) fn run(&mut self) {
        let (coordinator, stop) = (self.coordinator.clone(), self.stop.clone());
        self.running = Some(tokio::spawn(async move { coordinator.run(stop).await }));
    }

    pub(crate) fn tasks(&self) -> Tasks {
        self.coordinator.tasks()
    }

    pub(crate) async fn create(&self, spec: TaskSpec) -> TaskId {
        self.tasks().create(spec).await.unwrap().stored.task.id
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.clock.advance(secs(seconds)).await;
    }

    /// All records of a task, oldest first.
    pub(crate) async fn records(&self, task: TaskId) -> Vec<Run> {
        let query = RunQuery { task: Some(task), oldest_first: true, limit: 500, ..RunQuery::default() };
        let page = self.tasks().runs(query).await.unwrap();
        assert_eq!(page.next, None, "more records than one page");
        page.items
    }

    /// How many records the store holds of a task, deleted or not.
    pub(crate) async fn store_runs(&self, task: TaskId) -> usize {
        let filter = RunFilter { task: Some(task), limit: 1000, ..RunFilter::default() };
        self.store.runs(&filter).await.unwrap().items.len()
    }

    /// The logical times of a task's records in seconds after [`START`], oldest record first.
    pub(crate) async fn times(&self, task: TaskId) -> Vec<i64> {
        self.records(task).await.iter().map(|run| seconds(run.scheduled_for)).collect()
    }

    /// The records of a task in short: `60 succeeded`.
    pub(crate) async fn story(&self, task: TaskId) -> Vec<String> {
        let short = |run: &Run| format!("{} {}", seconds(run.scheduled_for), run.state().name());
        self.records(task).await.iter().map(short).collect()
    }

    pub(crate) async fn checkpoint(&self, task: TaskId) -> Option<i64> {
        self.store.task(task).await.unwrap().unwrap().progress.checkpoint.map(seconds)
    }

    /// Starts what is ready, as the executor's claimers would, and answers the runs.
    pub(crate) async fn claim(&self, max: usize) -> Vec<Run> {
        let mut begun = Vec::new();
        for claim in self.store.claim(&self.session, max).await.unwrap().claims {
            let patch = Patch { revision: Some(claim.task.revision), ..Patch::default() };
            let event = RunEvent::Claimed { epoch: self.session.epoch };
            let edge = Edge { patch, ..edge(&claim.run, event, self.clock.now()) };
            begun.push(self.step(edge).await);
        }
        begun
    }

    /// Ends a run that was begun.
    pub(crate) async fn end(&self, run: &Run, event: RunEvent) -> Run {
        self.step(edge(run, event, self.clock.now())).await
    }

    pub(crate) async fn step(&self, edge: Edge) -> Run {
        match self.store.transition(&self.session, vec![edge]).await.unwrap().remove(0) {
            EdgeAnswer::Applied(run) => run,
            other => panic!("{other:?}"),
        }
    }

    /// Stops in order and answers how it ended.
    pub(crate) async fn stop(mut self) -> (Ground, Result<(), Error>) {
        self.stop.cancel();
        let ended = self.running.take().unwrap().await.unwrap();
        self.store.close_session(&self.session).await.unwrap();
        (self.ground.clone(), ended)
    }

    /// Answers how it ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<(), Error> {
        self.running.take().unwrap().await.unwrap()
    }

    /// The process dies now; what was durable stays.
    pub(crate) fn crash(self) -> Ground {
        let Ground { clock, store } = self.ground.clone();
        let store = Arc::new(store.crash());
        Ground { clock, store }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

pub(crate) fn seconds(at: Timestamp) -> i64 {
    at.duration_since(START).as_secs()
}

/// How many of these records are in this state.
pub(crate) fn count(records: &[Run], state: RunStateName) -> usize {
    records.iter().filter(|run| run.state().name() == state).count()
}
