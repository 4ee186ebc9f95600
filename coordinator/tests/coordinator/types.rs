//! Each system sees its own tasks and runs, and nothing of another's.

use crate::house::{House, every, spec};
use punctual_coordinator::{Change, Error, NewTask, RunQuery, RunRequest, TaskQuery, WriteOutcome};
use punctual_model::task::Metadata;
use punctual_model::{Owner, TaskType};
use serde_json::json;

fn metadata(value: serde_json::Value) -> Metadata {
    value.as_object().unwrap().clone()
}

/// PE04, TS21: with types in place of namespaces. Same name, independent lives.
#[tokio::test(start_paused = true)]
async fn pe04_ts21_two_types_may_use_the_same_name_and_do_not_see_each_other() {
    let house = House::new().await;
    let checks = house.coordinator.face(TaskType::new("checks"));
    let ours = house.create(spec("disk", vec![every(60)])).await;
    let new =
        NewTask { metadata: metadata(json!({"level": "crit"})), ..spec("disk", vec![every(60)]).into() };
    let theirs = checks.create(new).await.unwrap().stored.task;
    assert_ne!(ours, theirs.id);
    house.advance(60).await;

    let listed = house.tasks().list(TaskQuery::default()).await.unwrap().items;
    assert_eq!(listed.iter().map(|stored| stored.task.id).collect::<Vec<_>>(), [ours]);
    let listed = checks.tasks().list(TaskQuery::default()).await.unwrap().items;
    assert_eq!(listed.iter().map(|stored| stored.task.id).collect::<Vec<_>>(), [theirs.id]);
    assert_eq!(house.tasks().get_by_name("disk").await.unwrap().task.id, ours);

    // Not by id either, whatever is asked.
    let public = house.tasks();
    assert_eq!(public.get(theirs.id).await, Err(Error::TaskNotFound));
    assert_eq!(public.revision(theirs.id, 1).await, Err(Error::TaskNotFound));
    assert_eq!(public.delete(theirs.id, None).await, Err(Error::TaskNotFound));
    assert_eq!(public.pause(theirs.id, Change::default()).await.unwrap_err(), Error::TaskNotFound);
    assert_eq!(public.run_now(theirs.id, RunRequest::default()).await.unwrap_err(), Error::TaskNotFound);
    let run = checks.tasks().runs(RunQuery::default()).await.unwrap().items.remove(0);
    assert_eq!(run.task, theirs.id);
    assert_eq!(public.run(run.id).await, Err(Error::RunNotFound));
    assert_eq!(public.cancel(run.id).await, Err(Error::RunNotFound));
    assert_eq!(public.retry(run.id).await.unwrap_err(), Error::RunNotFound);
    assert!(public.promise(run.id).await.is_err());
    let query = RunQuery { task: Some(theirs.id), ..RunQuery::default() };
    assert_eq!(public.runs(query).await, Err(Error::TaskNotFound));
    let seen = public.runs(RunQuery::default()).await.unwrap().items;
    assert!(seen.len() == 1 && seen[0].task == ours);

    public.delete(ours, None).await.unwrap();
    house.advance(60).await;
    assert_eq!(checks.tasks().runs(RunQuery::default()).await.unwrap().items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_runs_is_filled_although_other_types_lie_between() {
    let house = House::new().await;
    let checks = house.coordinator.face(TaskType::new("checks"));
    house.create(spec("a", vec![every(60)])).await;
    checks.create(spec("b", vec![every(1)]).into()).await.unwrap();
    house.advance(180).await;
    let first = house.tasks().runs(RunQuery { limit: 2, ..RunQuery::default() }).await.unwrap();
    assert_eq!(first.items.len(), 2);
    let rest = RunQuery { after: first.next, limit: 2, ..RunQuery::default() };
    let rest = house.tasks().runs(rest).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
}

#[tokio::test(start_paused = true)]
async fn metadata_is_replaced_as_a_whole_in_a_revision_of_its_own_and_survives() {
    let house = House::new().await;
    let face = house.coordinator.face(TaskType::new("checks"));
    let owner = Owner::Named("alice".to_owned());
    let new = NewTask { owner: owner.clone(), ..spec("t", vec![]).into() };
    let id = face.create(new).await.unwrap().stored.task.id;
    house.advance(5).await;
    let set = |value| face.set_metadata(id, metadata(value), Change::default());
    set(json!({"a": 1, "b": 2})).await.unwrap();
    let written = set(json!({"b": 3})).await.unwrap();
    assert_eq!(written.stored.task.metadata, metadata(json!({"b": 3})));
    assert_eq!(written.stored.task.revision, 3);
    assert_eq!(written.stored.task.updated_at, crate::house::at(5));
    assert_eq!(set(json!({"b": 3})).await.unwrap().outcome, WriteOutcome::Unchanged);
    // A user's change leaves it alone.
    let describe = |spec: &mut punctual_model::TaskSpec| spec.description = "x".to_owned();
    face.tasks().update(id, Change::default(), describe).await.unwrap();
    let large = metadata(json!({"a": "x".repeat(20_000)}));
    assert!(matches!(face.set_metadata(id, large, Change::default()).await, Err(Error::Invalid(_))));
    let (house, _) = House::on(house.stop().await.0).await;
    let task = house.coordinator.face(TaskType::new("checks")).tasks().get(id).await.unwrap().task;
    assert_eq!((&task.metadata, &task.owner, task.revision), (&metadata(json!({"b": 3})), &owner, 4));
}
