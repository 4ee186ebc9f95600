//! Definitions that change while their runs are at work.

use super::bench::{Bench, events, restarts, seconds};
use super::recorder::{Does, spec, told, with};
use crate::executor::Executor as _;
use crate::scripted::{Act, Ask};
use punctual_model::{RunState, StopWhy, Task, Work};
use std::sync::Arc;

/// B13: a change never waits for the work, and of many the newest is followed, one at a time.
#[tokio::test(start_paused = true)]
async fn b13_changes_reach_running_work_one_at_a_time_and_the_newest_wins() {
    let (bench, log) = with([("update", Does::Take(seconds(2)))]).await;
    bench.acts([Act::run_for(seconds(60))]);
    let mut task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    told(&log);
    for _ in 0..4 {
        task = bench.change(&task, |spec| spec.description.push('x')).await;
        bench.settle().await;
    }
    bench.pass(seconds(10)).await;
    assert_eq!(told(&log), ["a update 2", "a update over", "a update 5", "a update over"]);
    // One that is older than what is known changes nothing.
    bench.pool.update(Arc::new(Task { revision: 3, ..Task::clone(&task) }));
    bench.pass(seconds(10)).await;
    assert_eq!(told(&log), [""; 0]);
    bench.pass(seconds(60)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!(
        (run.state(), run.revision),
        (RunState::Succeeded, 1),
        "the record keeps what it was started by"
    );
}

#[tokio::test(start_paused = true)]
async fn restart_policy_timeout_and_kill_settings_apply_to_running_work_at_once() {
    let bench = Bench::new().await;
    bench.acts([Act::IgnoreTerm]);
    let task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    bench.pass(seconds(20)).await;
    bench
        .change(&task, |spec| {
            spec.timeout = Some(seconds(30));
            spec.kill.grace = seconds(1);
            spec.kill.signal = "INT".to_owned();
            spec.restart = restarts(1);
        })
        .await;
    bench.pass(seconds(10)).await;
    assert!(matches!(bench.state(promise.id()).await, RunState::Stopping { why: StopWhy::Timeout, .. }));
    bench.pass(seconds(1)).await;
    assert!(matches!(bench.state(promise.id()).await, RunState::Scheduled { .. }), "by the new policy");
    let kill = Ask::Kill { signal: "INT".to_owned(), grace: seconds(1) };
    assert!(bench.driver.asked().iter().any(|asked| asked.what == kill));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_taken_away_does_not_end_the_work_not_even_while_it_starts() {
    for act in [Act::run_for(seconds(60)), Act::HangAtStart] {
        let bench = Bench::new().await;
        bench.acts([act]);
        let task = bench.task(spec().timeout(seconds(30))).await;
        let promise = bench.go(&task).await;
        bench.pass(seconds(20)).await;
        bench.change(&task, |spec| spec.timeout = None).await;
        bench.pass(seconds(20)).await;
        assert!(bench.state(promise.id()).await.is_at_work());
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_apply_to_running_work_waits_for_the_next_attempt_and_says_so() {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(10))]);
    let task = bench.task(spec()).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    bench.change(&task, |spec| spec.work = Work::handler("another")).await;
    bench.settle().await;
    let run = bench.run(promise.id()).await;
    assert_eq!(events(&run), ["update deferred"]);
    let text = run.events.iter().next().unwrap().kind.text();
    assert!(text.contains("revision 2") && text.contains("work"), "{text}");
    bench.pass(seconds(10)).await;
    assert_eq!(bench.driver.started(), ["report"]);
}

/// A change while nobody watched is followed by who finds the work again.
#[tokio::test(start_paused = true)]
async fn adopted_work_follows_what_was_changed_meanwhile() {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.task(spec()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let bench = bench.crash().await;
    bench.change(&task, |spec| spec.timeout = Some(seconds(30))).await;
    bench.driver.is_alive(id, Act::Hang);
    bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    bench.pass(seconds(30)).await;
    assert_eq!(bench.state(id).await, RunState::TimedOut);
}
