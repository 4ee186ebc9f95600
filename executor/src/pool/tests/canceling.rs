use super::bench::{Bench, at, events, restarts, seconds};
use crate::executor::{Dispatch, Executor as _};
use crate::reservation::Reservation;
use crate::scripted::{Act, Ask};
use punctual_model::event::EventKind;
use punctual_model::{CancelWhy, Exit, FailureKind, Run, RunState, StopWhy, TaskSpec, Work};
use punctual_store::{RunStore as _, TaskStore as _};
use std::sync::Arc;

const CANCELED: RunState = RunState::Canceled { why: CancelWhy::Asked };

#[tokio::test(start_paused = true)]
async fn ex15_canceling_unblocks_all_waiters_and_twice_or_late_is_harmless() {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let promise = Arc::clone(&promise);
            tokio::spawn(async move { promise.wait().await.unwrap() })
        })
        .collect();
    bench.settle().await;
    promise.cancel().await.unwrap();
    promise.cancel().await.unwrap();
    for waiting in waiting {
        let run: Run = waiting.await.unwrap();
        assert_eq!(run.state(), CANCELED);
        let outcome = run.outcome.unwrap();
        assert_eq!(outcome.error.unwrap().kind, FailureKind::Canceled);
    }
    promise.cancel().await.unwrap();
    assert_eq!(bench.state(promise.id()).await, CANCELED);
    drop(promise);
    bench.nothing_left();
}

/// TR01: the exit code or signal of killed work is not lost; it stands in the record.
#[tokio::test(start_paused = true)]
async fn tr01_killing_running_work_keeps_its_exit() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    for (act, exit) in [(Act::Hang, Exit::Signal(15)), (Act::EndSlowly(seconds(1), 143), Exit::Code(143))] {
        bench.acts([act]);
        let promise = bench.go(&task).await;
        bench.settle().await;
        promise.cancel().await.unwrap();
        bench.pass(seconds(1)).await;
        let run = promise.wait().await.unwrap();
        assert_eq!((run.state(), run.outcome.as_ref().unwrap().exit), (CANCELED, Some(exit)));
        assert_eq!(events(&run), ["stopping"]);
    }
}

/// The end of an attempt and the wish for it cross: nobody is remembered who never comes.
#[tokio::test(start_paused = true)]
async fn a_stop_that_comes_after_its_run_has_left_leaves_nothing_behind() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    let ended = bench.go(&task).await.wait().await.unwrap();
    bench.settle().await;
    bench.pool.engine.stop_run(ended.id, StopWhy::Cancel).await;
    bench.nothing_left();
    // One whose attempt is still to come is remembered.
    bench.acts([Act::Hang]);
    let run = bench.enqueue(vec![bench.run_of(&task)], 1).await.remove(0);
    let (id, dispatch) = (run.id, Dispatch { run, task });
    bench.pool.cancel(id, CancelWhy::Asked).await.unwrap();
    bench.pool.execute(vec![dispatch], Reservation::none()).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.state(id).await, CANCELED);
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn exit_zero_while_it_is_stopped_still_ends_as_canceled() {
    let bench = Bench::new().await;
    bench.acts([Act::EndSlowly(seconds(1), 0)]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    assert!(matches!(bench.state(promise.id()).await, RunState::Stopping { .. }), "the intent is durable");
    bench.pass(seconds(1)).await;
    assert_eq!(promise.wait().await.unwrap().state(), CANCELED);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_go_within_its_grace_is_killed() {
    let bench = Bench::new().await;
    bench.acts([Act::IgnoreTerm]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(4)).await;
    assert!(!promise.state().await.unwrap().is_terminal());
    bench.pass(seconds(1)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!(run.finished_at, Some(at(5)));
    assert_eq!(events(&run), ["stopping", "killed"]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_that_fails_is_tried_again_with_growing_pauses() {
    let bench = Bench::new().await;
    bench.acts([Act::Stubborn(2)]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    // Two graces of 5 s, pauses of 5 s and 20 s.
    bench.pass(seconds(34)).await;
    assert!(!promise.state().await.unwrap().is_terminal());
    bench.pass(seconds(1)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.finished_at), (CANCELED, Some(at(35))));
    assert_eq!(events(&run), ["stopping", "kill failed", "kill failed"]);
    drop(promise);
    bench.nothing_left();
}

/// B10: neither who asks again nor who stops the node waits for the pause between two tries.
#[tokio::test(start_paused = true)]
async fn b10_the_pause_between_two_tries_to_kill_ends_when_it_is_asked_again_or_the_node_stops() {
    for stops in [false, true] {
        let bench = Bench::new().await;
        bench.acts([Act::Stubborn(2)]);
        let task = bench.handler("report").await;
        let promise = bench.go(&task).await;
        bench.settle().await;
        promise.cancel().await.unwrap();
        // The first try ends at 5 s, the second at 15 s, and a third one would come at 35 s.
        bench.pass(seconds(16)).await;
        let kills =
            || bench.driver.asked().iter().filter(|asked| matches!(asked.what, Ask::Kill { .. })).count();
        assert_eq!(kills(), 2);
        if stops {
            bench.pool.stop(seconds(0)).await;
        } else {
            promise.cancel().await.unwrap();
            bench.settle().await;
        }
        assert_eq!((kills(), bench.state(promise.id()).await), (3, CANCELED));
        let run = bench.store.run(promise.id()).await.unwrap().unwrap();
        assert_eq!(run.finished_at, Some(at(16)));
    }
}

/// B12. TR15: why a signal could not be given stands in the run in the driver's own words.
#[tokio::test(start_paused = true)]
async fn b12_after_five_tries_the_run_stays_stopping_until_it_is_asked_again() {
    let bench = Bench::new().await;
    bench.acts([Act::Stubborn(5)]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(100_000)).await;
    assert!(matches!(bench.state(promise.id()).await, RunState::Stopping { .. }), "no end is invented");
    let kills = || bench.driver.asked().iter().filter(|asked| matches!(asked.what, Ask::Kill { .. })).count();
    assert_eq!(kills(), 5);
    // B12: each is told in the run's history and counted, none is a line of the log only.
    let run = bench.run(promise.id()).await;
    let told = events(&run);
    assert_eq!(told, ["stopping", "kill failed", "kill failed", "kill failed", "kill failed", "kill failed"]);
    let last = run.events.iter().last().unwrap();
    assert_eq!(last.kind, EventKind::KillFailed { error: "scripted to be stubborn".to_owned() });
    assert_eq!(bench.pool.counters().kills_failed, 5);
    promise.cancel().await.unwrap();
    assert_eq!(promise.wait().await.unwrap().state(), CANCELED);
    assert_eq!(kills(), 6);
}

/// TR08: what is stopped before it was started never starts, and says why at once.
#[tokio::test(start_paused = true)]
async fn tr08_a_start_that_hangs_ends_when_its_run_is_canceled() {
    let bench = Bench::new().await;
    bench.acts([Act::HangAtStart]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.settle().await;
    let run = promise.wait().await.unwrap();
    assert_eq!((run.state(), run.finished_at), (CANCELED, Some(at(0))));
    assert!(run.state().reason().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_between_the_write_and_the_hand_over_is_heard() {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.handler("report").await;
    let reservation = bench.pool.reserve(&task, 1);
    let run = bench.enqueue(vec![bench.run_of(&task)], 1).await.remove(0);
    assert_eq!(run.state(), RunState::Starting);
    bench.pool.cancel(run.id, CancelWhy::Asked).await.unwrap();
    let dispatch = Dispatch { run, task };
    let promise = bench.pool.execute_promised(vec![dispatch], reservation).await.unwrap().remove(0);
    bench.settle().await;
    assert_eq!(promise.wait().await.unwrap().state(), CANCELED);
    assert!(bench.driver.started().is_empty());
    drop(promise);
    bench.nothing_left();
}

/// XT04
#[tokio::test(start_paused = true)]
async fn xt04_a_canceled_run_is_no_failure_moves_nothing_and_never_comes_back() {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let spec =
        TaskSpec::new("report", Work::handler("report")).concurrency(1).restart(restarts(5)).idempotent();
    let task = bench.task(spec).await;
    let running = bench.go(&task).await;
    let queued = bench.go(&task).await;
    let mut parked = bench.run_of(&task);
    parked.life.state = RunState::Scheduled { at: at(3600) };
    parked.run_at = at(3600);
    let parked = bench.go_with(&task, parked).await;
    bench.settle().await;
    assert_eq!(bench.state(running.id()).await, RunState::Running);
    assert_eq!(bench.state(queued.id()).await, RunState::Queued);
    // Waiting for the next attempt is one more way to wait.
    for promise in [&queued, &parked, &running] {
        promise.cancel().await.unwrap();
        let run = promise.wait().await.unwrap();
        assert_eq!(run.state(), CANCELED);
        assert!(run.finished_at.is_some());
    }
    bench.acts([Act::Exit(1)]);
    let between = bench.go(&task).await;
    bench.settle().await;
    assert!(matches!(bench.state(between.id()).await, RunState::Scheduled { .. }));
    between.cancel().await.unwrap();
    assert_eq!(between.wait().await.unwrap().state(), CANCELED);
    let progress = bench.store.task(task.id).await.unwrap().unwrap().progress;
    assert_eq!((progress.latest_success, progress.latest_failure), (None, None));
    let ids = [queued.id(), parked.id(), running.id(), between.id()];
    let started = bench.driver.started().len();
    assert_eq!(started, 2);
    let bench = bench.crash().await;
    bench.pass(seconds(10_000)).await;
    assert!(bench.driver.started().is_empty());
    for id in ids {
        assert_eq!(bench.state(id).await, CANCELED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_by_another_hand_reaches_the_attempt_by_the_stores_hint() {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.handler("report").await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    let replace = vec![(promise.id(), CancelWhy::Replaced)];
    bench.store.cancel(&bench.session, replace).await.unwrap();
    bench.settle().await;
    let run = promise.wait().await.unwrap();
    assert_eq!(run.state(), RunState::Canceled { why: CancelWhy::Replaced });
    // One that waits ends without us, and its promise hears of it.
    let mut parked = bench.run_of(&task);
    parked.life.state = RunState::Scheduled { at: at(3600) };
    parked.run_at = at(3600);
    let promise = bench.go_with(&task, parked).await;
    let waiting = tokio::spawn(async move { promise.wait().await.unwrap().state() });
    bench.settle().await;
    bench.store.cancel_waiting(&bench.session, task.id, CancelWhy::Deleted, 10).await.unwrap();
    assert_eq!(waiting.await.unwrap(), RunState::Canceled { why: CancelWhy::Deleted });
    bench.nothing_left();
}

#[tokio::test(start_paused = true)]
async fn work_may_cancel_its_own_run() {
    let clock_free = punctual_model::Failure::new(FailureKind::Canceled, "not needed today");
    let bench = Bench::new().await;
    bench.acts([Act::Refuse(clock_free)]);
    let spec = TaskSpec::new("report", Work::handler("report")).restart(restarts(5));
    let task = bench.task(spec).await;
    assert_eq!(bench.go(&task).await.wait().await.unwrap().state(), CANCELED);
}
