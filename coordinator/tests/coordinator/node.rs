//! A whole node without its facade: the real executor, with work that a test writes down beforehand.

use crate::house::{Ground, seconds, secs};
use punctual_clock::{Chance, Clock, IdGenerator, VirtualClock};
use punctual_coordinator::{Coordinator, Error, Parts, RunQuery, RunRequest, StartReport, Tasks};
use punctual_executor::scripted::ScriptedDriver;
use punctual_executor::{Limits, Pool, RunPromise, StopReport};
use punctual_model::{Run, TaskId, TaskSpec};
use punctual_scheduler::Scheduler;
use punctual_scheduler::schedule::Zone;
use punctual_store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Node {
    pub(crate) clock: VirtualClock,
    pub(crate) pool: Arc<Pool>,
    pub(crate) driver: ScriptedDriver,
    pub(crate) coordinator: Coordinator,
    pub(crate) report: StartReport,
    ground: Ground,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

impl Node {
    pub(crate) async fn new() -> Self {
        Self::on(Ground::new(), |_| {}).await
    }

    /// Starts in the order in which a facade has to: take up, open the queue, run. `prepare` sees the driver
    /// first.
    pub(crate) async fn on(ground: Ground, prepare: impl FnOnce(&ScriptedDriver)) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ground.clock.clone());
        let store: Arc<dyn Store> = ground.store.clone();
        let session = store.open_session("node").await.unwrap();
        let ids = Arc::new(IdGenerator::new(Arc::clone(&clock)));
        ids.raise_floor(session.id_floor);
        let driver = ScriptedDriver::named("handler", Arc::clone(&clock));
        prepare(&driver);
        let pool = Pool::builder(Arc::clone(&store), session.clone(), Arc::clone(&clock))
            .driver(driver.clone())
            .chance(Arc::new(Chance::from_seed(1)))
            .limits(Limits { in_process: 4, processes: 4 })
            .build();
        let pool = Arc::new(pool);
        let coordinator = Coordinator::new(Parts {
            store,
            session,
            scheduler: Scheduler::new(Arc::clone(&clock), Zone::utc()),
            executor: pool.clone(),
            clock,
            ids,
            default_zone: Zone::utc(),
            output: Arc::new(pool.outputs().clone()),
        });
        let report = coordinator.recover().await.unwrap();
        pool.start();
        let (clock, stop) = (ground.clock.clone(), CancellationToken::new());
        let (loops, until) = (coordinator.clone(), stop.clone());
        let running = tokio::spawn(async move { loops.run(until).await });
        Self { clock, pool, driver, coordinator, report, ground, stop, running }
    }

    pub(crate) fn tasks(&self) -> Tasks {
        self.coordinator.tasks()
    }

    pub(crate) async fn create(&self, spec: TaskSpec) -> TaskId {
        self.tasks().create(spec).await.unwrap().stored.task.id
    }

    pub(crate) async fn run_now(&self, task: TaskId) -> Arc<dyn RunPromise> {
        self.tasks().run_now(task, RunRequest::default()).await.unwrap().promise
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.clock.advance(secs(seconds)).await;
    }

    pub(crate) async fn records(&self, task: TaskId) -> Vec<Run> {
        let query = RunQuery { task: Some(task), oldest_first: true, limit: 500, ..RunQuery::default() };
        self.tasks().runs(query).await.unwrap().items
    }

    pub(crate) async fn story(&self, task: TaskId) -> Vec<String> {
        let short = |run: &Run| format!("{} {}", seconds(run.scheduled_for), run.state().name());
        self.records(task).await.iter().map(short).collect()
    }

    /// Stops in order: dues, then work.
    pub(crate) async fn stop(self, grace: Duration) -> (Ground, StopReport) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        let report = self.pool.stop(grace).await;
        (self.ground, report)
    }

    /// The process dies.
    pub(crate) fn crash(self) -> Ground {
        self.pool.abandon();
        self.running.abort();
        let Ground { clock, store } = self.ground;
        let store = Arc::new(store.crash());
        Ground { clock, store }
    }
}
