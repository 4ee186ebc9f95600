use super::bench::{Bench, seconds};
use crate::executor::{Dispatch, Executor as _};
use crate::reservation::Reservation;
use crate::scripted::Act;
use punctual_model::{RunStateName, TaskType};

#[tokio::test(start_paused = true)]
async fn ex08_numbers_follow_a_run() {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(5))]);
    let task = bench.handler("report").await;
    assert_eq!(bench.pool.counters().active, 0);
    let mut run = bench.run_of(&task);
    run.run_at = super::bench::at(-2);
    let run = bench.enqueue(vec![run], 0).await.remove(0);
    bench.pool.run_manually(Dispatch { run, task: task.clone() }, Reservation::none()).await.unwrap();
    bench.settle().await;
    let counters = bench.pool.counters();
    assert_eq!((counters.active, counters.started, counters.manual), (1, 1, 1));
    bench.pass(seconds(5)).await;
    let counters = bench.pool.counters();
    assert_eq!(counters.active, 0);
    assert_eq!(counters.completed[&(TaskType::default(), RunStateName::Succeeded)], 1);
    assert_eq!((counters.queue_wait, counters.queue_waits), (seconds(2), 1));
    assert_eq!((counters.run_time, counters.run_times), (seconds(5), 1));
    assert!(counters.errors.is_empty());

    bench.acts([Act::Fail("no".to_owned())]);
    bench.go(&task).await.wait().await.unwrap();
    let counters = bench.pool.counters();
    assert_eq!(counters.errors["work"], 1);
    assert_eq!(counters.completed[&(TaskType::default(), RunStateName::Failed)], 1);
}
