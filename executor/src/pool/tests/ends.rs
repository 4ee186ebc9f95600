use super::bench::{Bench, seconds};
use crate::Class;
use crate::attempt::{self, Job};
use crate::scripted::Act;
use crate::seats::Seat;
use punctual_model::{RunState, TaskSpec, Work};
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn the_end_of_the_work_frees_its_seat_and_its_limit() {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(1))]);
    let spec = TaskSpec::new("report", Work::handler("report")).concurrency(1);
    let task = bench.task(spec).await;
    let promises = [bench.go(&task).await, bench.go(&task).await, bench.go(&task).await];
    bench.pass(seconds(3)).await;
    for (promise, n) in promises.iter().zip(1..) {
        let run = promise.wait().await.unwrap();
        assert_eq!((run.state(), run.finished_at), (RunState::Succeeded, Some(super::bench::at(n))));
    }
    assert_eq!(bench.driver.most_at_once(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_trace() {
    async fn trace() -> Vec<(String, u32)> {
        let bench = Bench::new().await;
        bench.acts([Act::Exit(1), Act::run_for(seconds(1)), Act::Exit(1), Act::Succeed]);
        for name in ["a", "b", "c", "d"] {
            let policy = super::bench::restarts(3);
            let task = bench.task(TaskSpec::new(name, Work::handler(name)).restart(policy)).await;
            bench.go(&task).await;
        }
        bench.pass(seconds(500)).await;
        bench.driver.asked().into_iter().map(|asked| (asked.task, asked.attempt)).collect()
    }
    let first = trace().await;
    assert!(first.len() >= 8);
    assert_eq!(first, trace().await);
}

/// Tens of thousands of them are made in a second, and each is copied where it is to live.
#[tokio::test(start_paused = true)]
async fn the_task_of_an_attempt_is_small() {
    let bench = Bench::new().await;
    let task = bench.handler("report").await;
    let run = Arc::new(bench.run_of(&task));
    let engine = Arc::clone(&bench.pool.engine);
    let working = engine.registry.enter(std::iter::once((run.id, task.id))).remove(0).unwrap();
    let seat = Seat::force(&engine.seats, Class::InProcess);
    let size = size_of_val(&attempt::live(engine, Job::new(run, task, working, seat)));
    assert!(size <= 2304, "{size} bytes");
}
