//! What a start finds, does and reports.

use crate::house::{Call, House, at, cron, every, secs, spec};
use punctual_coordinator::{Change, Error, RunRequest};
use punctual_model::{LostWhy, RunEvent, RunState, TaskSpec, TaskStatus};
use punctual_store::{Expect, PutTask};
use std::sync::Arc;

/// PE15: after a restart exactly the active tasks with a schedule have dues.
#[tokio::test(start_paused = true)]
async fn pe15_a_start_knows_exactly_the_active_tasks() {
    let house = House::new().await;
    for n in 0..3 {
        house.create(spec(&format!("active{n}"), vec![every(60)])).await;
    }
    house.create(spec("manual", vec![])).await;
    house.create(TaskSpec { status: TaskStatus::Paused, ..spec("paused", vec![every(60)]) }).await;
    let deleted = house.create(spec("deleted", vec![every(60)])).await;
    house.tasks().delete(deleted, None).await.unwrap();
    let (house, report) = House::on(house.stop().await.0).await;
    assert_eq!((report.scheduled, report.paused), (4, 1));
    let statistics = house.scheduler.statistics();
    assert_eq!((statistics.tasks, statistics.waiting), (4, 3));
}

/// Every run that had begun is given to the executor with the definition that it was begun by.
#[tokio::test(start_paused = true)]
async fn runs_that_had_begun_are_taken_up_with_their_own_definition() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let gone = house.create(spec("gone", vec![])).await;
    for task in [id, gone, id] {
        house.tasks().run_now(task, RunRequest::default()).await.unwrap();
    }
    let begun = house.claim(3).await;
    house.end(&begun[2], RunEvent::Succeeded).await;
    let describe = |spec: &mut TaskSpec| spec.description = "later".to_owned();
    house.tasks().update(id, Change::default(), describe).await.unwrap();
    house.tasks().delete(gone, None).await.unwrap();

    let (house, report) = House::on(house.crash()).await;
    let resumed: Vec<_> = house
        .fed
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::Resume(dispatch) => Some((dispatch.run.id, dispatch.task.id, dispatch.task.revision)),
            _ => None,
        })
        .collect();
    let mut expect: Vec<_> = begun.iter().filter(|run| run.id != begun[2].id).collect();
    expect.sort_by_key(|run| run.id);
    let expect: Vec<_> = expect.iter().map(|run| (run.id, run.task, 1)).collect();
    assert_eq!(resumed, expect);
    assert_eq!(report.resumed.len(), 2);
    for resumed in &report.resumed {
        assert_eq!(house.tasks().run(resumed.run).await.unwrap().state(), resumed.state);
        assert!(resumed.state.is_terminal());
    }
    let lost = report.resumed.iter().find(|resumed| resumed.task == id).unwrap();
    assert_eq!(lost.state, RunState::Lost { why: LostWhy::NodeDied });
}

/// I14: starting again without anything having happened changes nothing.
#[tokio::test(start_paused = true)]
async fn starting_again_and_again_changes_nothing() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(3600)])).await;
    house.tasks().run_now(id, RunRequest::default()).await.unwrap();
    house.claim(1).await;
    let mut ground = house.crash();
    let mut stories = Vec::new();
    for _ in 0..4 {
        let (house, _) = House::on(ground).await;
        house.clock.settle().await;
        stories.push((house.story(id).await, house.checkpoint(id).await));
        ground = house.crash();
    }
    assert_eq!(stories[0].0, ["0 lost"]);
    assert!(stories.windows(2).all(|pair| pair[0] == pair[1]), "{stories:?}");
}

/// I13: a task whose zone is gone is reported, can be run by hand, and hinders nobody.
#[tokio::test(start_paused = true)]
async fn one_bad_task_does_not_hinder_the_others() {
    let house = House::new().await;
    let bad = house.create(spec("bad", vec![cron("0 2 * * *")])).await;
    let good = house.create(spec("good", vec![every(60)])).await;
    // A definition that another machine, with another time zone database, had accepted.
    let mut task = (*house.tasks().get(bad).await.unwrap().task).clone();
    (task.revision, task.spec.timezone) = (2, Some("Atlantis/Capital".to_owned()));
    let put = PutTask { task: Arc::new(task), expect: Expect::Revision(1), raise_checkpoint: None };
    house.store.put_task(&house.session, put).await.unwrap();

    let (house, report) = House::on(house.stop().await.0).await;
    assert_eq!(report.scheduled, 1);
    assert_eq!(report.unschedulable.iter().map(|task| task.task).collect::<Vec<_>>(), [bad]);
    assert!(report.unschedulable[0].reason.contains("Atlantis"), "{:?}", report.unschedulable);
    assert_eq!(house.coordinator.unschedulable(), report.unschedulable);
    house.advance(60).await;
    assert_eq!(house.times(good).await, [60]);
    house.tasks().run_now(bad, RunRequest::default()).await.unwrap();
    // Mended, it is due again.
    let mend = |spec: &mut TaskSpec| spec.timezone = None;
    house.tasks().update(bad, Change::default(), mend).await.unwrap();
    assert!(house.coordinator.unschedulable().is_empty());
    house.advance(2 * 3600).await;
    assert!(house.times(bad).await.contains(&7200));
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_stops_at_once_and_leaves_dues_to_the_next() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(60).await;
    let (ground, ended) = house.stop().await;
    assert_eq!(ended, Ok(()));
    ground.clock.advance_now(secs(65));
    let (house, _) = House::on(ground).await;
    house.clock.settle().await;
    assert_eq!(house.times(id).await, [60, 120]);
    assert_eq!(house.records(id).await[1].accepted_at, at(125));
}

/// CO12: a failure to store is reported, and by nobody acknowledged.
#[tokio::test(start_paused = true)]
async fn co12_a_node_that_has_been_fenced_off_ends_with_the_error() {
    let mut house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    // Another one opens the store: from now on nothing of this one is written.
    let other = House::idle(house.ground.clone()).await;
    house.advance(60).await;
    let error = house.ended().await.unwrap_err();
    assert!(error.is_fatal(), "{error}");
    assert!(house.fed.calls().is_empty());
    assert!(other.records(id).await.is_empty());
}

/// The loop sleeps, and learns that nothing can be written from a request that was somebody else's.
#[tokio::test(start_paused = true)]
async fn an_error_that_a_request_met_ends_the_loops_too() {
    let mut house = House::new().await;
    let _other = House::idle(house.ground.clone()).await;
    let error = house.tasks().create(spec("t", vec![])).await.unwrap_err();
    assert!(matches!(&error, Error::Store(_)) && error.is_fatal());
    assert_eq!(house.ended().await, Err(error));
}
