use super::bench::{Bench, at, events, restarts, seconds};
use crate::scripted::{Act, Ask};
use punctual_model::event::EventKind;
use punctual_model::restart::{RestartMode, RestartPolicy};
use punctual_model::{Failure, FailureKind, RunState, TaskSpec, Work};

fn spec(policy: RestartPolicy) -> TaskSpec {
    TaskSpec::new("report", Work::handler("report")).restart(policy)
}

/// XT10, B1: the delay is really waited, `started_at` is set, and exit 0 ends the run.
#[tokio::test(start_paused = true)]
async fn xt10_the_restart_delay_is_really_waited_and_holds_no_seat() {
    let bench = Bench::new().await;
    bench.acts([Act::Exit(1), Act::Exit(0)]);
    let task = bench.task(spec(restarts(3))).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    let run = bench.run(promise.id()).await;
    let RunState::Scheduled { at: next } = run.state() else { panic!("{:?}", run.state()) };
    assert!(next >= at(60) && next <= at(75), "{next}");
    assert_eq!(run.started_at, Some(at(0)));
    assert_eq!(bench.pool.counters().active, 0);
    bench.pass(seconds(59)).await;
    assert_eq!(bench.driver.started().len(), 1, "nothing starts before its time");
    bench.pass(seconds(16)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 2));
    assert_eq!((run.started_at, run.finished_at), (Some(next), Some(next)));
    drop(promise);
    bench.nothing_left();
}

/// TR21
#[tokio::test(start_paused = true)]
async fn tr21_a_recoverable_start_error_is_tried_again_and_then_not() {
    let bench = Bench::new().await;
    bench.acts([Act::Refuse(Failure::new(FailureKind::Start, "busy").recoverable())]);
    let task = bench.task(spec(restarts(1))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(100)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::Failed, 2));
    assert_eq!(events(&run), ["restarting", "not restarting"]);
    let texts: Vec<String> = run.events.iter().map(|event| event.kind.text()).collect();
    assert!(texts[0].starts_with("attempt 1 ended (busy); restart within policy, in 1m"), "{}", texts[0]);
    assert!(texts[1].starts_with("exceeded allowed attempts 1"), "{}", texts[1]);
}

/// TR19: the exact sequence of a start that fails by its policy.
#[tokio::test(start_paused = true)]
async fn tr19_failures_are_repeated_by_policy_with_an_exact_sequence_of_events() {
    let bench = Bench::new().await;
    bench.acts([Act::Refuse(Failure::new(FailureKind::Start, "busy").recoverable())]);
    let task = bench.task(spec(restarts(3))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(1000)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!(events(&run), ["restarting", "restarting", "restarting", "not restarting"]);
    assert_eq!(bench.driver.asked().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_unrecoverable_error_ends_the_run_at_once() {
    let bench = Bench::new().await;
    bench.acts([Act::FailForGood("tenant has no data".to_owned())]);
    let task = bench.task(spec(restarts(3))).await;
    let run = bench.go(&task).await.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::Failed, 1));
    assert_eq!(events(&run), ["not restarting"]);
}

/// B37
#[tokio::test(start_paused = true)]
async fn the_count_survives_the_death_of_the_process() {
    let bench = Bench::new().await;
    bench.acts([Act::Exit(1)]);
    let task = bench.task(spec(restarts(1))).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let bench = bench.crash().await;
    bench.acts([Act::Exit(1)]);
    bench.pass(seconds(100)).await;
    assert_eq!(bench.state(id).await, RunState::Failed);
    assert_eq!(bench.driver.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn mode_delay_waits_for_the_end_of_the_interval() {
    let bench = Bench::new().await;
    bench.acts([Act::Exit(1)]);
    let policy = RestartPolicy {
        interval: seconds(600),
        mode: RestartMode::Delay,
        ..RestartPolicy::attempts(1, seconds(10))
    };
    let task = bench.task(spec(policy)).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(20)).await;
    assert_eq!(bench.state(promise.id()).await, RunState::Scheduled { at: at(600) });
    bench.pass(seconds(579)).await;
    assert_eq!(bench.driver.started().len(), 2, "it waits in the queue until then");
    bench.pass(seconds(1)).await;
    assert_eq!(bench.driver.started().len(), 3);
}

/// B4: who is ended while he waits for his next attempt does not get it.
#[tokio::test(start_paused = true)]
async fn a_cancel_during_the_pause_is_the_end() {
    let bench = Bench::new().await;
    bench.acts([Act::Exit(1)]);
    let task = bench.task(spec(restarts(3))).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(1000)).await;
    assert!(matches!(bench.state(promise.id()).await, RunState::Canceled { .. }));
    assert_eq!(bench.driver.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_total_time_counts_from_the_first_start_also_after_a_crash() {
    let bench = Bench::new().await;
    bench.acts([Act::Exit(1)]);
    let policy = RestartPolicy { max_time: Some(seconds(200)), ..restarts(100) };
    let task = bench.task(spec(policy)).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    assert_eq!(bench.run(id).await.restarts.first_start, Some(at(0)));
    let bench = bench.crash().await;
    bench.acts([Act::Exit(1)]);
    bench.pass(seconds(400)).await;
    let run = bench.run(id).await;
    assert_eq!(run.state(), RunState::Failed);
    assert!(run.started_at.unwrap() <= at(200), "{:?}", run.started_at);
    assert!(run.life.attempt >= 3, "three pauses of 60 to 75 s begin within 200 s; {}", run.life.attempt);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_started_again_after_success() {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(1))]);
    let policy = RestartPolicy { on_success: true, ..restarts(1000) };
    let task = bench.task(spec(policy)).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(400)).await;
    assert!(bench.driver.started().len() >= 5);
    promise.cancel().await.unwrap();
    bench.settle().await;
    assert!(promise.wait().await.unwrap().state().is_terminal());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_stopped_and_counts_as_a_failure() {
    let bench = Bench::new().await;
    bench.acts([Act::EndSlowly(seconds(2), 0)]);
    let task = bench.task(spec(restarts(1)).timeout(seconds(30))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(30)).await;
    assert!(matches!(bench.state(promise.id()).await, RunState::Stopping { .. }), "the intent is durable");
    bench.pass(seconds(2)).await;
    assert!(matches!(bench.state(promise.id()).await, RunState::Scheduled { .. }));
    bench.pass(seconds(200)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::TimedOut, 2));
    let failure = run.outcome.as_ref().unwrap().error.as_ref().unwrap();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Timeout, "took longer than its timeout of 30s")
    );
    assert_eq!(events(&run), ["stopping", "restarting", "stopping", "not restarting"]);
    drop(promise);
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_timed_out_too() {
    let bench = Bench::new().await;
    bench.acts([Act::HangAtStart]);
    let task = bench.task(spec(RestartPolicy::default()).timeout(seconds(30))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(30)).await;
    assert_eq!(promise.wait().await.unwrap().state(), RunState::TimedOut);
    let asked: Vec<Ask> = bench.driver.asked().into_iter().map(|asked| asked.what).collect();
    assert_eq!(asked, [Ask::Start, Ask::Recover], "whatever it had begun is looked for");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_during_the_stop_for_a_timeout_wins() {
    let bench = Bench::new().await;
    bench.acts([Act::EndSlowly(seconds(4), 1)]);
    let task = bench.task(spec(restarts(5)).timeout(seconds(30))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(31)).await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(3)).await;
    let run = promise.wait().await.unwrap();
    assert!(matches!(run.state(), RunState::Canceled { .. }), "{:?}", run.state());
    assert!(run.events.iter().all(|event| !matches!(event.kind, EventKind::Restarting { .. })));
}
