//! Keeping history within its bounds.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::RunFilter;
use punctual_model::overlap::SkipWhy;
use punctual_model::task::Retention;
use punctual_model::{Life, RunEvent, RunId, RunState, Task};
use std::time::Duration;

fn keep(runs: u32) -> Retention {
    Retention { runs, ..Retention::default() }
}

async fn kept(scene: &Scene<'_>, task: &Task) -> Vec<RunId> {
    let filter = RunFilter { task: Some(task.id), oldest_first: true, limit: 1_000, ..RunFilter::default() };
    scene.list(filter).await
}

async fn prune(scene: &Scene<'_>, task: &Task) -> Vec<RunId> {
    let mut gone = Vec::new();
    loop {
        let pruned = scene.store().prune(&scene.session, task.id, 10).await.unwrap();
        assert!(pruned.runs.len() <= 10);
        gone.extend(pruned.runs);
        if !pruned.more {
            return gone;
        }
    }
}

async fn skip(scene: &mut Scene<'_>, task: &Task) -> RunId {
    let seen = scene.store().task(task.id).await.unwrap().unwrap().progress.checkpoint;
    scene.advance(1);
    let mut run = scene.draft_due(task, scene.now());
    run.life = Life::born(RunState::Skipped { why: SkipWhy::QueueFull { waiting: 1 } });
    let id = run.id;
    scene.due(task, seen, vec![run]).await;
    id
}

pub async fn history_is_kept_by_count_with_marks_apart(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.retention = keep(3)).await;
    let other = scene.task("b").await;
    let stays = scene.ended(&other).await;
    let (mut runs, mut marks) = (Vec::new(), Vec::new());
    for n in 0..30 {
        marks.push(skip(&mut scene, &task).await);
        if n % 6 == 0 {
            runs.push(scene.ended(&task).await.id);
        }
    }
    let begun = scene.at_work(&task).await;
    let mut expect: Vec<_> = marks[..27].iter().chain(&runs[..2]).copied().collect();
    expect.sort_unstable();
    assert_eq!(prune(&scene, &task).await, expect);
    let mut left: Vec<_> = marks[27..].iter().chain(&runs[2..]).copied().chain([begun.id]).collect();
    left.sort_unstable();
    assert_eq!(kept(&scene, &task).await, left);
    assert_eq!(prune(&scene, &task).await, []);
    scene.reopen().await;
    assert_eq!(scene.store().run(runs[0]).await.unwrap(), None);
    assert_eq!(kept(&scene, &task).await, left);
    assert_eq!(scene.read(stays.id).await, stays);
    // The newest go on being counted.
    runs.push(scene.happens(&begun, RunEvent::Failed).await.id);
    assert_eq!(prune(&scene, &task).await, [runs[2]]);
}

pub async fn history_is_kept_by_age_and_what_is_unfinished_stays(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let retention = Retention { runs: 100, age: Duration::from_secs(3_600) };
    let task = scene.task_with("a", |spec| spec.retention = retention).await;
    let waits = {
        let mut run = scene.draft_run(&task);
        run.life = Life::born(RunState::Scheduled { at: scene.at(86_400) });
        scene.enqueue_all(vec![run], 0).await.remove(0).id
    };
    let begun = scene.at_work(&task).await;
    let old = scene.ended(&task).await;
    let mark = skip(&mut scene, &task).await;
    scene.advance(3_000);
    let young = scene.ended(&task).await;
    assert_eq!(prune(&scene, &task).await, []);
    scene.advance(601);
    assert_eq!(prune(&scene, &task).await, [old.id, mark]);
    assert_eq!(kept(&scene, &task).await, [waits, begun.id, young.id]);
    // A run counts from its end.
    let ended = scene.happens(&begun, RunEvent::Succeeded).await;
    scene.advance(3_000);
    assert_eq!(prune(&scene, &task).await, [young.id]);
    scene.advance(601);
    assert_eq!(prune(&scene, &task).await, [ended.id]);
    assert_eq!(kept(&scene, &task).await, [waits]);
}

pub async fn an_overgrown_history_is_named_once_until_it_grows_again(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.retention = keep(2)).await;
    let other = scene.task_with("b", |spec| spec.retention = keep(2)).await;
    for _ in 0..3 {
        scene.ended(&task).await;
    }
    assert_eq!(scene.store().overgrown(9), [], "a little over is no reason yet");
    for _ in 0..60 {
        scene.ended(&task).await;
        skip(&mut scene, &other).await;
    }
    assert_eq!(scene.store().overgrown(1), [task.id]);
    assert_eq!(scene.store().overgrown(9), [other.id]);
    assert_eq!(scene.store().overgrown(9), []);
    scene.ended(&task).await;
    assert_eq!(scene.store().overgrown(9), [task.id]);
    prune(&scene, &task).await;
    scene.ended(&task).await;
    assert_eq!(scene.store().overgrown(9), []);
}

pub async fn pruning_goes_on_where_it_stopped(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let one = punctual_model::task::Concurrency { limit: 1, key: None };
    let task = scene.task_with("a", |spec| (spec.retention, spec.concurrency) = (keep(1), Some(one))).await;
    // Many unfinished ones stand before what may go.
    let waiting = scene.queued_many(&task, 1_500).await;
    let mut marks = Vec::new();
    for _ in 0..25 {
        marks.push(skip(&mut scene, &task).await);
    }
    assert_eq!(prune(&scene, &task).await, marks[..24]);
    assert_eq!(kept(&scene, &task).await.len(), 1_000);
    assert_eq!(scene.claimed(1).await, waiting[..1]);
}

pub async fn a_revision_is_readable_as_long_as_a_run_refers_to_it(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let mut task = scene.task_with("a", |spec| spec.retention = keep(1)).await;
    let mut runs = Vec::new();
    for n in 1..=4 {
        runs.push(scene.ended(&task).await);
        task = scene.change(&task, |spec| spec.description = n.to_string()).await;
    }
    assert_eq!(prune(&scene, &task).await.len(), 3);
    for reopened in [false, true] {
        if reopened {
            scene.reopen().await;
        }
        let mut readable = Vec::new();
        for revision in 1..=5 {
            let found = scene.store().task_revision(task.id, revision).await.unwrap();
            readable.extend(found.map(|task| task.revision));
        }
        assert_eq!(readable, [4, 5], "run {} used 4, and 5 is the current one", runs[3].id);
    }
    // Of a deleted task, too.
    assert!(scene.store().delete_task(&scene.session, task.id, None).await.unwrap());
    assert!(scene.store().task_revision(task.id, 4).await.unwrap().is_some());
}
