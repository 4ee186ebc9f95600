//! Runs from the request to the end.

use crate::clockwork::{at, create, handling, live, run_now, scripted, secs, task};
use futures_util::future::{join_all, poll_immediate};
use punctual::coordinator::RunQuery;
use punctual::model::{CancelWhy, FailureKind, RunStateName, Trigger};
use punctual::prelude::*;
use punctual::testing::Act;
use std::sync::Arc;

/// EX04, TS18: a forced run is listed once, before it is at work and then, under one id and for exactly the time
/// that was asked for.
#[tokio::test(start_paused = true)]
async fn ex04_ts18_a_forced_run_is_listed_once_under_one_id_until_its_end() {
    let t = scripted().await;
    t.script(|_| Act::run_for(secs(5)));
    let id = create(&t, task("report")).await;
    let request = RunRequest { run_at: Some(at(60)), ..RunRequest::default() };
    let accepted = t.tasks().run_now(id, request).await.unwrap();
    let listed = |state| {
        let tasks = t.tasks();
        let query = RunQuery { task: Some(id), states: vec![state], ..RunQuery::default() };
        async move { tasks.runs(query).await.unwrap().items }
    };
    let waiting = listed(RunStateName::Scheduled).await;
    assert_eq!((waiting.len(), &waiting[0]), (1, &accepted.run));
    assert_eq!((waiting[0].trigger, waiting[0].scheduled_for), (Trigger::Manual, at(60)));
    t.advance(secs(61)).await;
    assert!(listed(RunStateName::Scheduled).await.is_empty());
    let working = live(&t, id).await;
    assert_eq!(working.iter().map(|run| run.id).collect::<Vec<_>>(), [accepted.run.id]);
    assert!(working[0].state().is_at_work());
    t.advance(secs(4)).await;
    let ended = accepted.promise.wait().await.unwrap();
    assert_eq!((ended.id, ended.scheduled_for), (accepted.run.id, at(60)));
    assert!(live(&t, id).await.is_empty());
    assert_eq!(t.runs("report").await, [ended]);
}

/// EX15, SC26: whoever waits hears of the end as Canceled, once that is durable; the run is in the live set no
/// more; to cancel it again changes nothing.
#[tokio::test(start_paused = true)]
async fn ex15_sc26_a_canceled_run_ends_durably_for_all_waiters_and_twice_is_harmless() {
    let t = scripted().await;
    t.script(|_| Act::Hang);
    let id = create(&t, task("report")).await;
    let promise = run_now(&t, id).await;
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let promise = Arc::clone(&promise);
            tokio::spawn(async move { promise.wait().await.unwrap() })
        })
        .collect();
    t.settle().await;
    assert_eq!(live(&t, id).await.len(), 1);
    t.tasks().cancel(promise.id()).await.unwrap();
    t.tasks().cancel(promise.id()).await.unwrap();
    let ends = join_all(waiting).await;
    for end in &ends {
        let run = end.as_ref().unwrap();
        assert_eq!(run.state(), RunState::Canceled { why: CancelWhy::Asked });
        assert_eq!(run.outcome.as_ref().unwrap().error.as_ref().unwrap().kind, FailureKind::Canceled);
    }
    assert!(live(&t, id).await.is_empty());
    let ended = t.runs("report").await;
    promise.cancel().await.unwrap();
    t.tasks().cancel(promise.id()).await.unwrap();
    assert_eq!(t.runs("report").await, ended);
    // It was durable when they heard of it.
    let t = t.crash_and_reopen().await;
    assert_eq!(t.runs("report").await, ended);
}

/// EX16: nothing to wait for is no wait.
#[tokio::test(start_paused = true)]
async fn ex16_an_idle_engine_is_waited_for_no_moment() {
    let t = scripted().await;
    t.script(|_| Act::run_for(secs(5)));
    assert_eq!(poll_immediate(t.idle()).await, Some(()));
    let id = create(&t, task("report")).await;
    run_now(&t, id).await;
    t.settle().await;
    assert_eq!(poll_immediate(t.idle()).await, None);
    t.advance(secs(5)).await;
    assert_eq!(poll_immediate(t.idle()).await, Some(()));
}

/// SC07: with tasks that have never run, one that has, and one that waits.
#[tokio::test(start_paused = true)]
async fn sc07_a_stop_returns_although_there_are_tasks_and_nothing_ever_ran() {
    for ran in [false, true] {
        let t = scripted().await;
        create(&t, task("hourly").every(secs(3600))).await;
        let id = create(&t, task("manual")).await;
        let parked = RunRequest { run_at: Some(at(86_400)), ..RunRequest::default() };
        t.tasks().run_now(id, parked).await.unwrap();
        if ran {
            t.advance(secs(3600)).await;
            assert_eq!(t.last_run("hourly").await.unwrap().state(), RunState::Succeeded);
        }
        // No time goes on meanwhile, so nothing was waited for.
        let stopped = t.stop().await;
        assert_eq!(stopped.work.completed, u64::from(ran));
        assert!(stopped.work.interrupted.is_empty() && stopped.work.left.is_empty());
    }
}

async fn panics() -> Result<(), TaskError> {
    panic!("division by zero, or so");
}

async fn fine() -> Result<(), TaskError> {
    Ok(())
}

/// SC08: who wants to know hears of a panic from the run's record; everything else goes on.
#[tokio::test(start_paused = true)]
async fn sc08_a_panicking_job_is_reported_and_the_engine_lives_on() {
    let handlers = Handlers::new().add("panics", panics).add("fine", fine);
    let (engine, clock) = handling(handlers).await;
    let bad = create(&engine, task("panics").every(secs(60))).await;
    let good = create(&engine, task("fine").every(secs(60))).await;
    clock.advance(secs(180)).await;
    let runs = |task| {
        let query = RunQuery { task: Some(task), ..RunQuery::default() };
        let tasks = engine.tasks();
        async move { tasks.runs(query).await.unwrap().items }
    };
    for run in runs(bad).await {
        let failure = run.outcome.as_ref().unwrap().error.as_ref().unwrap();
        assert_eq!((run.state(), failure.kind), (RunState::Failed, FailureKind::Panic));
        assert!(failure.message.contains("division by zero, or so"), "{}", failure.message);
    }
    assert_eq!(runs(bad).await.len(), 3, "it is due again all the same");
    assert_eq!(runs(good).await.iter().filter(|run| run.state() == RunState::Succeeded).count(), 3);
    assert_eq!(engine.counters().errors["panic"], 3);
    engine.stop().await.unwrap();
}

/// A program that stops its engine may start it again, or hand the directory to another process, without ending.
#[tokio::test]
async fn a_stopped_engine_lets_go_of_its_directory_while_the_process_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let start = || Punctual::builder().data_dir(home.path().join("data")).start();
    start().await.unwrap().stop().await.unwrap();
    // Its tasks have to be polled once more to see that it is over.
    for _ in 0..1_000 {
        match start().await {
            Ok(again) => {
                again.stop().await.unwrap();
                return;
            }
            Err(error) => assert!(error.to_string().contains("is in use by"), "{error}"),
        }
        tokio::task::yield_now().await;
    }
    panic!("the directory is still held");
}
