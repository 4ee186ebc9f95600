use super::bench::{Bench, at, events, restarts, seconds};
use crate::executor::Executor as _;
use crate::scripted::{Act, Ask};
use punctual_model::restart::{OnLost, RestartPolicy};
use punctual_model::{CancelWhy, LostWhy, RunId, RunState, TaskSpec, Work};

/// A run that was at work when the process died.
async fn died_at_work(spec: TaskSpec) -> (Bench, RunId) {
    let bench = Bench::new().await;
    bench.acts([Act::Hang]);
    let task = bench.task(spec).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    assert_eq!(bench.state(id).await, RunState::Running);
    (bench.crash().await, id)
}

fn spec() -> TaskSpec {
    TaskSpec::new("report", Work::handler("report"))
}

#[tokio::test(start_paused = true)]
async fn what_is_found_alive_is_adopted_and_watched_to_its_end() {
    let (bench, id) = died_at_work(spec()).await;
    bench.driver.is_alive(id, Act::Run(seconds(5), Box::new(Act::Exit(0))));
    let run = bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    assert_eq!((run.life.epoch, run.life.attempt), (bench.session.epoch, 1));
    let promise = bench.pool.promise(id).await.unwrap().unwrap();
    bench.pass(seconds(5)).await;
    let run = promise.wait().await.unwrap();
    assert_eq!(run.state(), RunState::Succeeded);
    assert_eq!(events(&run), ["reattached"]);
    assert!(bench.driver.asked().iter().all(|asked| asked.what == Ask::Recover), "not started again");
    assert_eq!(bench.pool.counters().resumed, 1);
    drop(promise);
    bench.nothing_left();
}

/// TR04: nobody is asked first.
#[tokio::test(start_paused = true)]
async fn what_is_not_found_is_lost_and_never_a_success() {
    let (bench, id) = died_at_work(spec().restart(restarts(5))).await;
    let run = bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    assert_eq!(run.state(), RunState::Lost { why: LostWhy::NodeDied });
    // Taken up twice is taken up once.
    let again = bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    assert_eq!(again, run);
    bench.pass(seconds(1000)).await;
    assert!(bench.driver.started().is_empty());
}

/// TR04
#[tokio::test(start_paused = true)]
async fn a_lost_attempt_is_made_again_at_once_where_the_task_allows_it() {
    let on_lost = RestartPolicy { on_lost: OnLost::Restart, ..RestartPolicy::default() };
    for spec in [spec().idempotent(), spec().restart(on_lost)] {
        let (bench, id) = died_at_work(spec).await;
        let run = bench.pool.resume(bench.dispatch(id).await).await.unwrap();
        assert!(run.state().is_waiting());
        bench.settle().await;
        let run = bench.run(id).await;
        assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 2));
        assert_eq!(events(&run), ["lost attempt"]);
        assert_eq!(run.restarts.count, 0, "not counted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_being_stopped_ends_as_what_it_was_stopped_for() {
    let bench = Bench::new().await;
    bench.acts([Act::IgnoreTerm]);
    let task = bench.task(spec().idempotent()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    bench.pool.cancel(id, CancelWhy::Asked).await.unwrap();
    bench.settle().await;
    let bench = bench.crash().await;
    let run = bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    assert_eq!(run.state(), RunState::Canceled { why: CancelWhy::Asked });
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_being_stopped_and_is_found_alive_is_stopped() {
    let bench = Bench::new().await;
    bench.acts([Act::IgnoreTerm]);
    let task = bench.task(spec()).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    bench.pool.cancel(id, CancelWhy::Asked).await.unwrap();
    bench.settle().await;
    let bench = bench.crash().await;
    bench.driver.is_alive(id, Act::Hang);
    bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.state(id).await, RunState::Canceled { why: CancelWhy::Asked });
    assert!(bench.driver.asked().iter().any(|asked| matches!(asked.what, Ask::Kill { .. })));
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_adopted_work_counts_from_its_start() {
    let (bench, id) = died_at_work(spec().timeout(seconds(60))).await;
    bench.pass(seconds(40)).await;
    bench.driver.is_alive(id, Act::Hang);
    bench.pool.resume(bench.dispatch(id).await).await.unwrap();
    bench.pass(seconds(19)).await;
    assert!(!bench.state(id).await.is_terminal());
    bench.pass(seconds(1)).await;
    let run = bench.run(id).await;
    assert_eq!((run.state(), run.finished_at), (RunState::TimedOut, Some(at(60))));
}

/// TR32: asking for what is not there is empty, not an error.
#[tokio::test(start_paused = true)]
async fn tr32_what_had_not_begun_needs_no_taking_up() {
    let bench = Bench::new().await;
    let task = bench.task(spec()).await;
    let mut parked = bench.run_of(&task);
    parked.life.state = RunState::Scheduled { at: at(100) };
    parked.run_at = at(100);
    let id = bench.go_with(&task, parked).await.id();
    let bench = bench.crash().await;
    let before = bench.run(id).await;
    assert_eq!(bench.pool.resume(bench.dispatch(id).await).await.unwrap(), before);
    assert!(bench.driver.asked().is_empty());
    assert!(bench.pool.promise(RunId::new(9999).unwrap()).await.unwrap().is_none());
    bench.pass(seconds(100)).await;
    assert_eq!(bench.state(id).await, RunState::Succeeded);
}
