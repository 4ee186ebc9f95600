//! History stays within its bounds, and its output goes with it.

use crate::house::{House, every, spec};
use punctual_model::task::Retention;
use punctual_model::{RunEvent, TaskSpec};

const DAY: u64 = 86_400;

fn keeping(name: &str, runs: u32, days: u64) -> TaskSpec {
    let retention = Retention { runs, age: crate::house::secs(days * DAY) };
    TaskSpec { retention, ..spec(name, vec![every(60)]) }
}

async fn run_all(house: &House) {
    for run in house.claim(1000).await {
        house.end(&run, RunEvent::Succeeded).await;
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_runs_are_pruned_soon_and_their_output_with_them() {
    let house = House::new().await;
    let id = house.create(keeping("t", 5, 30)).await;
    house.advance(6000).await;
    assert_eq!(house.records(id).await.len(), 100);
    run_all(&house).await;
    house.advance(120).await;
    let left = house.times(id).await;
    assert_eq!(left, [5760, 5820, 5880, 5940, 6000, 6060, 6120]);
    assert_eq!(house.removed.0.lock().unwrap().len(), 95);
    // The checkpoint outlives what was pruned: nothing comes back.
    let (house, _) = House::on(house.crash()).await;
    house.clock.settle().await;
    assert_eq!(house.times(id).await, left);
}

#[tokio::test(start_paused = true)]
async fn old_runs_go_with_the_daily_sweep_also_those_of_deleted_tasks() {
    let house = House::new().await;
    let kept = house.create(keeping("kept", 1000, 300)).await;
    let old = house.create(keeping("old", 1000, 2)).await;
    let gone = house.create(keeping("gone", 1000, 30)).await;
    house.advance(60).await;
    run_all(&house).await;
    for id in [kept, old] {
        house.tasks().pause(id, punctual_coordinator::Change::default()).await.unwrap();
    }
    house.tasks().delete(gone, None).await.unwrap();
    house.advance(4 * DAY).await;
    let lengths = || async {
        [house.records(kept).await.len(), house.records(old).await.len(), house.store_runs(gone).await]
    };
    assert_eq!(lengths().await, [1, 0, 1]);
    house.advance(30 * DAY).await;
    assert_eq!(lengths().await, [1, 0, 0]);
}
