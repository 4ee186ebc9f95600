//! Tasks that belong to a file.

use crate::house::{House, every, spec};
use crate::node::Node;
use punctual_coordinator::{Change, Error, FileReport, FileSet, Resumption, RunRequest, TaskQuery};
use punctual_executor::scripted::Act;
use punctual_model::{ErrorCode, Owner, TaskSpec};

const PATH: &str = "/etc/punctual/tasks.toml";

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_file_has_exactly_the_tasks_that_it_names() {
    let house = House::new().await;
    let apply = |specs| async { house.tasks().apply_file_set(PATH, specs).await.unwrap() };
    let own = house.create(spec("own", vec![])).await;
    let report = apply(vec![spec("b", vec![every(60)]), spec("a", vec![])]).await;
    assert_eq!(report, FileReport { created: names(&["a", "b"]), ..FileReport::default() });
    let task = house.tasks().get_by_name("b").await.unwrap().task;
    assert_eq!(task.owner, Owner::File(PATH.to_owned()));
    house.advance(60).await;
    assert_eq!(house.times(task.id).await, [60]);

    let report = apply(vec![spec("b", vec![every(60)]), spec("a", vec![])]).await;
    assert_eq!(report, FileReport { unchanged: 2, ..FileReport::default() });
    let report = apply(vec![spec("b", vec![every(90)]), spec("c", vec![])]).await;
    assert_eq!(
        report,
        FileReport { created: names(&["c"]), updated: names(&["b"]), deleted: names(&["a"]), unchanged: 0 }
    );
    assert_eq!(house.tasks().get_by_name("b").await.unwrap().task.id, task.id);
    assert_eq!(apply(vec![]).await.deleted, names(&["b", "c"]));
    let left = house.tasks().list(TaskQuery::default()).await.unwrap().items;
    assert_eq!(left.iter().map(|stored| stored.task.id).collect::<Vec<_>>(), [own]);
}

/// PF03: applying a file again, as each start does, does not resume what the engine paused; a resume does.
#[tokio::test(start_paused = true)]
async fn a_task_of_a_file_that_failed_too_often_stays_paused_until_it_is_resumed_or_changed() {
    let node = Node::new().await;
    node.driver.script(|_| Act::Fail("no such bucket".to_owned()));
    let failing = TaskSpec { pause_after_failures: Some(1), ..spec("t", vec![every(60)]) };
    let tasks = node.tasks();
    let apply = |spec: &TaskSpec| tasks.apply_file_set(PATH, vec![spec.clone()]);
    apply(&failing).await.unwrap();
    let id = node.tasks().get_by_name("t").await.unwrap().task.id;
    let is_active = || async { node.tasks().get(id).await.unwrap().task.is_active() };
    node.advance(60).await;
    assert!(!is_active().await);
    assert_eq!(apply(&failing).await.unwrap().unchanged, 1);
    assert!(!is_active().await);
    node.tasks().resume(id, Change::default(), Resumption::FromNow).await.unwrap();
    assert!(is_active().await);
    assert_eq!(apply(&failing).await.unwrap().unchanged, 1);
    node.advance(60).await;
    assert!(!is_active().await);
    let mended = TaskSpec { description: "mended".to_owned(), ..failing };
    assert_eq!(apply(&mended).await.unwrap().updated, ["t"]);
    assert!(is_active().await);
}

#[tokio::test(start_paused = true)]
async fn the_service_does_not_edit_tasks_of_a_file_and_names_it() {
    let house = House::new().await;
    house.tasks().apply_file_set(PATH, vec![spec("t", vec![])]).await.unwrap();
    let id = house.tasks().get_by_name("t").await.unwrap().task.id;
    let describe = |spec: &mut TaskSpec| spec.description = "x".to_owned();
    let refused = [
        house.tasks().update(id, Change::default(), describe).await.unwrap_err(),
        house.tasks().pause(id, Change::default()).await.unwrap_err(),
        house.tasks().upsert(spec("t", vec![every(1)])).await.unwrap_err(),
        house.tasks().delete(id, None).await.unwrap_err(),
        house.tasks().apply_file_set("/other.toml", vec![spec("t", vec![])]).await.unwrap_err(),
    ];
    for error in refused {
        let flat = punctual_model::Error::from(error).flatten();
        assert!(flat.message.contains(PATH), "{}", flat.message);
        assert!(matches!(flat.code, ErrorCode::Forbidden | ErrorCode::Invalid), "{}", flat.code);
    }
    assert_eq!(house.tasks().get(id).await.unwrap().task.revision, 1);
    // To run it is no edit.
    house.tasks().run_now(id, RunRequest::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_mistake_in_a_file_changes_nothing() {
    let house = House::new().await;
    house.tasks().apply_file_set(PATH, vec![spec("keep", vec![])]).await.unwrap();
    house.create(spec("taken", vec![])).await;
    let bad = vec![
        spec("new", vec![]),
        spec("new", vec![]),
        spec("taken", vec![]),
        spec("bad", vec![crate::house::cron("nonsense")]),
    ];
    let error = house.tasks().apply_file_set(PATH, bad).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)));
    let text = error.to_string();
    for part in
        [PATH, "task \"new\": the file names it twice", "task \"taken\": a task of that name", "task \"bad\""]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let left = house.tasks().list(TaskQuery::default()).await.unwrap().items;
    let left: Vec<_> = left.iter().map(|stored| stored.task.spec.name.as_str()).collect();
    assert_eq!(left, ["keep", "taken"]);
}

fn file(path: &str, specs: Vec<TaskSpec>) -> FileSet {
    FileSet { path: path.to_owned(), specs }
}

#[tokio::test(start_paused = true)]
async fn one_mistake_in_one_of_several_files_changes_nothing_in_any() {
    let house = House::new().await;
    let bad = vec![spec("bad", vec![crate::house::cron("nonsense")]), spec("twice", vec![])];
    let files =
        vec![file("/a.toml", vec![spec("good", vec![]), spec("twice", vec![])]), file("/b.toml", bad)];
    let error = house.tasks().apply_file_sets(files).await.unwrap_err().to_string();
    for part in ["/a.toml was not", "the file /b.toml names it too", "/b.toml was not", "task \"bad\""] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(house.tasks().list(TaskQuery::default()).await.unwrap().items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_task_moves_from_file_to_file_in_either_direction() {
    let house = House::new().await;
    for (a, b) in [("one", "two"), ("two", "one"), ("one", "two")] {
        let files = vec![file("/a.toml", vec![spec(a, vec![])]), file("/b.toml", vec![spec(b, vec![])])];
        house.tasks().apply_file_sets(files).await.unwrap();
        for (name, path) in [(a, "/a.toml"), (b, "/b.toml")] {
            let owner = house.tasks().get_by_name(name).await.unwrap().task.owner.clone();
            assert_eq!(owner, Owner::File(path.to_owned()));
        }
    }
}
