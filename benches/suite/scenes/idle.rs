//! Figures 9, 10 and 13: a fresh process over very many tasks that are due some day.

use super::{Stage, aside};
use crate::machine::{processor_time, resident};
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, bare, engine};
use punctual::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long doing nothing is watched.
const WATCHED: u64 = 10;
/// Until caches are written and the last thread has gone to sleep.
const SETTLING: Duration = Duration::from_secs(3);

/// What the fresh process has seen.
#[derive(Serialize, Deserialize)]
struct Seen {
    ready: f64,
    resident: u64,
    busy: f64,
}

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let (home, size) = (stage.place.fresh()?, stage.size);
    let day = Duration::from_secs(86_400);
    let mut seen = Vec::new();
    // The second directory is what the engine costs by itself.
    for (name, count) in [("data", size), ("empty", 1)] {
        let data = home.path().join(name);
        let punctual = engine::start(&data).await?;
        // All over the day, as people spread their own.
        let spec = move |number: u64| TaskSpec {
            splay: day,
            ..TaskSpec::new(format!("t{number}"), Work::handler("noop")).every(day)
        };
        engine::create(&punctual.tasks(), count, spec).await?;
        punctual.stop().await?;
        let rounds = if count == 1 { 1 } else { stage.rounds(3) };
        let mut all = Vec::new();
        for round in 0..rounds {
            let watched = if round == 0 && count > 1 { WATCHED } else { 0 };
            all.push(aside::<Seen>("idle", &[&data.display().to_string(), &watched.to_string()])?);
        }
        seen.push(all);
    }
    let (with, without) = (&seen[0], &seen[1][0]);
    let each = |seen: &Seen| seen.resident.saturating_sub(without.resident) as f64 / size as f64;
    let map = bare::sorted_map(size);
    let open = bare::opened(&home.path().join("bare"), size)?;
    Ok(vec![
        Row::new(9, "memory an idle scheduled task", "B", with.iter().map(each).collect())
            .size(size)
            .limit("sorted map of (time, id)", vec![map], Better::Less)
            .target(stage.aimed_at, Target::at_most(130.0, 80.0)),
        Row::new(10, "start with tasks, to ready", "s", with.iter().map(|seen| seen.ready).collect())
            .size(size)
            .limit("bare open and scan", vec![open], Better::Less)
            .target(stage.aimed_at, Target::at_most(4.0, 2.0)),
        Row::new(13, "processor while idle, of one core", "%", vec![with[0].busy * 100.0])
            .size(size)
            .target(stage.aimed_at, Target::at_most(0.5, 0.1)),
    ])
}

/// Starts over what was left and does nothing.
pub(super) fn role(data: &Path, seconds: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let seen = runtime.block_on(async {
        let (punctual, ready) = engine::once_free(async || {
            let begun = Instant::now();
            engine::start(data).await.map(|punctual| (punctual, begun.elapsed().as_secs_f64()))
        })
        .await?;
        tokio::time::sleep(SETTLING).await;
        let (resident, before, begun) = (resident(), processor_time(), Instant::now());
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let busy = (processor_time() - before).as_secs_f64() / begun.elapsed().as_secs_f64().max(1e-3);
        punctual.stop().await?;
        Outcome::Ok(Seen { ready, resident, busy })
    })?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}
