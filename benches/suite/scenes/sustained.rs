//! Figures 2 and 11: a thousand callers for millions of runs, and what those leave on disk.

use super::Stage;
use crate::machine::Peak;
use crate::place::bytes_below;
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, bare, engine};
use punctual::clock::{Clock, SystemClock};
use punctual::store::fjall::{FjallStore, Options};
use std::sync::Arc;

const CALLERS: u64 = 1_000;
/// So many that the history of none is so long that it would be pruned.
const TASKS: usize = 10;

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let (home, size) = (stage.place.fresh()?, stage.size);
    let data = home.path().join("data");
    let punctual = engine::start(&data).await?;
    let mut tasks = Vec::new();
    for number in 0..TASKS {
        let spec = engine::idle_task(&format!("noop{number}"));
        tasks.push(punctual.tasks().create(spec).await?.stored.task.id);
    }
    engine::singles(&punctual.tasks(), &tasks, CALLERS, size / 10).await?;
    let rounds = stage.rounds(if size < 1_000_000 { 3 } else { 1 });
    let (mut rates, mut limits) = (Vec::new(), Vec::new());
    let peak = Peak::watch();
    for _ in 0..rounds {
        rates.push(engine::singles(&punctual.tasks(), &tasks, CALLERS, size).await?);
    }
    let mib = peak.bytes() as f64 / f64::from(1 << 20);
    punctual.stop().await?;
    for round in 0..rounds {
        limits.push(bare::singles(&home.path().join(format!("bare{round}")), CALLERS, size).await?);
    }

    let runs = size * rounds as u64 + size / 10;
    let lying = bytes_below(&data.join("db/keyspaces"))? as f64 / runs as f64;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let open = async || FjallStore::open(&data, Arc::clone(&clock), &Options::default());
    let store = engine::once_free(open).await?;
    store.compact()?;
    store.close();
    let compact = bytes_below(&data.join("db/keyspaces"))? as f64 / runs as f64;
    let least = bare::bytes(&home.path().join("compact"), size.min(200_000))?;
    Ok(vec![
        Row::new(2, "runs by 1,000 callers, submit to end", "runs/s", rates)
            .size(size)
            .limit("bare writer, two commits a run", limits, Better::More)
            .target(stage.aimed_at, Target::at_least(35_000.0, 55_000.0)),
        Row::new(2, "the most memory meanwhile", "MiB", vec![mib]).size(size),
        Row::new(11, "disk a finished run, as it lies", "B", vec![lying]).size(size),
        Row::new(11, "disk a finished run, after compaction", "B", vec![compact])
            .size(size)
            .limit("bare records", vec![least], Better::Less)
            .target(stage.aimed_at, Target::at_most(250.0, 130.0)),
    ])
}
