//! How many dues a second become records and are handed over, apart from the work itself.
//!
//! `cargo run --release -p punctual-coordinator --example dues -- 100000 [fjall DIR]`: so many tasks, all due at
//! the same instant, four times; more than 16,384 tasks do not fit the definitions at hand and are read each time.

use async_trait::async_trait;
use jiff::Timestamp;
use punctual_clock::{Clock, IdGenerator, SystemClock, VirtualClock};
use punctual_coordinator::{Coordinator, NoOutput, Parts};
use punctual_executor::{Asked, Dispatch, Error, Executor, Reservation, RunPromise};
use punctual_model::schedule::Every;
use punctual_model::{CancelWhy, Overlap, Run, RunId, Schedule, Task, TaskSpec, Work};
use punctual_scheduler::Scheduler;
use punctual_scheduler::schedule::Zone;
use punctual_store::fjall::{FjallStore, Options};
use punctual_store::{MemoryStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Takes everything and does nothing.
#[derive(Debug, Default)]
struct Sink {
    taken: AtomicUsize,
    wanted: AtomicUsize,
    done: Notify,
}

#[async_trait]
impl Executor for Sink {
    fn reserve(&self, _task: &Task, _wanted: usize) -> Reservation {
        Reservation::none()
    }

    async fn execute(&self, batch: Vec<Dispatch>, _reservation: Reservation) -> Result<(), Error> {
        let taken = self.taken.fetch_add(batch.len(), Ordering::SeqCst) + batch.len();
        if taken >= self.wanted.load(Ordering::SeqCst) {
            self.done.notify_one();
        }
        Ok(())
    }

    async fn execute_promised(
        &self,
        _batch: Vec<Dispatch>,
        _reservation: Reservation,
    ) -> Result<Vec<Arc<dyn RunPromise>>, Error> {
        Err(Error::Stopped)
    }

    async fn restart(&self, _run: RunId, _reason: String) -> Result<Asked, Error> {
        Err(Error::Stopped)
    }

    async fn signal(&self, _run: RunId, _signal: String) -> Result<Asked, Error> {
        Err(Error::Stopped)
    }

    async fn run_manually(
        &self,
        _dispatch: Dispatch,
        _reservation: Reservation,
    ) -> Result<Arc<dyn RunPromise>, Error> {
        Err(Error::Stopped)
    }

    async fn resume(&self, dispatch: Dispatch) -> Result<Run, Error> {
        Ok(dispatch.run)
    }

    async fn cancel(&self, _run: RunId, _why: CancelWhy) -> Result<Option<Run>, Error> {
        Ok(None)
    }

    async fn promise(&self, _run: RunId) -> Result<Option<Arc<dyn RunPromise>>, Error> {
        Ok(None)
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let tasks: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let directory = arguments.next();
    for (name, overlap) in [("allow", Overlap::Allow), ("queue_all", Overlap::QueueAll { max: 1_000 })] {
        let directory = directory.as_ref().map(|directory| format!("{directory}/{name}"));
        measure(tasks, name, overlap, directory).await;
    }
}

async fn measure(tasks: usize, name: &str, overlap: Overlap, directory: Option<String>) {
    let real = SystemClock::new().expect("a timer thread");
    let clock = VirtualClock::new(Timestamp::constant(1_767_225_600, 0));
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let store: Arc<dyn Store> = match directory {
        Some(directory) => Arc::new(
            FjallStore::open(directory, Arc::clone(&shared), &Options::default())
                .expect("an empty directory"),
        ),
        None => Arc::new(MemoryStore::new(Arc::clone(&shared))),
    };
    let session = store.open_session("bench").await.expect("a session");
    let (sink, stop) = (Arc::new(Sink::default()), CancellationToken::new());
    let coordinator = Coordinator::new(Parts {
        store: Arc::clone(&store),
        session,
        scheduler: Scheduler::new(Arc::clone(&shared), Zone::utc()),
        executor: sink.clone(),
        clock: Arc::clone(&shared),
        ids: Arc::new(IdGenerator::new(Arc::clone(&shared))),
        default_zone: Zone::utc(),
        output: Arc::new(NoOutput),
    });
    let begun = real.monotonic();
    let creators = (0..CREATORS).map(|creator| {
        let service = coordinator.tasks();
        tokio::spawn(async move {
            for n in (creator..tasks).step_by(CREATORS) {
                let schedules = vec![Schedule::Every(Every::new(Duration::from_secs(3600)))];
                let task = TaskSpec::new(format!("task{n}"), Work::handler("work"));
                service.create(TaskSpec { schedules, overlap, ..task }).await.expect("a task");
            }
        })
    });
    for creator in creators.collect::<Vec<_>>() {
        creator.await.expect("no panic");
    }
    report(&format!("{name}: tasks created"), tasks, real.monotonic() - begun);
    let (running, until) = (coordinator.clone(), stop.clone());
    let running = tokio::spawn(async move { running.run(until).await });
    for round in 1..=4 {
        sink.wanted.store(round * tasks, Ordering::SeqCst);
        let begun = real.monotonic();
        clock.advance_now(Duration::from_secs(3600));
        sink.done.notified().await;
        report(&format!("{name}: dues, round {round}"), tasks, real.monotonic() - begun);
    }
    stop.cancel();
    running.await.expect("no panic").expect("an orderly stop");
}

/// Writers at once, as many requests would be.
const CREATORS: usize = 64;

fn report(what: &str, count: usize, took: Duration) {
    println!("{what}: {count} in {took:.2?}, {:.0} a second", count as f64 / took.as_secs_f64());
}
