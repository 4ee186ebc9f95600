//! Figures 6 and 7: from a due time to the first line of the handler, with so many dues each second.

use super::{PACED_ROUNDS, PACED_SECONDS, Stage};
use crate::report::Row;
use crate::rounds::Latencies;
use crate::targets::{Better, Target};
use crate::{Outcome, bare, engine};
use punctual::clock::Clock;
use punctual::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is kept of each task: little, so that histories are pruned from the first round on, as in life.
const KEPT: u32 = 5;

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let (home, size) = (stage.place.fresh()?, stage.size);
    let times: Arc<Mutex<Vec<f64>>> = Arc::default();
    let clock: Arc<dyn Clock> = Arc::new(punctual::clock::SystemClock::new()?);
    let (noted, watch) = (Arc::clone(&times), Arc::clone(&clock));
    let handler = move |ctx: RunCtx| {
        let late = watch.now().duration_since(ctx.run().run_at);
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(late.as_secs_f64() * 1e3);
        engine::noop()
    };
    let punctual = Punctual::builder()
        .data_dir(home.path().join("data"))
        .handlers(Handlers::new().add("noop", handler))
        .clock(clock)
        .start()
        .await?;
    let second = Duration::from_secs(1);
    // Everything of one second's interval, spread over it by the hash of the task's id.
    let spec = move |number: u64| TaskSpec {
        splay: second,
        ..TaskSpec::new(format!("t{number}"), Work::handler("noop"))
            .every(second)
            .retention(KEPT, Duration::from_secs(86_400))
    };
    engine::create(&punctual.tasks(), size, spec).await?;
    tokio::time::sleep((KEPT + 1) * second).await;
    let (mut ours, mut limits) = (Latencies::default(), Latencies::default());
    for _ in 0..stage.rounds(PACED_ROUNDS) {
        times.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tokio::time::sleep(Duration::from_secs(PACED_SECONDS)).await;
        let round = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
        let expected = (size * PACED_SECONDS) as usize;
        if round.len() < expected / 10 * 9 {
            return Err(format!("of {expected} dues only {} have run", round.len()).into());
        }
        ours.round(round);
    }
    punctual.stop().await?;
    for round in 0..stage.rounds(PACED_ROUNDS) {
        limits.round(bare::timed(&home.path().join(format!("bare{round}")), size, PACED_SECONDS)?);
    }
    let limit = "bare timer thread, one synced write";
    let (figure, p50, p99) = match size {
        10_000 => (7, None, Some(Target::at_most(20.0, 8.0))),
        1_000 => (6, Some(Target::at_most(1.2, 0.6)), Some(Target::at_most(6.0, 3.0))),
        _ => (6, None, None),
    };
    let row = |what: &str, values, limits, target: Option<Target>| Row {
        target,
        ..Row::new(figure, what, "ms", values).size(size).limit(limit, limits, Better::Less)
    };
    Ok(vec![
        row("due to the handler's start, p50", ours.p50, limits.p50, p50),
        row("due to the handler's start, p99", ours.p99, limits.p99, p99),
        row("due to the handler's start, worst", ours.worst, limits.worst, None),
    ])
}
