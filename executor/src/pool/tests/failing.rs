use super::bench::{Bench, events, restarts, seconds};
use crate::error::Error;
use crate::executor::{Dispatch, Executor as _};
use crate::reservation::Reservation;
use crate::scripted::{Act, Ask};
use punctual_model::{FailureKind, LostWhy, RunState, TaskSpec, Work};
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_driver_is_a_failure_of_the_run() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    for act in [Act::Panic, Act::PanicAtStart] {
        bench.acts([act]);
        let run = bench.go(&task).await.wait().await.unwrap();
        let failure = run.outcome.as_ref().unwrap().error.as_ref().unwrap();
        assert_eq!((run.state(), failure.kind), (RunState::Failed, FailureKind::Panic));
        assert!(failure.message.contains("scripted panic"), "{}", failure.message);
    }
    // What it left alive was ended.
    assert!(bench.driver.asked().iter().any(|asked| matches!(asked.what, Ask::Kill { .. })));
    bench.acts([Act::Succeed]);
    assert_eq!(bench.go(&task).await.wait().await.unwrap().state(), RunState::Succeeded);
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_store_stops_everything_and_tells_everybody() {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(10))]);
    let task = bench.handler("report").await;
    let working = bench.go(&task).await;
    let mut parked = bench.run_of(&task);
    parked.life.state = RunState::Scheduled { at: super::bench::at(3600) };
    parked.run_at = super::bench::at(3600);
    let parked = bench.go_with(&task, parked).await;
    bench.settle().await;
    let waiting: Vec<_> = [Arc::clone(&working), working, parked]
        .into_iter()
        .map(|promise| tokio::spawn(async move { promise.wait().await }))
        .collect();
    bench.settle().await;
    drop(bench.store.crash());
    let failed = |error: &Error| matches!(error, Error::Store(punctual_store::Error::Failed { .. }));
    bench.pass(seconds(10)).await;
    assert!(failed(&bench.pool.failure().await));
    for waiting in waiting {
        assert!(failed(&waiting.await.unwrap().unwrap_err()));
    }
    bench.settle().await;
    assert_eq!(bench.driver.at_once(), 0, "the work was told to end");
    let dispatch = Dispatch { run: bench.run_of(&task), task };
    assert!(failed(&bench.pool.execute(vec![dispatch], Reservation::none()).await.unwrap_err()));
    bench.pool.idle().await;
}

/// The teller of hooks is nobody's caller: what it meets must stop the executor all the same.
#[tokio::test(start_paused = true)]
async fn a_failure_that_only_the_teller_of_hooks_meets_stops_everything_too() {
    let bench = Bench::new().await;
    bench.settle().await;
    drop(bench.store.crash());
    bench.settle().await;
    assert!(!bench.pool.engine.over.is_raised(), "nobody has asked the store");
    bench.pool.engine.untold.notify_one();
    bench.settle().await;
    assert!(bench.pool.engine.over.is_raised());
    let error = bench.pool.failure().await;
    assert!(matches!(error, Error::Store(punctual_store::Error::Failed { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn work_in_progress_is_told_to_end_when_the_store_fails() {
    let bench = Bench::new().await;
    bench.act_of("hangs", Act::Hang);
    let (hangs, quick) = (bench.handler("hangs").await, bench.handler("quick").await);
    bench.go(&hangs).await;
    bench.settle().await;
    assert_eq!(bench.driver.at_once(), 1);
    bench.enqueue(vec![bench.run_of(&quick)], 0).await;
    drop(bench.store.crash());
    bench.settle().await;
    bench.pool.failure().await;
    bench.settle().await;
    assert_eq!(bench.driver.at_once(), 0);
    assert!(bench.driver.asked().iter().any(|asked| matches!(asked.what, Ask::Kill { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_fenced_off_writes_nothing_more() {
    use punctual_store::SessionStore as _;
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(10))]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    bench.store.open_session("another").await.unwrap();
    bench.pass(seconds(10)).await;
    assert!(matches!(promise.wait().await, Err(Error::Store(punctual_store::Error::Fenced { .. }))));
    assert!(matches!(bench.state(promise.id()).await, RunState::Starting | RunState::Running));
}

#[tokio::test(start_paused = true)]
async fn a_lost_hand_over_is_found_and_ended_as_vanished() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    let spec = TaskSpec::new("again", Work::handler("again")).idempotent();
    let again = bench.task(spec).await;
    let runs = vec![bench.run_of(&task), bench.run_of(&again)];
    let runs = bench.enqueue(runs, 2).await;
    assert!(runs.iter().all(|run| run.state() == RunState::Starting));
    // Whoever was to call `execute` has died.
    bench.acts([Act::run_for(seconds(10))]);
    let at_work = bench.go(&task).await;
    bench.settle().await;
    assert_eq!(bench.pool.sweep().await.unwrap(), 2);
    assert_eq!(bench.state(runs[0].id).await, RunState::Lost { why: LostWhy::Vanished });
    bench.pass(seconds(10)).await;
    let run = bench.run(runs[1].id).await;
    assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 2));
    assert_eq!(events(&run), ["lost attempt"]);
    assert_eq!(at_work.wait().await.unwrap().state(), RunState::Succeeded);
    assert_eq!(bench.pool.sweep().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_dropped_ends_its_work_and_records_nothing() {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.task(TaskSpec::new("report", Work::handler("report")).restart(restarts(5))).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    let Bench { pool, driver, store, clock, .. } = bench;
    drop(pool);
    clock.settle().await;
    assert_eq!(driver.at_once(), 0);
    assert_eq!(promise.wait().await.unwrap_err(), Error::Stopped);
    use punctual_store::RunStore as _;
    assert_eq!(store.run(promise.id()).await.unwrap().unwrap().state(), RunState::Running);
}
