//! Looks at what the work takes of the machine.

use super::bench::{Bench, at, seconds};
use crate::scripted::{Act, Ask};
use punctual_model::{RunId, RunState, TaskSpec, Usage, Work};
use std::time::Duration;

const USAGE: Usage = Usage { user: Duration::from_secs(3), system: Duration::from_secs(1), memory: 4096 };

/// A run that is at work for 35 seconds, of a task that wants a look every so often.
async fn at_work(every: Option<Duration>) -> (Bench, RunId) {
    let bench = Bench::new().await;
    bench.acts([Act::run_for(seconds(35))]);
    let mut spec = TaskSpec::new("report", Work::handler("report"));
    spec.stats_every = every;
    let task = bench.task(spec).await;
    let id = bench.go(&task).await.id();
    bench.settle().await;
    (bench, id)
}

fn looks(bench: &Bench) -> usize {
    bench.driver.asked().iter().filter(|asked| asked.what == Ask::Stats).count()
}

/// TR29: from the start to the end, once each interval, and only where the task wants it.
#[tokio::test(start_paused = true)]
async fn tr29_work_is_looked_at_once_each_interval_from_its_start_to_its_end() {
    let (bench, id) = at_work(Some(seconds(10))).await;
    bench.driver.takes(Some(USAGE), Duration::ZERO);
    bench.pass(seconds(9)).await;
    assert_eq!((looks(&bench), bench.run(id).await.usage), (0, None));
    bench.pass(seconds(1)).await;
    assert_eq!((looks(&bench), bench.run(id).await.usage), (1, Some(USAGE)));
    bench.pass(seconds(20)).await;
    assert_eq!(looks(&bench), 3);
    bench.pass(seconds(1000)).await;
    let run = bench.run(id).await;
    assert_eq!((looks(&bench), run.usage, run.finished_at), (3, None, Some(at(35))));

    let (bench, _) = at_work(None).await;
    bench.pass(seconds(1000)).await;
    assert_eq!(looks(&bench), 0);
}

/// TR29: a driver that can see nothing, or that is slow to answer, is in nobody's way: there is never more than one
/// look at a time, the next one comes an interval after it, and the end of the work waits for none.
#[tokio::test(start_paused = true)]
async fn tr29_a_driver_that_sees_nothing_or_is_slow_to_look_holds_up_nothing() {
    for (take, most) in [(Duration::ZERO, 3), (seconds(7), 2), (seconds(600), 1)] {
        let (bench, id) = at_work(Some(seconds(10))).await;
        bench.driver.takes(None, take);
        bench.pass(seconds(1000)).await;
        let run = bench.run(id).await;
        assert_eq!((run.state(), run.finished_at), (RunState::Succeeded, Some(at(35))), "{take:?}");
        assert_eq!((looks(&bench), run.usage), (most, None), "{take:?}");
    }
}
