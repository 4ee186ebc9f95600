//! Pauses of tasks that fail too often in a row.
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::{Expect, PutAnswer, PutTask, StoredTask};
use punctual_model::{CancelWhy, LostWhy, RunEvent, Task, TaskId, TaskStatus};
use std::sync::Arc;

async fn stored(scene: &Scene<'_>, id: TaskId) -> StoredTask {
    scene.store().task(id).await.unwrap().unwrap()
}

/// PF01, PF02: the count, what moves it, and the pause in the commit of the end.
pub async fn the_end_that_is_one_failure_too_many_pauses_its_task_in_the_same_commit(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.pause_after_failures = Some(3)).await;
    let ends = [
        RunEvent::Failed,
        RunEvent::Failed,
        RunEvent::Succeeded,
        RunEvent::TimedOut,
        RunEvent::Canceled { why: CancelWhy::Asked },
        RunEvent::Lost { why: LostWhy::Vanished },
        RunEvent::Failed,
    ];
    let mut counts = Vec::new();
    let mut last = None;
    for (n, end) in ends.into_iter().enumerate() {
        // The count is of the task, not of the process.
        if n == 5 {
            scene.reopen().await;
        }
        let run = scene.at_work(&task).await;
        scene.advance(1);
        last = Some(scene.happens(&run, end).await);
        let stored = stored(&scene, task.id).await;
        counts.push(stored.progress.failures_in_row);
        let paused = n == 6;
        assert_eq!(!stored.task.is_active(), paused, "after end {n}");
    }
    assert_eq!(counts, [1, 2, 0, 1, 1, 2, 3]);
    let told = last.unwrap().events.iter().last().map(|event| event.kind.text());
    assert_eq!(told.as_deref(), Some("its task was paused after 3 failures in a row"));
    for _ in 0..2 {
        let stored = stored(&scene, task.id).await;
        assert_eq!((stored.task.revision, stored.progress.paused_after), (task.revision + 1, Some(3)));
        assert_eq!(stored.task.spec.pause_after_failures, Some(3));
        assert_eq!(stored.task.updated_at, scene.now());
        scene.reopen().await;
    }
    // By hand it can be run, and a failure more changes nothing.
    let run = scene.at_work(&task).await;
    scene.happens(&run, RunEvent::Failed).await;
    let stored = stored(&scene, task.id).await;
    assert_eq!((stored.task.revision, stored.progress.failures_in_row), (task.revision + 1, 4));
    // Made active again, it counts anew.
    let mut active = Task::clone(&stored.task);
    (active.revision, active.spec.status) = (active.revision + 1, TaskStatus::Active);
    let put = PutTask {
        task: Arc::new(active),
        expect: Expect::Revision(stored.task.revision),
        raise_checkpoint: None,
    };
    let PutAnswer::Stored(stored) = scene.store().put_task(&scene.session, put).await.unwrap() else {
        panic!("not stored")
    };
    assert_eq!((stored.progress.failures_in_row, stored.progress.paused_after), (0, None));
}
