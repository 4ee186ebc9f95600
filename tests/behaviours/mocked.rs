//! The room that does the work, mocked: a test sees what the engine feeds it.

use crate::clockwork::{START, at, create, secs, task};
use futures_util::future::poll_immediate;
use punctual::coordinator::Change;
use punctual::executor::{Counters, Dispatch, Executor, Reservation, RunPromise};
use punctual::model::{CancelWhy, RunId};
use punctual::prelude::*;
use punctual::testing::{MockExecutor, MockRunPromise, TestEngine};
use std::sync::{Arc, Mutex};

type Fed = Arc<Mutex<Vec<Dispatch>>>;

fn promise(run: RunId) -> Arc<dyn RunPromise> {
    let mut promise = MockRunPromise::new();
    promise.expect_id().return_const(run);
    Arc::new(promise)
}

/// Writes down what it is fed and has no worker for any of it.
fn executor(fed: &Fed, canceled: &Arc<Mutex<Vec<RunId>>>) -> MockExecutor {
    let mut mock = MockExecutor::new();
    mock.expect_reserve().returning(|_, _| Reservation::none());
    let seen = Arc::clone(fed);
    mock.expect_execute().returning(move |batch, _| {
        seen.lock().unwrap().extend(batch);
        Ok(())
    });
    let seen = Arc::clone(fed);
    mock.expect_run_manually().returning(move |dispatch, _| {
        let run = dispatch.run.id;
        seen.lock().unwrap().push(dispatch);
        Ok(promise(run))
    });
    mock.expect_update().return_const(());
    let seen = Arc::clone(canceled);
    mock.expect_cancel().returning(move |run, why| {
        assert_eq!(why, CancelWhy::Asked);
        seen.lock().unwrap().push(run);
        Ok(None)
    });
    mock
}

/// CO06, CO08, CO02 through the library's own face, with a mocked executor.
#[tokio::test(start_paused = true)]
async fn a_mocked_executor_is_fed_what_is_due_and_what_is_asked_for_whole() {
    let (fed, canceled) = (Fed::default(), Arc::default());
    let mock: Arc<dyn Executor> = Arc::new(executor(&fed, &canceled));
    let t = TestEngine::with(START, move |builder| builder.executor(Arc::clone(&mock))).await;
    let id = create(&t, task("report").every(secs(60))).await;
    t.advance(secs(120)).await;
    let rename = |spec: &mut TaskSpec| spec.name = "renamed".to_owned();
    let changed = t.tasks().update(id, Change::default(), rename).await.unwrap().stored.task;
    t.advance(secs(60)).await;
    let accepted = t.tasks().run_now(id, RunRequest::default()).await.unwrap();
    assert_eq!(accepted.promise.id(), accepted.run.id);
    {
        let fed = fed.lock().unwrap();
        let times: Vec<_> = fed.iter().map(|dispatch| dispatch.run.scheduled_for).collect();
        assert_eq!(times, [at(60), at(120), at(180), at(180)]);
        assert_eq!(fed[0].task.spec.name, "report");
        assert!(fed[2..].iter().all(|dispatch| dispatch.task == changed));
        assert_eq!(fed[3].run, accepted.run);
    }
    // Nothing but the mock works here: the runs wait, and nobody counts.
    assert!(t.runs("renamed").await.iter().all(|run| run.state() == RunState::Queued));
    assert!(t.driver().asked().is_empty());
    assert_eq!(t.counters(), Counters::default());
    assert_eq!(poll_immediate(t.idle()).await, Some(()));
    assert!(t.outputs().tail(accepted.run.id, 10).unwrap().is_empty());
    t.tasks().cancel(accepted.run.id).await.unwrap_err();
    assert_eq!(*canceled.lock().unwrap(), [accepted.run.id]);
    // A start over the same store feeds the same mock.
    let t = t.crash_and_reopen().await;
    t.advance(secs(60)).await;
    assert_eq!(fed.lock().unwrap().last().unwrap().run.scheduled_for, at(240));
    let stopped = t.stop().await;
    assert_eq!(stopped.work.completed, 0);
}
