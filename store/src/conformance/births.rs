//! How runs come to be: dues with their checkpoints, runs by hand, keys that make asking twice harmless.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::{Enqueued, Materialise, Materialised, RunFilter, StoredTask};
use jiff::Timestamp;
use punctual_model::overlap::SkipWhy;
use punctual_model::state::{Missed, MissedWhy};
use punctual_model::{
    CancelWhy, Life, Overlap, Run, RunEvent, RunId, RunState, RunStateName, StopWhy, Task, TaskStatus,
    Trigger,
};
use std::sync::Arc;

fn stored(answer: Materialised) -> Vec<Run> {
    match answer {
        Materialised::Stored { births, .. } => births,
        other => panic!("{other:?}"),
    }
}

async fn count(scene: &Scene<'_>, task: &Task) -> usize {
    scene.list(RunFilter { task: Some(task.id), limit: 1_000, ..RunFilter::default() }).await.len()
}

fn entry(task: &Task, seen: Option<Timestamp>, births: Vec<Run>) -> Materialise {
    let checkpoint = births[0].scheduled_for;
    let (task, revision) = (task.id, task.revision);
    Materialise {
        task,
        revision,
        seen_checkpoint: seen,
        checkpoint,
        births,
        replaces: Vec::new(),
        reserved: 0,
    }
}

pub async fn a_due_has_one_record_and_a_second_look_at_it_is_stale(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let due = scene.at(-1);
    let births = vec![scene.draft_due(&task, due)];
    let born = stored(scene.due(&task, None, births.clone()).await);
    assert_eq!(born, births);
    assert_eq!(scene.read(born[0].id).await, births[0]);
    // The same again, and again under another id: both were derived from a checkpoint that has moved.
    let again = vec![scene.draft_due(&task, due)];
    for births in [births, again] {
        let Materialised::Stale(Some(StoredTask { progress, .. })) = scene.due(&task, None, births).await
        else {
            panic!("not stale")
        };
        assert_eq!(progress.checkpoint, Some(due));
        assert_eq!(progress.latest_scheduled, Some(due));
    }
    assert_eq!(count(&scene, &task).await, 1);
}

pub async fn a_due_of_a_changed_paused_or_deleted_task_is_stale(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let births = vec![scene.draft_due(&task, scene.now())];
    let changed = scene.change(&task, |spec| spec.priority = 1).await;
    let Materialised::Stale(Some(current)) = scene.due(&task, None, births.clone()).await else {
        panic!("not stale")
    };
    assert_eq!(*current.task, changed);
    let paused = scene.change(&changed, |spec| spec.status = TaskStatus::Paused).await;
    assert!(matches!(scene.due(&paused, None, births.clone()).await, Materialised::Stale(Some(_))));
    assert!(scene.store().delete_task(&scene.session, task.id, None).await.unwrap());
    assert_eq!(scene.due(&paused, None, births.clone()).await, Materialised::Stale(None));
    let never = scene.draft("never", |_| ());
    assert_eq!(scene.due(&never, None, births).await, Materialised::Stale(None));
    assert_eq!(count(&scene, &task).await, 0);
}

pub async fn of_dues_that_race_for_one_checkpoint_one_is_stored(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let other = scene.task("b").await;
    let due = scene.now();
    // Within one call.
    let twice = vec![
        entry(&task, None, vec![scene.draft_due(&task, due)]),
        entry(&other, None, vec![scene.draft_due(&other, due)]),
        entry(&task, None, vec![scene.draft_due(&task, due)]),
    ];
    let answers = scene.store().materialise(&scene.session, twice).await.unwrap();
    assert!(matches!(
        answers[..],
        [Materialised::Stored { .. }, Materialised::Stored { .. }, Materialised::Stale(Some(_))]
    ));
    // Between calls.
    let later = scene.at(60);
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let dues = vec![entry(&task, Some(due), vec![scene.draft_due(&task, later)])];
        let (store, session) = (scene.store(), scene.session.clone());
        racers.spawn(async move { store.materialise(&session, dues).await.unwrap().remove(0) });
    }
    let answers = racers.join_all().await;
    let won = answers.iter().filter(|answer| matches!(answer, Materialised::Stored { .. })).count();
    assert_eq!(won, 1);
    assert_eq!(count(&scene, &task).await, 2);
}

pub async fn a_checkpoint_outlives_the_process_and_only_rises(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let (first, second) = (scene.at(-60), scene.at(-30));
    let due = vec![scene.draft_due(&task, second)];
    stored(scene.due(&task, None, due).await);
    scene.reopen().await;
    let due = vec![scene.draft_due(&task, first)];
    assert!(matches!(scene.due(&task, None, due).await, Materialised::Stale(Some(_))));
    // A record for an older due does not lower it.
    let due = vec![scene.draft_due(&task, first)];
    stored(scene.due(&task, Some(second), due).await);
    let progress = scene.store().task(task.id).await.unwrap().unwrap().progress;
    assert_eq!(progress.checkpoint, Some(second));
    assert_eq!(progress.latest_scheduled, Some(second));
}

pub async fn skipped_and_missed_dues_are_born_terminal_and_move_nothing_but_the_checkpoint(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let mut skipped = scene.draft_due(&task, scene.now());
    skipped.life = Life::born(RunState::Skipped { why: SkipWhy::QueueFull { waiting: 3 } });
    let mut missed = scene.draft_due(&task, scene.at(-60));
    let (from, to) = (scene.at(-600), scene.at(-60));
    let why = MissedWhy::PolicySkip;
    missed.life = Life::born(RunState::Missed(Missed { from, to, count: 10, at_least: false, why }));
    let born = stored(scene.due(&task, None, vec![missed.clone(), skipped.clone()]).await);
    assert_eq!(born, [missed, skipped.clone()]);
    assert_eq!(scene.claimed(10).await, []);
    assert!(scene.store().unfinished(task.id).await.unwrap().is_empty());
    let progress = scene.store().task(task.id).await.unwrap().unwrap().progress;
    assert_eq!(progress.checkpoint, Some(skipped.scheduled_for));
    assert_eq!((progress.latest_scheduled, progress.latest_completed), (None, None));
    assert_eq!((progress.last_status, progress.last_finished_at), (None, None));
    assert_eq!(scene.store().stats().waiting, 0);
}

pub async fn a_due_with_a_reserved_worker_starts_at_once_within_every_limit(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let limit = punctual_model::task::Concurrency { limit: 2, key: None };
    let task = scene.task_with("a", |spec| spec.concurrency = Some(limit)).await;
    let free = scene.task("b").await;
    let now = scene.now();
    let births: Vec<_> = (0..3).map(|_| scene.draft_due(&task, now)).collect();
    let mut later = scene.draft_due(&free, now);
    later.life = Life::born(RunState::Scheduled { at: scene.at(60) });
    let others = vec![later, scene.draft_due(&free, now), scene.draft_due(&free, now)];
    let dues = vec![
        Materialise { reserved: 3, ..entry(&task, None, births) },
        Materialise { reserved: 1, ..entry(&free, None, others) },
    ];
    let answers = scene.store().materialise(&scene.session, dues).await.unwrap();
    let states = |answer: &Materialised| match answer {
        Materialised::Stored { births, .. } => {
            births.iter().map(|run| run.state().name()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    use RunStateName::{Queued, Scheduled, Starting};
    assert_eq!(states(&answers[0]), [Starting, Starting, Queued]);
    assert_eq!(states(&answers[1]), [Scheduled, Starting, Queued]);
    let Materialised::Stored { births, .. } = &answers[0] else { unreachable!() };
    let begun = scene.read(births[0].id).await;
    assert_eq!(begun, births[0]);
    assert_eq!((begun.life.attempt, begun.life.epoch), (1, scene.session.epoch));
    assert_eq!(begun.started_at, Some(now));
    // They count against the limit, and are claimed by nobody else.
    assert_eq!(scene.claims(10).await.len(), 1);
    let end = scene.happens(&begun, RunEvent::Succeeded).await;
    assert_eq!(end.state(), RunState::Succeeded);
    assert_eq!(scene.claimed(10).await, [births[2].id]);
    let by_hand = vec![scene.draft_run(&free)];
    let run = scene.enqueue_all(by_hand, 1).await.remove(0);
    assert_eq!(run.state(), RunState::Starting);
}

pub async fn a_reserved_worker_never_lets_a_run_jump_the_queue(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (a, b) = (scene.task("a").await, scene.task("b").await);
    let high = scene.task_with("c", |spec| spec.priority = 5).await;
    let waits = scene.queued(&a).await;
    let late = vec![scene.draft_run(&b)];
    let late = scene.enqueue_all(late, 5).await.remove(0);
    assert_eq!(late.state(), RunState::Queued, "another task's run was there first");
    let urgent = vec![scene.draft_run(&high)];
    let urgent = scene.enqueue_all(urgent, 5).await.remove(0);
    assert_eq!(urgent.state(), RunState::Starting, "it would have gone first in any case");
    assert_eq!(scene.claimed(5).await, [waits.id, late.id]);
    // Nobody claimable waits any more.
    let next = vec![scene.draft_run(&b)];
    assert_eq!(scene.enqueue_all(next, 5).await[0].state(), RunState::Starting);
}

pub async fn a_replaced_run_ends_or_is_asked_to_stop_in_the_same_commit(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.overlap = Overlap::Replace).await;
    let begun = scene.at_work(&task).await;
    let waiting = scene.queued(&task).await;
    let ended = scene.task("other").await;
    let ended = scene.ended(&ended).await;
    let birth = scene.draft_due(&task, scene.now());
    let mut due = entry(&task, None, vec![birth.clone()]);
    due.replaces = vec![begun.id, waiting.id, ended.id, RunId::new(9).unwrap()];
    let mut stale = due.clone();
    stale.revision = 9;
    let answer = scene.store().materialise(&scene.session, vec![stale]).await.unwrap().remove(0);
    assert!(matches!(answer, Materialised::Stale(_)));
    assert_eq!(scene.read(begun.id).await, begun, "a stale due replaces nothing");
    let answer = scene.store().materialise(&scene.session, vec![due]).await.unwrap().remove(0);
    let Materialised::Stored { replaced, .. } = answer else { panic!("{answer:?}") };
    let states: Vec<_> = replaced.iter().map(|run| (run.id, run.state())).collect();
    let (why, since) = (StopWhy::Replaced, scene.now());
    assert_eq!(
        states,
        [
            (begun.id, RunState::Stopping { why, since }),
            (waiting.id, RunState::Canceled { why: CancelWhy::Replaced })
        ]
    );
    assert_eq!(scene.read(ended.id).await, ended);
    assert_eq!(scene.claimed(5).await, [], "the replaced one still lives");
    let end = scene.happens(&replaced[0], RunEvent::Succeeded).await;
    assert_eq!(end.state(), RunState::Canceled { why: CancelWhy::Replaced });
    assert_eq!(scene.claimed(5).await, [birth.id]);
}

pub async fn an_idempotency_key_gives_one_run_however_often_and_parallel_it_is_used(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let (task, other) = (scene.task("a").await, scene.task("b").await);
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut runs = vec![scene.draft_run(&task), scene.draft_run(&task)];
        for run in &mut runs {
            run.idempotency_key = Some("once".to_owned());
        }
        let (store, session) = (scene.store(), scene.session.clone());
        racers.spawn(async move { store.enqueue(&session, runs, 0).await.unwrap() });
    }
    let answers: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    let accepted = answers.iter().filter(|answer| matches!(answer, Enqueued::Accepted(_))).count();
    assert_eq!(accepted, 1);
    let ids: std::collections::BTreeSet<_> = answers
        .iter()
        .map(|answer| match answer {
            Enqueued::Accepted(run) | Enqueued::Existing(run) => run.id,
            Enqueued::TaskGone => panic!("the task is there"),
        })
        .collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(count(&scene, &task).await, 1);
    // A key belongs to its task.
    assert_eq!(scene.store().run_of_key(other.id, "once").await.unwrap(), None);
    let mut run = scene.draft_run(&other);
    run.idempotency_key = Some("once".to_owned());
    scene.enqueue_all(vec![run], 0).await;
}

pub async fn an_idempotency_key_holds_across_a_restart_and_for_a_day(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.retention.runs = 0).await;
    let mut run = scene.draft_run(&task);
    run.idempotency_key = Some("k".to_owned());
    scene.enqueue_all(vec![run.clone()], 0).await;
    let started = scene.start_one().await;
    let ended = scene.happens(&started, RunEvent::Succeeded).await;
    scene.reopen().await;
    let mut again = scene.draft_run(&task);
    again.idempotency_key = Some("k".to_owned());
    let ask = |run: &Run| vec![run.clone()];
    for hours in [0, 1, 22] {
        scene.advance(hours * 3_600);
        scene.store().prune(&scene.session, task.id, 100).await.unwrap();
        let answer = scene.store().enqueue(&scene.session, ask(&again), 0).await.unwrap();
        assert_eq!(answer, [Enqueued::Existing(ended.clone())]);
        assert_eq!(scene.store().run_of_key(task.id, "k").await.unwrap(), Some(ended.clone()));
    }
    scene.advance(2 * 3_600);
    let pruned = scene.store().prune(&scene.session, task.id, 100).await.unwrap();
    assert_eq!(pruned.runs, [run.id]);
    assert_eq!(scene.store().run_of_key(task.id, "k").await.unwrap(), None);
    let answer = scene.store().enqueue(&scene.session, ask(&again), 0).await.unwrap();
    assert_eq!(answer, [Enqueued::Accepted(again)]);
}

pub async fn a_paused_task_takes_runs_by_hand_and_a_deleted_one_takes_none(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.status = TaskStatus::Paused).await;
    let mut by_hand = scene.draft_run(&task);
    by_hand.scheduled_for = scene.at(-86_400);
    let of = Arc::new(scene.draft_run(&task)).id;
    let retry = Run { trigger: Trigger::Retry { of }, ..scene.draft_run(&task) };
    let runs = scene.enqueue_all(vec![by_hand.clone(), retry.clone()], 0).await;
    assert_eq!(runs, [by_hand.clone(), retry.clone()]);
    assert_eq!(scene.claimed(5).await, [by_hand.id, retry.id]);
    assert!(scene.store().delete_task(&scene.session, task.id, None).await.unwrap());
    let run = vec![scene.draft_run(&task)];
    assert_eq!(scene.store().enqueue(&scene.session, run, 0).await.unwrap(), [Enqueued::TaskGone]);
}
