//! How a program tests what its tasks feed to the executor, without running any of it.
//!
//! `cargo run --example mocked_executor --features mock`
//!
//! The mock stands in for the whole room that does the work: a test decides what each call is answered, and sees
//! what it is given. Where runs are to end, fail or overlap, a scripted driver is the better tool: see `testing.rs`.

use punctual::executor::{Dispatch, Executor, Reservation};
use punctual::prelude::*;
use punctual::testing::{MockExecutor, MockRunPromise, TestEngine};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An executor that has no free worker and writes down everything it is given.
fn mocked(fed: &Arc<Mutex<Vec<Dispatch>>>) -> Arc<dyn Executor> {
    let mut executor = MockExecutor::new();
    executor.expect_reserve().returning(|_, _| Reservation::none());
    let due = Arc::clone(fed);
    executor.expect_execute().returning(move |batch, _| {
        due.lock().expect("the list").extend(batch);
        Ok(())
    });
    // A run that somebody asks for wants a promise back; it is mocked too.
    let asked = Arc::clone(fed);
    executor.expect_run_manually().times(1).returning(move |dispatch, _| {
        let mut promise = MockRunPromise::new();
        promise.expect_id().return_const(dispatch.run.id);
        asked.lock().expect("the list").push(dispatch);
        Ok(Arc::new(promise))
    });
    Arc::new(executor)
}

async fn a_weekend() {
    let fed = Arc::default();
    let executor = mocked(&fed);
    // Friday noon in Berlin.
    let t = TestEngine::with("2027-03-26T12:00:00+01:00", move |builder| {
        builder.executor(Arc::clone(&executor)).default_timezone("Europe/Berlin")
    })
    .await;
    let work = Work::handler_with("report", serde_json::json!({"tenant": "acme"}));
    let report = TaskSpec::new("report", work).cron("30 2 * * 1-5");
    let report = t.tasks().create(report).await.expect("a task").stored.task;

    // Nothing is due before Monday, by when the clocks have changed.
    t.advance(Duration::from_secs(2 * 24 * 3600)).await;
    assert!(fed.lock().expect("the list").is_empty());
    t.advance(Duration::from_secs(24 * 3600)).await;
    {
        let fed = fed.lock().expect("the list");
        assert_eq!(fed.len(), 1);
        assert_eq!(fed[0].run.scheduled_for, "2027-03-29T02:30:00+02:00".parse().expect("an instant"));
        // The executor is given the whole definition, not picked fields of it.
        assert_eq!(fed[0].task, report);
    }

    // By hand, for a day of our choice.
    let friday = "2027-03-26T02:30:00+01:00".parse().expect("an instant");
    let request = RunRequest { scheduled_for: Some(friday), ..RunRequest::default() };
    let accepted = t.tasks().run_now(report.id, request).await.expect("a run");
    let last = fed.lock().expect("the list").last().cloned().expect("a dispatch");
    assert_eq!((last.run.id, last.run.scheduled_for), (accepted.promise.id(), friday));
}

fn main() {
    // In a test of yours: #[tokio::test(start_paused = true)]
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(a_weekend());
    println!("a weekend, and what it fed to the executor");
}
