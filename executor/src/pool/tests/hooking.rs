//! Hooks around attempts.

use super::bench::{Bench, at, events, restarts, seconds};
use super::recorder::{Does, Log, Recorder, makers, spec, told, with};
use crate::executor::Executor as _;
use crate::scripted::{Act, Ask};
use punctual_model::{CancelWhy, FailureKind, LostWhy, RunState, TaskSpec};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn phases_come_in_their_order_forwards_before_the_work_and_backwards_after_it() {
    let log = Log::default();
    let bench = Bench::hooked(makers([Recorder::new("a", &log), Recorder::new("b", &log)])).await;
    let seen = Arc::clone(&log);
    bench.driver.script(move |_| {
        seen.lock().unwrap().push("work".to_owned());
        Act::Succeed
    });
    let task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    assert_eq!(promise.wait().await.unwrap().state(), RunState::Succeeded);
    let all = [
        "a prestart",
        "b prestart",
        "work",
        "a poststart",
        "b poststart",
        "b exited well",
        "a exited well",
        "b stop succeeded",
        "a stop succeeded",
    ];
    assert_eq!(told(&log), all);
    drop(promise);
    bench.nothing_left();
}

/// B20: the mark of a failure before the start decides whether there is another attempt.
#[tokio::test(start_paused = true)]
async fn b20_a_failure_before_the_start_is_repeated_only_if_it_may_go_better() {
    let (bench, log) = with([("prestart", Does::FailAttempt)]).await;
    let task = bench.task(spec().restart(restarts(1))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(100)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::Failed, 2));
    let message = run.outcome.unwrap().error.unwrap().message;
    assert_eq!(message, "hook a: broken");
    assert_eq!(told(&log), ["a prestart", "a prestart", "a stop failed"]);
    assert!(bench.driver.started().is_empty(), "the first error aborts");

    let (bench, log) = with([("prestart", Does::Fail)]).await;
    let task = bench.task(spec().restart(restarts(5))).await;
    let run = bench.go(&task).await.wait().await.unwrap();
    assert_eq!((run.state(), run.life.attempt), (RunState::Failed, 1));
    assert_eq!(told(&log), ["a prestart", "a stop failed"]);
    assert_eq!(bench.pool.counters().hooks_failed, 1);
}

/// B36: an end that is asked for while nothing of the work lives yet is not lost. B21: hooks can be canceled.
#[tokio::test(start_paused = true)]
async fn b21_b36_a_hook_that_hangs_before_the_start_ends_when_the_run_is_canceled_or_its_time_is_up() {
    let (bench, log) = with([("prestart", Does::Hang)]).await;
    let task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.settle().await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.finished_at), (RunState::Canceled { why: CancelWhy::Asked }, Some(at(0))));
    assert_eq!(told(&log), ["a prestart", "a stop canceled"]);

    let task = bench.task(TaskSpec { name: "late".to_owned(), ..spec() }.timeout(seconds(30))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(30)).await;
    assert_eq!(promise.wait().await.unwrap().state(), RunState::TimedOut);
    assert_eq!(told(&log), ["a prestart", "a stop timed_out"]);
    assert!(bench.driver.started().is_empty());
}

/// B3, B22: the node's stop is not the run's. Who hangs before the start goes back into the queue, untold of any end.
#[tokio::test(start_paused = true)]
async fn b22_the_stop_of_the_node_ends_a_hanging_hook_and_tells_no_stop_hook() {
    let (bench, log) = with([("prestart", Does::Hang)]).await;
    let task = bench.task(spec()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let report = bench.pool.stop(Duration::ZERO).await;
    assert!(report.left.is_empty());
    assert_eq!(bench.state(id).await, RunState::Queued);
    assert_eq!(told(&log), ["a prestart"]);
}

/// B3, B22: work that goes on without us keeps what its hooks made, and comes back without a second start (B16).
#[tokio::test(start_paused = true)]
async fn b3_b16_b22_hooks_of_work_that_goes_on_are_told_of_no_end_and_it_is_found_again() {
    let (bench, log) = with([("prestart", Does::Store("token"))]).await;
    bench.acts([Act::Hang]);
    bench.driver.detaches();
    let task = bench.task(spec()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    bench.pool.stop(Duration::ZERO).await;
    assert_eq!(told(&log), ["a prestart", "a poststart"]);
    let bench = bench.restart().await;
    bench.driver.is_alive(id, Act::run_for(seconds(5)));
    bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    bench.pass(seconds(5)).await;
    assert_eq!(bench.state(id).await, RunState::Succeeded);
    let all = ["a poststart reattached", "a exited well reattached", "a stop succeededtoken reattached"];
    assert_eq!(told(&log), all);
    assert!(bench.driver.started().is_empty(), "not started a second time");
}

/// What a hook that is done once has given holds for later attempts, also after the death of the process.
#[tokio::test(start_paused = true)]
async fn what_is_done_is_not_done_again_and_its_variables_hold_on() {
    let log = Log::default();
    let done = Recorder::new("a", &log).does("prestart", Does::Done);
    let again = Recorder::new("b", &log).does("prestart", Does::Store("stored"));
    let bench = Bench::hooked(makers([done, again])).await;
    let envs = Arc::new(Mutex::new(Vec::new()));
    let look = |bench: &Bench| {
        let envs = Arc::clone(&envs);
        bench.driver.script(move |attempt| {
            let setup = attempt.setup.clone().unwrap();
            envs.lock().unwrap().push(setup.env.get("key").cloned());
            Act::Exit(1)
        });
    };
    look(&bench);
    let task = bench.task(spec().restart(restarts(2))).await;
    let id = bench.go(&task).await.id();
    bench.pass(seconds(100)).await;
    let bench = bench.restart().await;
    look(&bench);
    bench.pass(seconds(100)).await;
    assert_eq!(bench.state(id).await, RunState::Failed);
    let prestarts: Vec<String> = told(&log).into_iter().filter(|line| line.contains("prestart")).collect();
    assert_eq!(prestarts, ["a prestart", "b prestart", "b prestart stored", "b prestart stored"]);
    assert_eq!(*envs.lock().unwrap(), vec![Some("a".to_owned()); 3]);
}

/// B24: what fails after the start is seen, and the work goes on; unless the hook is one that counts.
#[tokio::test(start_paused = true)]
async fn b24_a_failure_after_the_start_is_an_event_or_ends_the_work_if_it_counts() {
    let (bench, _log) = with([("poststart", Does::Fail)]).await;
    bench.acts([Act::run_for(seconds(1))]);
    let task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(1)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!(run.state(), RunState::Succeeded);
    assert_eq!(events(&run), ["hook failed"]);

    for phase in ["poststart", "exited"] {
        let (bench, log) = with([(phase, Does::FailAttempt)]).await;
        bench.acts([Act::run_for(seconds(1))]);
        let task = bench.task(spec()).await;
        let promise = bench.go(&task).await;
        bench.pass(seconds(1)).await;
        let run = promise.wait().await.unwrap();
        assert_eq!(run.state(), RunState::Failed, "{phase}");
        let failure = run.outcome.unwrap().error.unwrap();
        assert!(failure.recoverable && failure.message == "hook a: broken", "{failure:?}");
        let told = told(&log);
        assert_eq!(told.last().map(String::as_str), Some("a stop failed"));
        let kills =
            bench.driver.asked().iter().filter(|asked| matches!(asked.what, Ask::Kill { .. })).count();
        assert_eq!(kills, usize::from(phase == "poststart"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_hook_ends_neither_the_others_nor_the_run_in_silence() {
    for phase in ["poststart", "exited", "stop"] {
        let (bench, log) = with([(phase, Does::Panic)]).await;
        let task = bench.task(spec()).await;
        let run = bench.go(&task).await.wait().await.unwrap();
        assert_eq!(run.state(), RunState::Succeeded, "{phase}");
        assert_eq!(told(&log).last().map(String::as_str), Some("a stop succeeded"));
        assert_eq!(bench.pool.counters().hooks_failed, 1);
    }
    let (bench, log) = with([("prestart", Does::Panic)]).await;
    let task = bench.task(spec()).await;
    let run = bench.go(&task).await.wait().await.unwrap();
    assert_eq!(run.outcome.unwrap().error.unwrap().kind, FailureKind::Panic);
    assert_eq!(told(&log), ["a prestart", "a stop failed"]);
}

/// TR12, TR23: who has to take the work off a list does so before it gets its signal.
#[tokio::test(start_paused = true)]
async fn tr12_tr23_hooks_come_before_the_signal_and_after_each_exit() {
    let (bench, log) = with([("prekill", Does::Take(seconds(3)))]).await;
    bench.acts([Act::Hang]);
    let task = bench.task(spec().timeout(seconds(10)).restart(restarts(1))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(12)).await;
    let kills = || bench.driver.asked().iter().filter(|asked| matches!(asked.what, Ask::Kill { .. })).count();
    assert_eq!(kills(), 0, "no signal before the hook is through");
    bench.pass(seconds(1)).await;
    assert_eq!(kills(), 1);
    let first = ["a prestart", "a poststart", "a prekill Some(Timeout)", "a prekill over", "a exited badly"];
    assert_eq!(told(&log), first, "an exit that is followed by another attempt is no stop");
    bench.pass(seconds(75)).await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(3)).await;
    let second = [
        "a prestart",
        "a poststart",
        "a prekill Some(Cancel)",
        "a prekill over",
        "a exited badly",
        "a stop canceled",
    ];
    assert_eq!(told(&log), second);
    assert!(promise.wait().await.unwrap().state().is_terminal());
}

#[tokio::test(start_paused = true)]
async fn work_that_goes_while_hooks_are_told_of_its_end_is_not_signalled() {
    let (bench, _log) = with([("prekill", Does::Take(seconds(3)))]).await;
    bench.acts([Act::run_for(seconds(12))]);
    let task = bench.task(spec().timeout(seconds(10))).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(13)).await;
    assert_eq!(promise.wait().await.unwrap().state(), RunState::TimedOut);
    assert!(bench.driver.asked().iter().all(|asked| !matches!(asked.what, Ask::Kill { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_holds_the_run_for_five_minutes_and_the_stop_of_the_node_for_five_seconds() {
    for phase in ["poststart", "exited", "stop"] {
        let (bench, log) = with([(phase, Does::Hang)]).await;
        let task = bench.task(spec()).await;
        let promise = bench.go(&task).await;
        bench.pass(seconds(299)).await;
        assert!(!promise.state().await.unwrap().is_terminal(), "{phase}");
        bench.pass(seconds(1)).await;
        assert_eq!(promise.wait().await.unwrap().state(), RunState::Succeeded);
        assert_eq!(told(&log).last().map(String::as_str), Some("a stop succeeded"));
    }
    let (bench, _log) = with([("exited", Does::Hang)]).await;
    let task = bench.task(spec()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let pool = &bench.pool;
    let (report, ()) = tokio::join!(pool.stop(Duration::ZERO), bench.pass(seconds(5)));
    assert_eq!(report.left, []);
    assert_eq!(bench.state(id).await, RunState::Succeeded);
}

/// TR12: the signal waits, and no longer than the work lives. TR13: the stop of the node does not wait.
#[tokio::test(start_paused = true)]
async fn tr12_tr13_the_signal_waits_for_the_shutdown_delay_unless_the_work_goes_or_the_node_stops() {
    let kills = |bench: &Bench| {
        bench.driver.asked().iter().filter(|asked| matches!(asked.what, Ask::Kill { .. })).count()
    };
    let delayed = || TaskSpec { shutdown_delay: seconds(10), ..spec() };
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.task(delayed()).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(9)).await;
    assert_eq!(kills(&bench), 0, "not before the delay is over");
    bench.pass(seconds(1)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((kills(&bench), run.finished_at), (1, Some(at(10))));
    assert_eq!(events(&run), ["stopping", "shutdown delay"]);

    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(4))]);
    let task = bench.task(delayed()).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(4)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((kills(&bench), run.finished_at), (0, Some(at(4))), "it went by itself");

    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.task(delayed()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    bench.pool.stop(Duration::ZERO).await;
    let run = bench.run(id).await;
    assert!(kills(&bench) == 1 && run.state().is_terminal(), "{:?}", run.state());
    assert!(events(&run).contains(&"shutdown delay skipped"));
}

/// B36: an end during the delay of a restart.
#[tokio::test(start_paused = true)]
async fn b36_the_end_of_a_run_between_two_attempts_is_told_to_its_hooks_once() {
    let (bench, log) = with([("prestart", Does::Store("token"))]).await;
    bench.acts([Act::Exit(1)]);
    let task = bench.task(spec().restart(restarts(5))).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    assert_eq!(told(&log), ["a prestart", "a poststart", "a exited badly"]);
    promise.cancel().await.unwrap();
    bench.settle().await;
    assert_eq!(told(&log), ["a stop canceledtoken"]);
    bench.pass(seconds(1000)).await;
    assert_eq!(bench.driver.started().len(), 1);
    assert_eq!(told(&log), [""; 0]);
}

/// What was stored before a restart of the node is given to those who hear of an end after it.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_that_waits_is_told_with_what_was_stored_before_the_node_came_back() {
    for crashes in [true, false] {
        let (bench, log) = with([("prestart", Does::Store("token"))]).await;
        bench.acts([Act::Exit(1)]);
        let task = bench.task(spec().restart(restarts(5))).await;
        let id = bench.go(&task).await.id();
        bench.settle().await;
        told(&log);
        let bench = if crashes { bench.crash().await } else { bench.restart().await };
        assert!(bench.state(id).await.is_waiting());
        bench.pool.cancel(id, CancelWhy::Asked).await.unwrap();
        bench.settle().await;
        assert_eq!(told(&log), ["a stop canceledtoken"]);
    }
}

/// The node dies between the end and its hooks, or while they are at work, once and again: they hear of it until they
/// have done their part, and then no more.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_that_waited_is_told_by_the_next_node_if_this_one_dies_before_that_is_done() {
    let (bench, log) = with([("prestart", Does::Store("token")), ("stop", Does::Take(seconds(60)))]).await;
    bench.acts([Act::Exit(1)]);
    let task = bench.task(spec().restart(restarts(5))).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    told(&log);
    bench.pool.cancel(id, CancelWhy::Asked).await.unwrap();
    let bench = bench.crash().await;
    bench.settle().await;
    assert_eq!(told(&log), ["a stop canceledtoken"], "the end was durable, and it was not told");
    let bench = bench.crash().await;
    bench.pass(seconds(30)).await;
    let bench = bench.restart().await;
    bench.pass(seconds(61)).await;
    assert_eq!(told(&log), ["a stop canceledtoken", "a stop canceledtoken", "a stop over"]);
    let bench = bench.crash().await;
    bench.pass(seconds(1000)).await;
    assert_eq!(told(&log), [""; 0]);
    assert_eq!(bench.state(id).await, RunState::Canceled { why: CancelWhy::Asked });
}

#[tokio::test(start_paused = true)]
async fn hooks_hear_of_the_loss_of_an_attempt_that_nobody_found_again() {
    let (bench, log) = with([("prestart", Does::Store("token"))]).await;
    bench.acts([Act::Hang]);
    let task = bench.task(spec()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let bench = bench.crash().await;
    told(&log);
    let run = bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    assert_eq!(told(&log), ["a stop losttoken"], "with what it had stored before the crash");

    // With another attempt to come there is no end to tell of.
    let task = bench.task(TaskSpec { name: "again".to_owned(), ..spec() }.idempotent()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let bench = bench.crash().await;
    told(&log);
    bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    bench.settle().await;
    let told = told(&log);
    assert!(told.iter().all(|line| !line.starts_with("a stop lost")), "{told:?}");
}
