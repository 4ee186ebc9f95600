//! Figures 1 and 3: submit, start and finish of a no-op handler run, one by one, by many callers and by one.

use super::Stage;
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, bare, engine};

const LIMIT: &str = "bare writer, two commits a run";

pub(super) async fn many(stage: Stage) -> Outcome<Vec<Row>> {
    let row =
        measure(&stage, 64, 3, Row::new(1, "runs by 64 callers, submit to end", "runs/s", vec![0.0])).await?;
    Ok(vec![row.target(stage.aimed_at, Target::at_least(25_000.0, 40_000.0))])
}

pub(super) async fn one(stage: Stage) -> Outcome<Vec<Row>> {
    let row =
        measure(&stage, 1, 5, Row::new(3, "runs by one caller, one at a time", "runs/s", vec![0.0])).await?;
    Ok(vec![row.target(stage.aimed_at, Target::at_least(1_500.0, 1_900.0))])
}

async fn measure(stage: &Stage, callers: u64, rounds: usize, row: Row) -> Outcome<Row> {
    let home = stage.place.fresh()?;
    let punctual = engine::start(&home.path().join("data")).await?;
    let task = punctual.tasks().create(engine::idle_task("noop")).await?.stored.task.id;
    // The first runs also start threads and fill caches.
    engine::singles(&punctual.tasks(), &[task], callers, stage.size / 10).await?;
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for round in 0..stage.rounds(rounds) {
        ours.push(engine::singles(&punctual.tasks(), &[task], callers, stage.size).await?);
        limits.push(bare::singles(&home.path().join(format!("bare{round}")), callers, stage.size).await?);
    }
    punctual.stop().await?;
    let row = Row { rounds: ours.len(), ..Row::new(row.figure, &row.what, &row.unit, ours) };
    Ok(row.size(stage.size).limit(LIMIT, limits, Better::More))
}
