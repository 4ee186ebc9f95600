//! History stays within its bounds, and its output goes with it.

use crate::house::{House, edge, every, spec};
use punctual_clock::Clock as _;
use punctual_model::outcome::OutputSummary;
use punctual_model::task::{Output, Retention};
use punctual_model::{Outcome, Overlap, Run, RunEvent, RunId, TaskSpec};
use punctual_store::Patch;

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

fn dropping(name: &str, runs: Option<u32>, hours: Option<u64>) -> TaskSpec {
    let output =
        Output { runs, age: hours.map(|hours| crate::house::secs(hours * 3600)), ..Output::default() };
    TaskSpec { output, ..spec(name, vec![every(60)]) }
}

/// Ends a run that has written something.
async fn end_with_output(house: &House, run: &Run) {
    let output = Some(OutputSummary { bytes: 10, dropped: 0 });
    let outcome = Some(Outcome { output, ..Outcome::default() });
    let patch = Patch { outcome, ..Patch::default() };
    let edge = punctual_store::Edge { patch, ..edge(run, RunEvent::Succeeded, house.clock.now()) };
    house.step(edge).await;
}

fn outputs_gone(house: &House) -> Vec<RunId> {
    let mut gone = house.removed.1.lock().unwrap().clone();
    gone.sort_unstable();
    gone
}

#[tokio::test(start_paused = true)]
async fn output_is_kept_of_the_newest_runs_only_while_all_records_stay() {
    let house = House::new().await;
    let id = house.create(dropping("t", Some(2), None)).await;
    for _ in 0..6 {
        house.advance(60).await;
        for run in house.claim(1000).await {
            end_with_output(&house, &run).await;
        }
    }
    house.advance(60).await;
    let runs: Vec<RunId> = house.records(id).await.iter().map(|run| run.id).collect();
    assert_eq!(runs.len(), 7);
    // Six have ended, and two of them keep what they wrote. Nothing is removed twice.
    let mut sorted = runs.clone();
    sorted.sort_unstable();
    assert_eq!(outputs_gone(&house), sorted[..4]);
    assert!(house.removed.0.lock().unwrap().is_empty(), "no record has gone");
    // The next node does not know what has gone, and asks for no more than that.
    let (house, _) = House::on(house.crash()).await;
    house.advance(60).await;
    house.advance(30).await;
    assert_eq!(house.records(id).await.len(), 8);
    assert_eq!(outputs_gone(&house), sorted[..4]);
}

#[tokio::test(start_paused = true)]
async fn what_was_skipped_takes_no_place_of_what_wrote_something() {
    let house = House::new().await;
    let task = TaskSpec { overlap: Overlap::Skip, ..dropping("t", Some(1), None) };
    let id = house.create(task).await;
    house.advance(60).await;
    for run in house.claim(1000).await {
        end_with_output(&house, &run).await;
    }
    house.advance(60).await;
    assert_eq!(house.claim(1000).await.len(), 1);
    for _ in 0..10 {
        house.advance(60).await;
    }
    assert_eq!(house.records(id).await.len(), 12);
    assert_eq!(outputs_gone(&house), []);
}

#[tokio::test(start_paused = true)]
async fn output_goes_by_its_age_also_of_a_task_that_has_no_more_runs_and_of_a_run_that_took_longer() {
    let house = House::new().await;
    let id = house.create(dropping("t", None, Some(2))).await;
    house.advance(120).await;
    let claimed = house.claim(1000).await;
    let (long, short) = (&claimed[0], &claimed[1]);
    end_with_output(&house, short).await;
    house.tasks().pause(id, punctual_coordinator::Change::default()).await.unwrap();
    house.advance(3600).await;
    assert_eq!(outputs_gone(&house), []);
    end_with_output(&house, long).await;
    house.advance(2 * 3600 - 60).await;
    assert_eq!(outputs_gone(&house), [short.id]);
    house.advance(2 * 3600).await;
    let mut both = [short.id, long.id];
    both.sort_unstable();
    let mut gone = outputs_gone(&house);
    gone.dedup();
    assert_eq!(gone, both);
    assert_eq!(house.records(id).await.len(), 2);
    let before = outputs_gone(&house).len();
    house.advance(12 * 3600).await;
    assert_eq!(outputs_gone(&house).len(), before, "what has gone is not looked for again");
}
