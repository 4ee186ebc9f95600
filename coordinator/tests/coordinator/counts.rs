//! How many runs of a task are in which state.

use crate::house::{House, at, every, spec};
use punctual_coordinator::{Error, MAX_COUNTED, RunCounts, RunRequest};
use punctual_model::{LostWhy, RunEvent, RunStateName, TaskId, TaskType};

fn counts(states: &[(RunStateName, u64)]) -> RunCounts {
    RunCounts { states: states.iter().copied().collect(), more: false }
}

/// DI05
#[tokio::test(start_paused = true)]
async fn di05_the_runs_of_a_task_are_counted_by_state() {
    use RunStateName::{Canceled, Failed, Lost, Queued, Scheduled, Starting, Stopping, Succeeded, TimedOut};
    let mut house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    let other = house.create(spec("other", vec![])).await;
    assert_eq!(house.tasks().counts(id).await.unwrap(), RunCounts::default());
    house.tasks().run_now(other, RunRequest::default()).await.unwrap();
    house.end(&house.claim(1).await[0].clone(), RunEvent::Failed).await;

    house.advance(8 * 60).await;
    let begun = house.claim(7).await;
    let ends = [
        RunEvent::Succeeded,
        RunEvent::Succeeded,
        RunEvent::Failed,
        RunEvent::TimedOut,
        RunEvent::Lost { why: LostWhy::Vanished },
    ];
    for (run, end) in begun.iter().zip(ends) {
        house.end(run, end).await;
    }
    house.tasks().cancel(begun[5].id).await.unwrap();
    let later = RunRequest { run_at: Some(at(3_600)), ..RunRequest::default() };
    let parked = house.tasks().run_now(id, later.clone()).await.unwrap().run;
    house.tasks().run_now(id, later).await.unwrap();
    house.tasks().cancel(parked.id).await.unwrap();
    let all = counts(&[
        (Scheduled, 1),
        (Queued, 1),
        (Starting, 1),
        (Stopping, 1),
        (Succeeded, 2),
        (Failed, 1),
        (TimedOut, 1),
        (Canceled, 1),
        (Lost, 1),
    ]);
    assert_eq!(house.tasks().counts(id).await.unwrap(), all);
    assert_eq!(house.tasks().counts(other).await.unwrap(), counts(&[(Failed, 1)]));
    // They are what the records say, so they are the same after a crash.
    house = House::idle(house.crash()).await;
    assert_eq!(house.tasks().counts(id).await.unwrap(), all);

    let unknown = TaskId::new(1).unwrap();
    assert_eq!(house.tasks().counts(unknown).await, Err(Error::TaskNotFound));
    let foreign = house.coordinator.face(TaskType::new("checks")).tasks().clone();
    assert_eq!(foreign.counts(id).await, Err(Error::TaskNotFound));
}

#[tokio::test(start_paused = true)]
async fn beyond_a_bound_only_the_newest_runs_are_counted_and_that_is_said() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let most = u64::try_from(MAX_COUNTED).unwrap();
    let oldest = house.tasks().run_now(id, RunRequest::default()).await.unwrap().run;
    house.tasks().cancel(oldest.id).await.unwrap();
    for _ in 1..MAX_COUNTED {
        house.tasks().run_now(id, RunRequest::default()).await.unwrap();
    }
    let exact = counts(&[(RunStateName::Queued, most - 1), (RunStateName::Canceled, 1)]);
    assert_eq!(house.tasks().counts(id).await.unwrap(), exact);
    house.tasks().run_now(id, RunRequest::default()).await.unwrap();
    let bounded = RunCounts { more: true, ..counts(&[(RunStateName::Queued, most)]) };
    assert_eq!(house.tasks().counts(id).await.unwrap(), bounded);
}
