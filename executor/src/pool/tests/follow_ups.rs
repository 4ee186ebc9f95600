//! Runs that tell of the ends of others, as the executor lives them.

use super::bench::{Bench, seconds};
use crate::driver::Attempt;
use crate::executor::Executor as _;
use crate::scripted::Act;
use punctual_model::hook::Call;
use punctual_model::{Run, RunId, RunState, TaskSpec, Work, follow_up};
use punctual_store::{RunFilter, RunStore as _};
use std::sync::{Arc, Mutex};

fn told() -> TaskSpec {
    let mut spec = TaskSpec::new("copy", Work::handler("copy"));
    spec.on_failure = Some(Call::Command(vec!["tell".into(), "bad".into()]));
    spec.on_recovered = Some(Call::Command(vec!["tell".into(), "good".into()]));
    spec.concurrency = Some(punctual_model::task::Concurrency { limit: 1, key: None });
    spec
}

async fn all(bench: &Bench) -> Vec<Run> {
    let filter = RunFilter { oldest_first: true, limit: 100, ..RunFilter::default() };
    bench.store.runs(&filter).await.unwrap().items
}

async fn teller_of(bench: &Bench, cause: RunId) -> Run {
    let mut tellers = all(bench).await;
    tellers.retain(|run| run.trigger.follows() == Some(cause));
    assert_eq!(tellers.len(), 1, "exactly one");
    tellers.remove(0)
}

/// What each attempt was asked to do: the work by its driver and arguments.
fn asked(bench: &Bench, acts: fn(&Attempt) -> Act) -> Arc<Mutex<Vec<String>>> {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&seen);
    bench.driver.script(move |attempt| {
        let what = match &attempt.task.spec.work {
            Work::Process { argv, .. } => argv.join(" "),
            other => other.driver().to_owned(),
        };
        kept.lock().unwrap().push(what);
        acts(attempt)
    });
    seen
}

#[tokio::test(start_paused = true)]
async fn a_bad_end_is_told_by_a_run_with_restarts_of_its_own_and_the_next_good_one_too() {
    let bench = Bench::new().await;
    let work = asked(&bench, |attempt| match &attempt.task.spec.work {
        Work::Handler { .. } if attempt.run.params.is_null() => Act::Exit(1),
        Work::Process { .. } if attempt.run.life.attempt == 1 => Act::Exit(1),
        _ => Act::Succeed,
    });
    let task = bench.task(told()).await;
    let failed = bench.go(&task).await.wait().await.unwrap();
    assert_eq!(failed.state(), RunState::Failed);
    bench.pass(follow_up::DELAY * 2).await;
    let teller = teller_of(&bench, failed.id).await;
    assert_eq!((teller.state(), teller.life.attempt), (RunState::Succeeded, 2));
    assert_eq!(*work.lock().unwrap(), ["handler", "tell bad", "tell bad"]);

    let mut well = bench.run_of(&task);
    well.params = serde_json::json!({"well": true});
    let well = bench.go_with(&task, well).await.wait().await.unwrap();
    bench.pass(follow_up::DELAY * 2).await;
    assert_eq!(teller_of(&bench, well.id).await.state(), RunState::Succeeded);
    assert_eq!(work.lock().unwrap()[3..], ["handler", "tell good", "tell good"]);
    assert_eq!(all(&bench).await.len(), 4, "nobody tells of what tells");
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_cut_at_its_own_timeout_and_fails_without_a_word() {
    let bench = Bench::new().await;
    asked(&bench, |attempt| match &attempt.task.spec.work {
        Work::Handler { .. } => Act::Exit(1),
        _ => Act::Hang,
    });
    let task = bench.task(told()).await;
    let failed = bench.go(&task).await.wait().await.unwrap();
    // No timeout of the task's own, all pauses and attempts of the one that tells.
    bench.pass((follow_up::TIMEOUT + follow_up::MAX_DELAY) * (follow_up::RESTARTS + 2)).await;
    let teller = teller_of(&bench, failed.id).await;
    assert_eq!((teller.state(), teller.life.attempt), (RunState::TimedOut, follow_up::RESTARTS + 1));
    assert_eq!(all(&bench).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_waits_in_the_store_for_whoever_comes_after_a_crash() {
    let bench = Bench::new().await;
    // The process dies while what tells is at work: nobody sees its end, and telling twice does no harm.
    asked(&bench, |attempt| match &attempt.task.spec.work {
        Work::Handler { .. } => Act::Exit(1),
        _ => Act::run_for(seconds(60)),
    });
    let task = bench.task(told()).await;
    let failed = bench.go(&task).await.wait().await.unwrap();
    bench.pass(seconds(1)).await;
    let teller = teller_of(&bench, failed.id).await;
    assert!(teller.state().is_at_work(), "{teller:?}");

    let bench = bench.crash().await;
    let work = asked(&bench, |_| Act::Succeed);
    let left = bench.store.begun_before(bench.session.epoch, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|run| run.id).collect::<Vec<_>>(), [teller.id]);
    bench.pool.resume(bench.dispatch(teller.id).await).await.unwrap();
    bench.pass(seconds(1)).await;
    let again = teller_of(&bench, failed.id).await;
    assert_eq!((again.id, again.state(), again.life.attempt), (teller.id, RunState::Succeeded, 2));
    assert_eq!(*work.lock().unwrap(), ["tell bad"], "never the task's own work");
}
