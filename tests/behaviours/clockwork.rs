//! What the tests here start from: an engine whose clock stands still, with scripted work or real handlers.

use punctual::clock::{Chance, Clock, VirtualClock};
use punctual::coordinator::RunQuery;
use punctual::executor::RunPromise;
use punctual::prelude::*;
use punctual::testing::TestEngine;
use std::sync::Arc;
use std::time::Duration;

/// Thursday 2026-01-01.
pub(crate) const START: &str = "2026-01-01T00:00:00Z";

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many seconds after [`START`].
pub(crate) fn at(seconds: i64) -> jiff::Timestamp {
    START.parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

pub(crate) async fn scripted() -> TestEngine {
    TestEngine::at(START).await
}

/// An engine on a virtual clock that runs these handlers themselves.
pub(crate) async fn handling(handlers: Handlers) -> (Punctual, VirtualClock) {
    let clock = VirtualClock::new(at(0));
    let started = Punctual::builder()
        .clock(Arc::new(clock.clone()) as Arc<dyn Clock>)
        .chance(Arc::new(Chance::from_seed(1)))
        .handlers(handlers)
        .start()
        .await;
    (started.unwrap(), clock)
}

/// A task whose work is a handler of its own name.
pub(crate) fn task(name: &str) -> TaskSpec {
    TaskSpec::new(name, Work::handler(name))
}

pub(crate) async fn create(engine: &Punctual, spec: TaskSpec) -> TaskId {
    engine.tasks().create(spec).await.unwrap().stored.task.id
}

pub(crate) async fn run_now(engine: &Punctual, task: TaskId) -> Arc<dyn RunPromise> {
    engine.tasks().run_now(task, RunRequest::default()).await.unwrap().promise
}

/// The runs of a task that have not ended: the live set.
pub(crate) async fn live(engine: &Punctual, task: TaskId) -> Vec<Run> {
    let query = RunQuery { task: Some(task), oldest_first: true, ..RunQuery::default() };
    let runs = engine.tasks().runs(query).await.unwrap().items;
    runs.into_iter().filter(|run| !run.state().is_terminal()).collect()
}
