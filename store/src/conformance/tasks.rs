//! Definitions: identity, revisions, names, types, paging.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::error::Error;
use crate::store::{Expect, PutAnswer, PutTask, StoredTask, StoredTiming, TaskFilter};
use jiff::SignedDuration;
use punctual_model::schedule::{Cron, DstOverlap, Every, Schedule};
use punctual_model::{Task, TaskId, TaskSpec, TaskStatus, TaskType, Timing};
use std::sync::Arc;
use std::time::Duration;

fn all() -> TaskFilter {
    TaskFilter { limit: 500, ..TaskFilter::default() }
}

async fn ids(scene: &Scene<'_>, filter: TaskFilter) -> Vec<TaskId> {
    scene.store().tasks(&filter).await.unwrap().items.iter().map(|stored| stored.task.id).collect()
}

pub async fn ts01_a_created_task_reads_back_the_same_by_id_by_name_and_in_the_list(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let mut task = scene.draft("a", |spec| {
        spec.description = "says hello".to_owned();
        spec.labels.insert("team".to_owned(), "blue".to_owned());
        spec.priority = -3;
    });
    task.metadata.insert("org".to_owned(), "o-1".into());
    let checkpoint = scene.at(-60);
    let PutAnswer::Stored(stored) = scene.put(&task, Expect::Absent, Some(checkpoint)).await else {
        panic!("not stored")
    };
    assert_eq!(*stored.task, task);
    assert_eq!(stored.progress.checkpoint, Some(checkpoint));
    scene.reopen().await;
    let store = scene.store();
    assert_eq!(store.task(task.id).await.unwrap(), Some(stored.clone()));
    assert_eq!(store.task_by_name(&task.kind, "a").await.unwrap(), Some(stored.clone()));
    assert_eq!(store.task_revision(task.id, 1).await.unwrap(), Some(Arc::clone(&stored.task)));
    assert_eq!(store.tasks(&all()).await.unwrap().items, [stored]);
    assert_eq!(store.task_by_name(&task.kind, "A").await.unwrap(), None);
    assert_eq!(store.task_revision(task.id, 2).await.unwrap(), None);
    assert_eq!(store.task(TaskId::new(7).unwrap()).await.unwrap(), None);
}

pub async fn ts02_a_limit_of_one_gives_one_and_after_excludes_its_id(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (a, b) = (scene.task("a").await.id, scene.task("b").await.id);
    let page = scene.store().tasks(&TaskFilter { limit: 1, ..all() }).await.unwrap();
    assert_eq!(page.items.iter().map(|stored| stored.task.id).collect::<Vec<_>>(), [a]);
    assert_eq!(page.next, Some(a));
    let page = scene.store().tasks(&TaskFilter { limit: 1, after: page.next, ..all() }).await.unwrap();
    assert_eq!(page.items.iter().map(|stored| stored.task.id).collect::<Vec<_>>(), [b]);
    assert_eq!(page.next, None);
    assert_eq!(ids(&scene, TaskFilter { after: Some(b), ..all() }).await, []);
}

pub async fn ts02_filters_by_status_and_labels_give_only_what_they_say(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let label = |value: &str| ("team".to_owned(), value.to_owned());
    let a = scene.task_with("a", |spec| spec.labels.extend([label("blue")])).await;
    let b = scene.task_with("b", |spec| spec.status = TaskStatus::Paused).await;
    let c = scene.task_with("c", |spec| spec.labels.extend([label("red")])).await;
    let status = |status| TaskFilter { status: Some(status), ..all() };
    assert_eq!(ids(&scene, status(TaskStatus::Active)).await, [a.id, c.id]);
    assert_eq!(ids(&scene, status(TaskStatus::Paused)).await, [b.id]);
    let labels = |labels| TaskFilter { labels, ..all() };
    assert_eq!(ids(&scene, labels(vec![label("red")])).await, [c.id]);
    assert_eq!(ids(&scene, labels(vec![label("red"), label("blue")])).await, []);
}

pub async fn ts04_a_deleted_task_is_gone_and_its_id_never_used_again(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let store = scene.store();
    assert!(!store.delete_task(&scene.session, task.id, Some(2)).await.unwrap());
    assert!(store.delete_task(&scene.session, task.id, Some(1)).await.unwrap());
    assert!(!store.delete_task(&scene.session, task.id, None).await.unwrap());
    assert_eq!(store.task(task.id).await.unwrap(), None);
    assert_eq!(store.task_by_name(&task.kind, "a").await.unwrap(), None);
    assert_eq!(ids(&scene, all()).await, []);
    drop(store);
    scene.reopen().await;
    assert_eq!(scene.store().task(task.id).await.unwrap(), None);
    assert_eq!(scene.put(&task, Expect::Absent, None).await, PutAnswer::Gone);
    assert_eq!(scene.put(&task, Expect::Revision(1), None).await, PutAnswer::Gone);
    let never = scene.draft("never", |_| ());
    assert_eq!(scene.put(&never, Expect::Revision(1), None).await, PutAnswer::Gone);
    assert!(scene.session.id_floor >= task.id.get());
}

pub async fn ts07_paging_visits_each_task_once_in_order_of_creation(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let mut expect = Vec::new();
    for n in 0..10 {
        // One name in ten types, and others between them.
        let mut task = scene.draft("same", |_| ());
        task.kind = TaskType::new(format!("type-{n}"));
        assert!(matches!(scene.put(&task, Expect::Absent, None).await, PutAnswer::Stored(_)));
        expect.push(task.id);
        scene.task(&format!("other-{n}")).await;
    }
    let mut seen = Vec::new();
    let mut filter = TaskFilter { name: Some("same".to_owned()), limit: 2, ..all() };
    loop {
        let page = scene.store().tasks(&filter).await.unwrap();
        seen.extend(page.items.iter().map(|stored| stored.task.id));
        let Some(next) = page.next else { break };
        assert_eq!(page.items.len(), 2);
        filter.after = Some(next);
    }
    assert_eq!(seen, expect);
    filter.after = seen.last().copied();
    assert_eq!(ids(&scene, filter).await, []);
}

/// What a start is told and what the definitions say never part, whatever has become of a task.
pub async fn a_start_is_told_of_each_task_what_its_definition_says_about_time(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let hourly = Schedule::Every(Every::new(Duration::from_secs(3600)));
    let cron = Schedule::Cron(Cron { dst_overlap: DstOverlap::Both, ..Cron::new("0 2 * * *") });
    let mut tasks = vec![scene.task("manual").await];
    for n in 0..5u64 {
        let schedules = vec![hourly.clone(), cron.clone(), Schedule::At(scene.at(90))];
        let spread = |spec: &mut TaskSpec| {
            spec.schedules = schedules;
            spec.timezone = Some("Asia/Tokyo".to_owned());
            spec.offset = SignedDuration::from_secs(-7);
            spec.jitter = Duration::from_secs(n);
            spec.splay = Duration::from_millis(1500);
            spec.grace = Duration::from_secs(20);
        };
        tasks.push(scene.task_with(&format!("t{n}"), spread).await);
    }
    scene.change(&tasks[1], |spec| spec.schedules = vec![cron.clone()]).await;
    scene.change(&tasks[2], |spec| spec.status = TaskStatus::Paused).await;
    let paused = scene.change(&tasks[3], |spec| spec.status = TaskStatus::Paused).await;
    scene.change(&paused, |spec| spec.status = TaskStatus::Active).await;
    assert!(scene.store().delete_task(&scene.session, tasks[4].id, None).await.unwrap());
    // The first has no checkpoint: it owes nothing from before it was made.
    for task in &tasks[5..] {
        scene.advance(60);
        scene.due(task, None, Vec::new()).await;
    }
    for _ in 0..2 {
        let stored = scene.store().tasks(&all()).await.unwrap().items;
        let told = stored.iter().map(|StoredTask { task, progress }| StoredTiming {
            id: task.id,
            revision: task.revision,
            status: task.spec.status,
            timing: Arc::new(Timing::from(&task.spec)),
            checkpoint: progress.checkpoint.unwrap_or(task.created_at),
        });
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let page = scene.store().timings(after, 2).await.unwrap();
            pages.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages.len(), 5);
        assert_eq!(pages, told.collect::<Vec<_>>());
        scene.reopen().await;
    }
}

pub async fn ts11_an_update_is_a_new_revision_conditional_on_the_one_that_was_read(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let first = scene.task("a").await;
    scene.advance(5);
    let mut second = first.clone();
    second.revision = 2;
    second.updated_at = scene.now();
    second.spec.description = "changed".to_owned();
    let PutAnswer::Stored(stored) = scene.put(&second, Expect::Revision(1), None).await else {
        panic!("not stored")
    };
    assert_eq!(*stored.task, second);
    let answer = scene.put(&second, Expect::Revision(1), None).await;
    assert_eq!(answer, PutAnswer::Conflict(stored.clone()));
    let mut skips_one = second.clone();
    skips_one.revision = 4;
    assert_eq!(scene.put(&skips_one, Expect::Revision(2), None).await, PutAnswer::Conflict(stored.clone()));
    assert_eq!(scene.put(&first, Expect::Absent, None).await, PutAnswer::Conflict(stored.clone()));
    assert_eq!(scene.store().task(first.id).await.unwrap(), Some(stored));
    assert_eq!(scene.store().task_revision(first.id, 1).await.unwrap().as_deref(), Some(&first));
}

/// TS07, too: what lies between the tasks that are wanted is passed over, however much it is.
pub async fn a_list_says_of_each_task_what_it_says_alone_after_many_changes_and_deletions(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let mut tasks = Vec::new();
    for n in 0..40 {
        tasks.push(scene.task(&format!("t{n}")).await);
    }
    // Many revisions of one task, a few of another.
    for (n, revisions) in [(3, 20), (35, 3)] {
        for revision in 2..=revisions {
            let before = tasks[n].revision;
            tasks[n].revision = revision;
            let stored = scene.put(&tasks[n], Expect::Revision(before), None).await;
            assert!(matches!(stored, PutAnswer::Stored(_)));
        }
    }
    for gone in tasks.drain(10..30) {
        assert!(scene.store().delete_task(&scene.session, gone.id, None).await.unwrap());
    }
    for limit in [1, 7, 100] {
        let mut filter = TaskFilter { limit, ..all() };
        let mut seen = Vec::new();
        loop {
            let page = scene.store().tasks(&filter).await.unwrap();
            seen.extend(page.items.iter().map(|stored| Task::clone(&stored.task)));
            let Some(next) = page.next else { break };
            filter.after = Some(next);
        }
        assert_eq!(seen, tasks, "in pages of {limit}");
    }
}

pub async fn tasks_that_are_asked_for_together_are_what_each_is_alone(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let mut ids = Vec::new();
    for n in 0..100 {
        let task = scene.task(&format!("t{n}")).await;
        if n % 3 == 0 {
            scene.change(&task, |spec| spec.priority = 1).await;
        }
        if n % 10 == 0 {
            assert!(scene.store().delete_task(&scene.session, task.id, None).await.unwrap());
        }
        // The next id belongs to nobody.
        ids.extend([task.id, TaskId::new(scene.id()).unwrap()]);
    }
    scene.subject().damage_task(ids[2]).await;
    scene.subject().damage_definition(ids[4]).await;
    // In no order, and some twice.
    let asked: Vec<_> = (0..300).map(|n| ids[n * 77 % ids.len()]).collect();
    let store = scene.store();
    let alone = async |id| store.task(id).await;
    for count in [0, 1, 5, 300] {
        let together = store.tasks_ahead(asked[..count].to_vec()).await;
        assert_eq!(together.len(), count);
        for (id, found) in asked.iter().zip(together) {
            assert_eq!(found, alone(*id).await, "{id} of {count}");
        }
    }
    assert!(alone(ids[2]).await.is_err() && alone(ids[4]).await.is_err());
}

/// TS11, too: a checkpoint that is set is stored.
pub async fn ts13_activation_raises_the_checkpoint_to_its_moment_and_nothing_lowers_it(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.draft("a", |spec| spec.status = TaskStatus::Paused);
    let created = scene.now();
    scene.put(&task, Expect::Absent, Some(created)).await;
    scene.advance(60);
    let mut active = task.clone();
    active.revision = 2;
    active.spec.status = TaskStatus::Active;
    let answer = scene.put(&active, Expect::Revision(1), Some(scene.now())).await;
    let checkpoint = |answer: PutAnswer| match answer {
        PutAnswer::Stored(StoredTask { progress, .. }) => progress.checkpoint,
        other => panic!("{other:?}"),
    };
    assert_eq!(checkpoint(answer), Some(scene.now()));
    active.revision = 3;
    assert_eq!(checkpoint(scene.put(&active, Expect::Revision(2), Some(created)).await), Some(scene.now()));
    active.revision = 4;
    assert_eq!(checkpoint(scene.put(&active, Expect::Revision(3), None).await), Some(scene.now()));
}

pub async fn ts21_ts28_types_do_not_see_each_other_and_an_empty_one_is_the_systems(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let mut untyped = scene.draft("a", |_| ());
    untyped.kind = serde_json::from_value(serde_json::json!("")).unwrap();
    let system = scene.draft("b", |_| ());
    let mut check = scene.draft("a", |_| ());
    check.kind = TaskType::new("check");
    for task in [&untyped, &system, &check] {
        assert!(matches!(scene.put(task, Expect::Absent, None).await, PutAnswer::Stored(_)));
    }
    let of = |kind: &str| TaskFilter { kind: Some(TaskType::new(kind)), ..all() };
    assert_eq!(ids(&scene, of("system")).await, [untyped.id, system.id]);
    assert_eq!(ids(&scene, of("")).await, [untyped.id, system.id]);
    assert_eq!(ids(&scene, of("check")).await, [check.id]);
    assert_eq!(ids(&scene, of("Check")).await, []);
    assert_eq!(ids(&scene, all()).await, [untyped.id, system.id, check.id]);
    let named = |kind: &str| TaskFilter { name: Some("a".to_owned()), ..of(kind) };
    assert_eq!(ids(&scene, named("system")).await, [untyped.id]);
    assert_eq!(ids(&scene, named("check")).await, [check.id]);
}

pub async fn a_name_is_unique_within_a_type_and_free_after_a_rename_or_a_delete(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let a = scene.task("a").await;
    let b = scene.task("b").await;
    let other = scene.draft("a", |_| ());
    assert_eq!(scene.put(&other, Expect::Absent, None).await, PutAnswer::NameTaken(a.id));
    let mut renamed = b.clone();
    renamed.revision = 2;
    renamed.spec.name = "a".to_owned();
    assert_eq!(scene.put(&renamed, Expect::Revision(1), None).await, PutAnswer::NameTaken(a.id));
    scene.change(&a, |spec| spec.name = "c".to_owned()).await;
    assert!(matches!(scene.put(&renamed, Expect::Revision(1), None).await, PutAnswer::Stored(_)));
    scene.reopen().await;
    assert_eq!(scene.put(&other, Expect::Absent, None).await, PutAnswer::NameTaken(b.id));
    assert!(scene.store().delete_task(&scene.session, b.id, None).await.unwrap());
    assert!(matches!(scene.put(&other, Expect::Absent, None).await, PutAnswer::Stored(_)));
    let found = scene.store().task_by_name(&TaskType::default(), "a").await.unwrap();
    assert_eq!(found.map(|stored| stored.task.id), Some(other.id));
    assert_eq!(scene.store().task_by_name(&TaskType::default(), "b").await.unwrap(), None);
}

pub async fn of_writers_that_race_for_a_revision_or_a_name_one_wins(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let store = scene.store();
    let mut puts = Vec::new();
    for n in 0..8 {
        let mut next = task.clone();
        next.revision = 2;
        next.spec.description = n.to_string();
        puts.push(PutTask { task: Arc::new(next), expect: Expect::Revision(1), raise_checkpoint: None });
        let fresh = scene.draft("b", |_| ());
        puts.push(PutTask { task: Arc::new(fresh), expect: Expect::Absent, raise_checkpoint: None });
    }
    let mut racers = tokio::task::JoinSet::new();
    for put in puts {
        let (store, session) = (Arc::clone(&store), scene.session.clone());
        racers.spawn(async move { store.put_task(&session, put).await.unwrap() });
    }
    drop(store);
    let answers = racers.join_all().await;
    let stored = answers.iter().filter(|answer| matches!(answer, PutAnswer::Stored(_))).count();
    let taken = answers.iter().filter(|answer| matches!(answer, PutAnswer::NameTaken(_))).count();
    let conflicts = answers.iter().filter(|answer| matches!(answer, PutAnswer::Conflict(_))).count();
    assert_eq!((stored, taken, conflicts), (2, 7, 7));
}

pub async fn what_is_too_large_is_refused_before_anything_is_written(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let store = scene.store();
    let large = scene.draft("a", |spec| spec.description = "x".repeat(70_000));
    let put = PutTask { task: Arc::new(large), expect: Expect::Absent, raise_checkpoint: None };
    assert!(matches!(store.put_task(&scene.session, put).await, Err(Error::TooLarge { .. })));
    let long = scene.draft(&"n".repeat(70_000), |_| ());
    let put = PutTask { task: Arc::new(long), expect: Expect::Absent, raise_checkpoint: None };
    assert!(matches!(store.put_task(&scene.session, put).await, Err(Error::TooLarge { .. })));
    assert_eq!(ids(&scene, all()).await, []);

    let task = scene.task("b").await;
    let fits = scene.draft_run(&task);
    let mut params = scene.draft_run(&task);
    params.params = "x".repeat(70_000).into();
    let mut key = scene.draft_run(&task);
    key.idempotency_key = Some("k".repeat(70_000));
    for bad in [params, key] {
        let runs = vec![fits.clone(), bad];
        assert!(matches!(store.enqueue(&scene.session, runs, 0).await, Err(Error::TooLarge { .. })));
    }
    assert_eq!(store.run(fits.id).await.unwrap(), None);
    // And the store goes on.
    drop(store);
    assert_eq!(scene.queued(&task).await.task, task.id);
}
