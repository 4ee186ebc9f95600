use super::bench::{Bench, at, events, seconds};
use crate::executor::{Dispatch, Executor as _};
use crate::reservation::Reservation;
use crate::scripted::Act;
use futures_util::StreamExt as _;
use punctual_model::hook::HttpCall;
use punctual_model::{Failure, FailureKind, Life, RunId, RunState, RunStateName, TaskSpec, Work};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn ex01_a_scheduled_execution_has_its_record_at_once_and_its_promise_ends_well() {
    let bench = Bench::new().await;
    bench.acts([Act::Run(seconds(5), Box::new(Act::Give(json!({"rows": 7}))))]);
    let task = bench.handler("report").await;
    let mut run = bench.run_of(&task);
    run.run_at = at(0);
    let promise = bench.go_with(&task, run.clone()).await;
    assert_eq!(promise.id(), run.id);
    assert_eq!(bench.run(run.id).await.run_at, at(0));
    bench.settle().await;
    assert_eq!(promise.state().await.unwrap(), RunState::Running);
    bench.pass(seconds(5)).await;
    let ended = promise.wait().await.unwrap();
    assert_eq!(ended.state(), RunState::Succeeded);
    assert_eq!(ended.outcome.unwrap().result, Some(json!({"rows": 7})));
    assert_eq!((ended.started_at, ended.finished_at), (Some(at(0)), Some(at(5))));
    drop(promise);
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn ex03_a_failing_job_ends_its_promise_with_the_error() {
    let bench = Bench::new().await;
    bench.acts([Act::Fail("db down".to_owned())]);
    let task = bench.handler("report").await;
    let ended = bench.go(&task).await.wait().await.unwrap();
    assert_eq!(ended.state(), RunState::Failed);
    assert_eq!(ended.outcome.unwrap().error.unwrap().message, "db down");
}

#[tokio::test(start_paused = true)]
async fn ex04_a_manual_run_keeps_one_id_from_the_request_to_the_promise() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    let run = bench.enqueue(vec![bench.run_of(&task)], 0).await.remove(0);
    assert_eq!(bench.run(run.id).await.state(), RunState::Queued);
    let dispatch = Dispatch { run: run.clone(), task };
    let promise = bench.pool.run_manually(dispatch, Reservation::none()).await.unwrap();
    assert_eq!(promise.id(), run.id);
    assert_eq!(promise.wait().await.unwrap().id, run.id);
}

#[tokio::test(start_paused = true)]
async fn ex13_asking_for_something_unknown_fails_at_once() {
    let bench = Bench::new().await;
    let nobody = RunId::new(4711).unwrap();
    assert!(bench.pool.promise(nobody).await.unwrap().is_none());
    assert!(bench.pool.cancel(nobody, punctual_model::CancelWhy::Asked).await.unwrap().is_none());
    let task = bench.task(TaskSpec::new("exotic", Work::Http(HttpCall::get("https://example.org")))).await;
    let ended = bench.go(&task).await.wait().await.unwrap();
    let failure = ended.outcome.unwrap().error.unwrap();
    assert_eq!((ended.life.state, failure.kind), (RunState::Failed, FailureKind::Start));
    assert!(failure.message.contains("\"http\""), "{}", failure.message);
}

#[tokio::test(start_paused = true)]
async fn ex16_waiting_for_the_executor_returns_at_once_when_nothing_runs() {
    let bench = Bench::new().await;
    bench.pool.idle().await;
    bench.acts([Act::run_for(seconds(5))]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    let mut idle = std::pin::pin!(bench.pool.idle());
    assert!(futures_util::poll!(idle.as_mut()).is_pending());
    bench.pass(seconds(5)).await;
    idle.await;
    assert!(promise.state().await.unwrap().is_terminal());
}

#[tokio::test(start_paused = true)]
async fn any_number_wait_also_after_the_end_and_a_dropped_promise_cancels_nothing() {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(5))]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    let id = promise.id();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let promise = std::sync::Arc::clone(&promise);
            tokio::spawn(async move { promise.wait().await })
        })
        .collect();
    bench.settle().await;
    waiting[0].abort();
    drop(promise);
    bench.pass(seconds(5)).await;
    for waiting in waiting.into_iter().skip(1) {
        assert_eq!(waiting.await.unwrap().unwrap().state(), RunState::Succeeded);
    }
    let later = bench.pool.promise(id).await.unwrap().unwrap();
    assert_eq!(later.wait().await.unwrap().state(), RunState::Succeeded);
    drop(later);
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_watch_shows_the_states_and_ends_with_the_final_one() {
    let bench = Bench::new().await;
    bench.acts([Act::Run(seconds(5), Box::new(Act::Exit(1))), Act::run_for(seconds(5))]);
    let spec = TaskSpec::new("report", Work::handler("report")).restart(super::bench::restarts(1));
    let task = bench.task(spec).await;
    let promise = bench.go(&task).await;
    let states = promise.watch().await.unwrap();
    let watching = tokio::spawn(async move { states.map(|state| state.name()).collect::<Vec<_>>().await });
    bench.pass(seconds(200)).await;
    use RunStateName as S;
    // States that were passed before anybody looked are not shown.
    let mut seen = watching.await.unwrap();
    seen.retain(|state| !matches!(state, S::Queued | S::Starting));
    assert_eq!(seen, [S::Running, S::Scheduled, S::Running, S::Succeeded]);
    // Of a run that has ended there is the end.
    let states: Vec<_> = promise.watch().await.unwrap().collect().await;
    assert_eq!(states, [RunState::Succeeded]);
    drop(promise);
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_reservation_takes_only_seats_that_the_task_can_work_in() {
    let bench = Bench::with(crate::Limits { in_process: 3, processes: 1 }).await;
    let handler = bench.handler("report").await;
    let process = bench.task(TaskSpec::new("backup", Work::shell("true"))).await;
    let of_handler = bench.pool.reserve(&handler, 5);
    let of_process = bench.pool.reserve(&process, 5);
    assert_eq!((of_handler.count(), of_process.count()), (3, 1));
    drop(of_handler);
    assert_eq!((bench.pool.reserve(&process, 1).count(), bench.pool.reserve(&handler, 5).count()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_run_claimed_for_a_reservation_begins_at_once_in_its_seat() {
    let bench = Bench::with(crate::Limits { in_process: 2, processes: 2 }).await;
    bench.acts([Act::run_for(seconds(5))]);
    let task = bench.handler("report").await;
    let reservation = bench.pool.reserve(&task, 5);
    assert_eq!(reservation.count(), 2, "as many as there are");
    assert_eq!(bench.pool.reserve(&task, 1).count(), 0);
    let runs = (0..3).map(|_| bench.run_of(&task)).collect();
    let runs = bench.enqueue(runs, reservation.count()).await;
    let states: Vec<_> = runs.iter().map(|run| run.state().name()).collect();
    assert_eq!(states, [RunStateName::Starting, RunStateName::Starting, RunStateName::Queued]);
    let batch: Vec<Dispatch> =
        runs.iter().map(|run| Dispatch { run: run.clone(), task: std::sync::Arc::clone(&task) }).collect();
    let promises = bench.pool.execute_promised(batch.clone(), reservation).await.unwrap();
    bench.settle().await;
    assert_eq!((bench.driver.at_once(), bench.pool.counters().active), (2, 2));
    // Handed over twice is handed over once.
    bench.pool.execute(batch, Reservation::none()).await.unwrap();
    bench.pass(seconds(5)).await;
    bench.pass(seconds(5)).await;
    for promise in promises {
        assert_eq!(promise.wait().await.unwrap().state(), RunState::Succeeded);
    }
    assert_eq!((bench.driver.started().len(), bench.driver.most_at_once()), (3, 2));
    assert_eq!(bench.pool.reserve(&task, 5).count(), 2, "all seats are back");
}

#[tokio::test(start_paused = true)]
async fn output_events_and_saved_state_are_in_the_record_of_the_run() {
    let bench = Bench::new().await;
    let print = |text: &str, next| Act::Print(text.to_owned(), Box::new(next));
    bench.acts([
        print("one\n", Act::Save(json!({"page": 3}), Box::new(Act::Fail("try again".to_owned())))),
        print("two\n", Act::Succeed),
    ]);
    let spec = TaskSpec::new("report", Work::handler("report")).restart(super::bench::restarts(1));
    let task = bench.task(spec).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(100)).await;
    let ended = promise.wait().await.unwrap();
    assert_eq!(ended.saved, json!({"page": 3}));
    assert_eq!(ended.outcome.unwrap().output.unwrap().bytes, 8);
    assert_eq!(events(&bench.run(promise.id()).await), ["restarting"]);
    let mut reader = bench.pool.outputs().read(promise.id());
    let frames: Vec<_> = std::iter::from_fn(|| reader.next_frame().unwrap()).collect();
    let text: Vec<u8> = frames.iter().flat_map(|frame| frame.content.show().into_owned()).collect();
    assert_eq!(text, b"one\ntwo\n");
}

#[tokio::test(start_paused = true)]
async fn work_that_cannot_be_started_fails_with_the_reason() {
    let bench = Bench::new().await;
    bench.acts([Act::Refuse(Failure::new(FailureKind::Start, "no such file"))]);
    let task = bench.handler("report").await;
    let ended = bench.go(&task).await.wait().await.unwrap();
    assert_eq!(ended.life, Life { state: RunState::Failed, attempt: 1, epoch: bench.session.epoch });
    assert!(ended.started_at.is_some() && ended.finished_at.is_some());
}
