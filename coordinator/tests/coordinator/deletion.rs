//! The end of a task and of its runs.

use crate::house::{House, at, every, spec};
use punctual_coordinator::{Error, RunQuery, RunRequest};
use punctual_model::{CancelWhy, RunEvent, RunState, RunStateName, StopWhy};

/// SC10, SC18: no due any more, waiting runs end, running ones are stopped, history stays.
#[tokio::test(start_paused = true)]
async fn sc10_sc18_deleting_ends_everything_but_the_history() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(180).await;
    let begun = house.claim(2).await;
    house.end(&begun[0], RunEvent::Succeeded).await;
    let force = RunRequest { force: true, ..RunRequest::default() };
    let forced = house.tasks().run_now(id, force).await.unwrap().run;
    let parked = RunRequest { run_at: Some(at(9999)), ..RunRequest::default() };
    let parked = house.tasks().run_now(id, parked).await.unwrap().run;

    house.tasks().delete(id, None).await.unwrap();
    assert_eq!(house.fed.canceled(), [(begun[1].id, CancelWhy::Deleted)]);
    let tasks = &house.tasks();
    let state = |run| async move { tasks.run(run).await.unwrap().state() };
    assert!(matches!(state(begun[1].id).await, RunState::Stopping { why: StopWhy::Deleted, .. }));
    for run in [forced.id, parked.id] {
        assert_eq!(state(run).await, RunState::Canceled { why: CancelWhy::Deleted });
    }
    assert_eq!(state(begun[0].id).await, RunState::Succeeded);

    assert_eq!(house.tasks().get(id).await, Err(Error::TaskNotFound));
    assert_eq!(house.tasks().delete(id, None).await, Err(Error::TaskNotFound));
    assert_eq!(house.tasks().run_now(id, RunRequest::default()).await.unwrap_err(), Error::TaskNotFound);
    assert_eq!(house.tasks().retry(begun[0].id).await.unwrap_err(), Error::TaskNotFound);
    let before = house.records(id).await.len();
    house.advance(20_000).await;
    assert_eq!(house.records(id).await.len(), before);
    assert!(house.claim(10).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_again_and_an_id_never() {
    let house = House::new().await;
    let old = house.create(spec("t", vec![])).await;
    house.tasks().delete(old, None).await.unwrap();
    let new = house.create(spec("t", vec![])).await;
    assert!(new > old);
    let (house, _) = House::on(house.crash()).await;
    assert_eq!(house.tasks().get(old).await, Err(Error::TaskNotFound));
    assert!(house.create(spec("u", vec![])).await > new);
}

#[tokio::test(start_paused = true)]
async fn more_waiting_runs_than_a_batch_all_end() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(1)])).await;
    house.advance(2500).await;
    house.tasks().delete(id, None).await.unwrap();
    let open = RunQuery { task: Some(id), states: vec![RunStateName::Queued], ..RunQuery::default() };
    assert!(house.tasks().runs(open).await.unwrap().items.is_empty());
    let canceled =
        RunQuery { task: Some(id), states: vec![RunStateName::Canceled], limit: 500, ..RunQuery::default() };
    assert_eq!(house.tasks().runs(canceled).await.unwrap().items.len(), 500);
}

/// A crash between the tombstone and the end of its runs: the next start goes on with it.
#[tokio::test(start_paused = true)]
async fn a_deletion_that_a_crash_interrupted_is_finished_at_the_start() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(120).await;
    house.store.delete_task(&house.session, id, None).await.unwrap();
    let (house, report) = House::on(house.crash()).await;
    assert_eq!(report.deletions, [id]);
    let states: Vec<_> = house.records(id).await.iter().map(|run| run.state()).collect();
    assert_eq!(states, [RunState::Canceled { why: CancelWhy::Deleted }; 2]);
    let (_, report) = House::on(house.crash()).await;
    assert!(report.deletions.is_empty());
}
