use super::bench::{Bench, events, seconds};
use crate::error::Error;
use crate::executor::Executor as _;
use crate::scripted::{Act, Ask};
use punctual_clock::Clock as _;
use punctual_model::{FailureKind, LostWhy, RunState, TaskSpec, Work};

fn spec(name: &str) -> TaskSpec {
    TaskSpec::new(name, Work::handler(name))
}

#[tokio::test(start_paused = true)]
async fn stopping_with_nothing_to_do_is_done_at_once_and_twice_is_harmless() {
    let bench = Bench::new().await;
    assert_eq!(bench.pool.stop(seconds(1000)).await.interrupted, []);
    assert_eq!(bench.pool.stop(seconds(1000)).await.left, []);
}

#[tokio::test(start_paused = true)]
async fn what_ends_within_the_grace_ends_well_and_nothing_new_begins() {
    let bench = Bench::with(crate::Limits { in_process: 1, processes: 1 }).await;
    bench.acts([Act::run_for(seconds(5))]);
    let task = bench.task(spec("report")).await;
    let (first, second) = (bench.go(&task).await, bench.go(&task).await);
    bench.settle().await;
    let stopping = async { bench.pool.stop(seconds(10)).await };
    let (report, ()) = tokio::join!(stopping, bench.pass(seconds(10)));
    assert_eq!((report.interrupted.len(), report.left.len(), report.completed), (0, 0, 1));
    assert_eq!(bench.state(first.id()).await, RunState::Succeeded);
    assert_eq!(bench.state(second.id()).await, RunState::Queued);
    assert_eq!(second.wait().await.unwrap_err(), Error::Stopped);
    assert_eq!(first.wait().await.unwrap().state(), RunState::Succeeded);
}

/// What has been at work for long will not end in a moment; what is young may, and is recorded then.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_what_goes_on_without_it_but_for_a_moment() {
    let bench = Bench::new().await;
    bench.driver.detaches();
    bench.driver.script(|attempt| match attempt.task.spec.name.as_str() {
        "short" => Act::run_for(seconds(4)),
        _ => Act::Hang,
    });
    let (task, brief) = (bench.task(spec("report")).await, bench.task(spec("short")).await);
    let old = bench.go(&task).await.id();
    bench.pass(seconds(3_600)).await;
    let (short, young) = (bench.go(&brief).await.id(), bench.go(&task).await.id());
    bench.pass(seconds(1)).await;
    let begun = bench.clock.monotonic();
    let stopping = async {
        let report = bench.pool.stop(seconds(100_000)).await;
        (report, bench.clock.monotonic() - begun)
    };
    let ((report, took), ()) = tokio::join!(stopping, bench.pass(seconds(9)));
    assert_eq!((report.detached, report.interrupted, report.left), (vec![old, young], vec![], vec![]));
    assert_eq!(took, seconds(9), "the youngest was ten seconds old by then");
    assert_eq!(bench.state(short).await, RunState::Succeeded);
    assert!(bench.state(old).await.is_at_work() && bench.state(young).await.is_at_work());

    // Where all of it is old nothing is waited for.
    let bench = Bench::new().await;
    bench.driver.detaches();
    bench.acts([Act::Hang]);
    let task = bench.task(spec("other")).await;
    let id = bench.go(&task).await.id();
    bench.pass(seconds(10)).await;
    assert_eq!(bench.pool.stop(seconds(100_000)).await.detached, [id]);
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_short_is_requeued_if_it_may_be_repeated_and_lost_otherwise() {
    let bench = Bench::new().await;
    bench.acts([Act::EndSlowly(seconds(2), 1)]);
    let (again, once) = (bench.task(spec("again").idempotent()).await, bench.task(spec("once")).await);
    let (again, once) = (bench.go(&again).await.id(), bench.go(&once).await.id());
    bench.settle().await;
    let (report, ()) = tokio::join!(bench.pool.stop(seconds(10)), bench.pass(seconds(20)));
    let mut interrupted = report.interrupted.clone();
    interrupted.sort_unstable();
    assert_eq!((interrupted, report.left.len()), (vec![again, once], 0));
    let run = bench.run(again).await;
    assert_eq!((run.state(), run.restarts.count), (RunState::Queued, 0));
    assert_eq!(events(&run), ["interrupted"]);
    let run = bench.run(once).await;
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::Interrupted });
    assert_eq!(run.outcome.unwrap().error.unwrap().kind, FailureKind::Interrupted);
    // The next session finishes what was put back.
    let bench = bench.restart().await;
    bench.settle().await;
    let run = bench.run(again).await;
    assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 2));
}

#[tokio::test(start_paused = true)]
async fn what_finishes_its_work_when_told_to_end_has_succeeded() {
    let bench = Bench::new().await;
    bench.acts([Act::EndSlowly(seconds(1), 0)]);
    let task = bench.task(spec("report")).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let (_, ()) = tokio::join!(bench.pool.stop(seconds(0)), bench.pass(seconds(5)));
    assert_eq!(bench.state(id).await, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_begun_goes_back_whether_or_not_it_may_be_repeated() {
    let bench = Bench::new().await;
    bench.acts([Act::HangAtStart]);
    let task = bench.task(spec("report")).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    bench.pool.stop(seconds(0)).await;
    assert_eq!(bench.state(id).await, RunState::Queued);
}

/// What may have begun is never called not begun: doing it twice may do harm.
#[tokio::test(start_paused = true)]
async fn what_may_have_begun_and_was_ended_unseen_is_lost_and_goes_back_only_where_its_task_allows_it() {
    for idempotent in [false, true] {
        let bench = Bench::new().await;
        bench.acts([Act::BeginUnheard]);
        let task = bench.task(TaskSpec { idempotent, ..spec("report") }).await;
        let id = bench.go(&task).await.id();
        bench.settle().await;
        bench.pool.stop(seconds(0)).await;
        let expect = if idempotent { RunState::Queued } else { RunState::Lost { why: LostWhy::Interrupted } };
        assert_eq!(bench.state(id).await, expect);
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_goes_on_by_itself_is_left_alone_and_found_again() {
    let bench = Bench::new().await;
    bench.driver.detaches();
    bench.acts([Act::Hang]);
    let task = bench.task(spec("report")).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    bench.pool.stop(seconds(0)).await;
    assert_eq!(bench.state(id).await, RunState::Running);
    let asked: Vec<Ask> = bench.driver.asked().into_iter().map(|asked| asked.what).collect();
    assert_eq!(asked, [Ask::Start, Ask::Detach]);
    let bench = bench.restart().await;
    bench.driver.is_alive(id, Act::Succeed);
    bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.state(id).await, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_stop_shortens_the_grace_of_what_is_being_ended_already() {
    let bench = Bench::new().await;
    bench.acts([Act::IgnoreTerm]);
    let mut spec = spec("report");
    spec.kill.grace = seconds(3600);
    let task = bench.task(spec).await;
    let promise = bench.go(&task).await;
    bench.settle().await;
    promise.cancel().await.unwrap();
    bench.pass(seconds(5)).await;
    let (report, ()) = tokio::join!(bench.pool.stop(seconds(5)), bench.pass(seconds(20)));
    assert_eq!(report.left, []);
    let run = bench.run(promise.id()).await;
    assert!(matches!(run.state(), RunState::Canceled { .. }), "{:?}", run.state());
    assert_eq!(run.finished_at, Some(super::bench::at(20)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_ended_is_left_behind_and_named() {
    let bench = Bench::new().await;
    bench.acts([Act::Stubborn(100)]);
    let task = bench.task(spec("report")).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    let (report, ()) = tokio::join!(bench.pool.stop(seconds(5)), bench.pass(seconds(60)));
    assert_eq!(report.left, [id]);
    assert!(bench.state(id).await.is_at_work(), "the next start judges it");
}
