//! What the executor has to find again of a run: kept with it, and no part of what others see.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::EdgeAnswer;
use punctual_model::{CancelWhy, Run, RunEvent, RunState};
use serde_json::json;

pub async fn what_the_executor_has_to_find_again_is_written_at_once_and_goes_with_the_end(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let (kept, ended) = (scene.at_work(&task).await, scene.at_work(&task).await);
    for run in [&kept, &ended] {
        let mut edge = scene.edge(run, RunEvent::Noted);
        edge.patch.local = Some(json!({"hooks": {"warm": 1}}));
        let noted = scene.applied(edge.clone()).await;
        assert_eq!((noted.life, &noted.local), (run.life, &json!({"hooks": {"warm": 1}})));
        edge.fence.attempt += 1;
        assert!(matches!(scene.step(edge).await, EdgeAnswer::Stale(_)));
    }
    scene.reopen().await;
    assert_eq!(scene.read(kept.id).await.local, json!({"hooks": {"warm": 1}}));
    let again = scene.happens(&kept, RunEvent::Restarting { at: scene.now() }).await;
    assert_eq!(again.local, json!({"hooks": {"warm": 1}}), "it is the run's, not the attempt's");
    let mut edge = scene.edge(&ended, RunEvent::Succeeded);
    edge.patch.local = Some(json!(1));
    assert_eq!(scene.applied(edge).await.local, json!(null));
}

/// Whoever lives an attempt tells its hooks of the run's end before it writes that. An end that no attempt made is still
/// to be told to them, and with what they had stored, also by a later session.
pub async fn what_hooks_have_stored_outlives_an_end_that_no_attempt_made(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let local = json!({"hooks": {"warm": 1}});
    let mut runs = Vec::new();
    for _ in 0..4 {
        let run = scene.at_work(&task).await;
        let mut edge = scene.edge(&run, RunEvent::Noted);
        edge.patch.local = Some(local.clone());
        runs.push(scene.applied(edge).await);
    }
    let later = scene.at(3_600);
    let [waiting, stopped, cut_short, ended] = <[Run; 4]>::try_from(runs).unwrap();
    scene.happens(&waiting, RunEvent::Restarting { at: later }).await;
    for run in [&stopped, &cut_short, &ended] {
        scene.cancel(run.id).await;
    }
    // It was to be made again, and its end was asked for in that moment.
    let stopped = scene.happens(&stopped, RunEvent::Restarting { at: later }).await;
    let cut_short = scene.happens(&cut_short, RunEvent::Interrupted).await;
    let ended = scene.happens(&ended, RunEvent::Canceled { why: CancelWhy::Asked }).await;
    assert_eq!(ended.local, json!(null), "its hooks were told");
    scene.reopen().await;
    scene.cancel(waiting.id).await;
    scene.reopen().await;
    for id in [waiting.id, stopped.id, cut_short.id] {
        let run = scene.read(id).await;
        assert_eq!((run.state(), run.local), (RunState::Canceled { why: CancelWhy::Asked }, local.clone()));
    }
}

/// Who has to tell them finds those runs after a restart, without looking through the history, until they are told.
pub async fn an_end_that_no_attempt_made_is_kept_in_mind_until_it_is_told(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.retention.runs = 0).await;
    let later = scene.at(3_600);
    let (waiting, stopped, ended) =
        (scene.at_work(&task).await, scene.at_work(&task).await, scene.at_work(&task).await);
    scene.happens(&waiting, RunEvent::Restarting { at: later }).await;
    scene.cancel(stopped.id).await;
    assert!(scene.store().untold(9).await.unwrap().is_empty(), "neither has ended");
    scene.happens(&stopped, RunEvent::Restarting { at: later }).await;
    scene.happens(&ended, RunEvent::Failed).await;
    let fresh = scene.queued(&task).await;
    scene.cancel(fresh.id).await;
    scene.cancel(waiting.id).await;
    for _ in 0..2 {
        assert_eq!(scene.store().untold(9).await.unwrap(), [waiting.id, stopped.id]);
        scene.reopen().await;
    }
    assert_eq!(scene.store().untold(1).await.unwrap(), [waiting.id]);
    assert!(scene.store().deleted_with_open_runs().await.unwrap().is_empty());
    let session = scene.session.clone();
    let mut pruned = scene.store().prune(&session, task.id, 9).await.unwrap().runs;
    pruned.sort_unstable();
    assert_eq!(pruned, [ended.id, fresh.id], "what is to be told has to be there");
    for _ in 0..2 {
        scene.store().told(&session, vec![waiting.id, ended.id]).await.unwrap();
        assert_eq!(scene.store().untold(9).await.unwrap(), [stopped.id]);
    }
    scene.store().told(&session, vec![stopped.id]).await.unwrap();
    scene.reopen().await;
    assert!(scene.store().untold(9).await.unwrap().is_empty());
    let session = scene.session.clone();
    let mut pruned = scene.store().prune(&session, task.id, 9).await.unwrap().runs;
    pruned.sort_unstable();
    assert_eq!(pruned, [waiting.id, stopped.id]);
}
