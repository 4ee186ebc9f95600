use super::bench::{Bench, at, seconds};
use crate::Limits;
use crate::claimer::Claimer;
use crate::driver::Class;
use crate::executor::{Dispatch, Executor as _};
use crate::reservation::Reservation;
use crate::scripted::Act;
use crate::seats::Seat;
use punctual_model::{RunState, Task, TaskSpec, Work};
use punctual_store::{Expect, HistoryStore as _, PutTask, RunStore as _, TaskStore as _};
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn ex06_one_run_takes_exactly_one_seat() {
    let bench = Bench::with(Limits { in_process: 2, processes: 1 }).await;
    bench.acts([Act::run_for(seconds(10))]);
    let task = bench.handler("report").await;
    for _ in 0..5 {
        bench.go(&task).await;
    }
    bench.settle().await;
    assert_eq!((bench.driver.at_once(), bench.pool.counters().active), (2, 2));
    bench.pass(seconds(30)).await;
    assert_eq!((bench.driver.started().len(), bench.driver.most_at_once()), (5, 2));
    assert_eq!(bench.pool.engine.seats.free(Class::InProcess), 2);
}

#[tokio::test(start_paused = true)]
async fn ex07_a_limit_delays_a_run_which_still_ends_with_its_own_error() {
    let bench = Bench::new().await;
    bench.acts([Act::Run(seconds(10), Box::new(Act::Fail("its own".to_owned())))]);
    let spec = TaskSpec::new("report", Work::handler("report")).concurrency(1);
    let task = bench.task(spec).await;
    let (first, second) = (bench.go(&task).await, bench.go(&task).await);
    bench.pass(seconds(10)).await;
    assert_eq!(first.wait().await.unwrap().state(), RunState::Failed);
    assert_eq!(second.state().await.unwrap(), RunState::Running);
    bench.pass(seconds(10)).await;
    let run = second.wait().await.unwrap();
    assert_eq!(run.outcome.unwrap().error.unwrap().message, "its own");
    assert_eq!(run.started_at, Some(at(10)));
}

/// XT08
#[tokio::test(start_paused = true)]
async fn xt08_two_hundred_waiting_runs_of_one_task_delay_no_other() {
    let bench = Bench::with(Limits { in_process: 4, processes: 1 }).await;
    bench.act_of("slow", Act::run_for(seconds(1000)));
    let slow = bench.task(TaskSpec::new("slow", Work::handler("slow")).concurrency(1)).await;
    let runs = (0..200).map(|_| bench.run_of(&slow)).collect();
    bench.enqueue(runs, 0).await;
    bench.settle().await;
    let quick = bench.handler("quick").await;
    for _ in 0..50 {
        let run = bench.go(&quick).await.wait().await.unwrap();
        assert_eq!((run.state(), run.finished_at), (RunState::Succeeded, Some(at(0))));
    }
    assert_eq!(bench.driver.started().iter().filter(|name| *name == "slow").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_class_without_seats_delays_no_other() {
    let bench = Bench::with(Limits { in_process: 4, processes: 1 }).await;
    bench.act_of("process", Act::run_for(seconds(100)));
    let process = bench.task(TaskSpec::new("process", Work::shell(""))).await;
    let handler = bench.handler("handler").await;
    // More than are kept for a seat, so that some are given back.
    let runs = (0..1500).map(|_| bench.run_of(&process)).collect();
    bench.enqueue(runs, 0).await;
    bench.settle().await;
    for n in 0..20 {
        let asked = bench.clock_now();
        let promise = bench.go(&handler).await;
        bench.pass(seconds(1)).await;
        let run = promise.wait().await.unwrap();
        let waited = run.finished_at.unwrap().duration_since(asked);
        assert!(waited.as_millis() <= 100, "{n}: {waited}");
    }
    assert_eq!(bench.driver.started().iter().filter(|name| *name == "process").count(), 1);
    bench.pass(seconds(400)).await;
    assert_eq!(bench.driver.started().iter().filter(|name| *name == "process").count(), 5);
    assert_eq!(bench.driver.most_at_once(), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_brings_a_herd_waits_for_a_look_and_never_for_a_seat() {
    let bench = Bench::with(Limits { in_process: 2, processes: 1 }).await;
    bench.act_of("handler", Act::Hang);
    let handler = bench.handler("handler").await;
    let bring = async || {
        let runs = (0..200).map(|_| bench.run_of(&handler)).collect();
        let runs = bench.enqueue(runs, 0).await;
        let batch = runs.into_iter().map(|run| Dispatch { run, task: Arc::clone(&handler) }).collect();
        bench.pool.execute(batch, Reservation::none()).await.unwrap();
    };
    // So that the claimer has begun.
    bench.settle().await;
    bring().await;
    assert_eq!(bench.store.stats().at_work, 2, "the claimer has looked");
    // All seats are taken, and stay so.
    bring().await;
    // There is no claimer any more.
    bench.pool.abandon();
    let batch = vec![Dispatch { run: bench.run_of(&handler), task: handler }; 200];
    assert!(bench.pool.execute(batch, Reservation::none()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_parked_run_starts_at_its_time() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    let mut parked = bench.run_of(&task);
    parked.life.state = RunState::Scheduled { at: at(100) };
    parked.run_at = at(100);
    let promise = bench.go_with(&task, parked).await;
    bench.pass(seconds(99)).await;
    assert!(bench.driver.started().is_empty());
    bench.pass(seconds(1)).await;
    assert_eq!(promise.wait().await.unwrap().started_at, Some(at(100)));
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_changes_between_claim_and_start_is_taken_anew() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    bench.pool.engine.stopping.raise();
    bench.settle().await;
    let run = bench.enqueue(vec![bench.run_of(&task)], 0).await.remove(0);
    let claims = bench.store.claim(&bench.session, 10).await.unwrap().claims;
    let changed = Task { revision: 2, ..Task::clone(&task) };
    let put = PutTask { task: Arc::new(changed), expect: Expect::Revision(1), raise_checkpoint: None };
    bench.store.put_task(&bench.session, put).await.unwrap();
    let claimer = Claimer::new(Arc::clone(&bench.pool.engine), Arc::clone(&bench.pool.ready));
    let seat = Seat::take(&bench.pool.engine.seats, Class::InProcess).unwrap();
    let batch = claims.into_iter().zip([seat]).collect();
    assert!(claimer.begin(batch).await.unwrap(), "there is more to claim");
    assert_eq!(bench.state(run.id).await, RunState::Queued);
    let again = bench.store.claim(&bench.session, 10).await.unwrap().claims;
    assert_eq!((again.len(), again[0].task.revision), (1, 2));
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn thousands_of_runs_end_once_each_and_leave_nothing_behind() {
    let bench = Bench::new().await;
    let tasks = [bench.handler("a").await, bench.handler("b").await, bench.handler("c").await];
    let mut ids = Vec::new();
    for n in 0..3000usize {
        ids.push(bench.run_of(&tasks[n % 3]));
    }
    let ids: Vec<_> = bench.enqueue(ids, 0).await.into_iter().map(|run| run.id).collect();
    bench.settle().await;
    bench.pool.idle().await;
    for id in ids {
        assert_eq!(bench.state(id).await, RunState::Succeeded);
    }
    assert_eq!(bench.driver.started().len(), 3000);
    bench.nothing_left();
}
