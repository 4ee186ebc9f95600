//! Tasks as they are written, and what their runs leave beside them.

use crate::clockwork::{at, create, scripted, secs, task};
use jiff::SignedDuration;
use punctual::coordinator::Change;
use punctual::model::RunStateName;
use punctual::prelude::*;
use punctual::testing::Act;

/// TS08: an offset of zero is none, in the definition and as it is written; it can come back; a new definition
/// without one has none.
#[tokio::test(start_paused = true)]
async fn ts08_an_offset_of_zero_is_none_and_a_new_definition_without_one_clears_it() {
    let t = scripted().await;
    let plain = task("report").every(secs(60));
    let id = create(&t, plain.clone().offset(SignedDuration::from_secs(10))).await;
    let set = |seconds| {
        let change = move |spec: &mut TaskSpec| spec.offset = SignedDuration::from_secs(seconds);
        let tasks = t.tasks();
        async move {
            let task = tasks.update(id, Change::default(), change).await.unwrap().stored.task;
            serde_json::to_value(&task.spec).unwrap().get("offset").cloned()
        }
    };
    assert_eq!(set(0).await, None);
    assert_eq!(set(10).await, Some("10s".into()));
    let written = t.tasks().upsert(plain.clone()).await.unwrap().stored.task;
    assert_eq!((written.id, &written.spec, written.revision), (id, &plain, 4));
    t.advance(secs(60)).await;
    assert_eq!(t.last_run("report").await.unwrap().run_at, at(60));
}

/// TS09: from its creation a task knows from when its dues count; each end moves that on, with how it ended.
#[tokio::test(start_paused = true)]
async fn ts09_a_task_begins_at_its_creation_and_each_end_moves_it_forward() {
    let t = scripted().await;
    t.script(|attempt| match attempt.run.scheduled_for == at(120) {
        true => Act::FailForGood("no such table".to_owned()),
        false => Act::Succeed,
    });
    let id = create(&t, task("report").every(secs(60))).await;
    let read = || async { t.tasks().get(id).await.unwrap() };
    let stored = read().await;
    assert_eq!((stored.task.created_at, stored.progress.checkpoint), (at(0), Some(at(0))));
    assert_eq!((stored.progress.latest_completed, stored.progress.last_status), (None, None));
    for (due, status, error) in [
        (60, RunStateName::Succeeded, None),
        (120, RunStateName::Failed, Some("no such table")),
        (180, RunStateName::Succeeded, None),
    ] {
        t.advance(secs(60)).await;
        let progress = read().await.progress;
        assert_eq!((progress.checkpoint, progress.latest_scheduled), (Some(at(due)), Some(at(due))));
        assert_eq!(progress.latest_completed, Some(at(due)));
        assert_eq!((progress.last_status, progress.last_error.as_deref()), (Some(status), error));
    }
    // A run by hand for an old time moves nothing back.
    let request = RunRequest { scheduled_for: Some(at(30)), ..RunRequest::default() };
    t.tasks().run_now(id, request).await.unwrap().promise.wait().await.unwrap();
    assert_eq!(read().await.progress.latest_completed, Some(at(180)));
}
