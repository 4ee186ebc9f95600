//! Figures 4 and 10: a fresh process over a queue of waiting runs, until its first dispatch and until all have ended.

use super::{Stage, aside};
use crate::machine::{Peak, resident};
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, bare, engine};
use punctual::clock::IdGenerator;
use punctual::model::{Life, Trigger};
use punctual::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// What the fresh process has seen.
#[derive(Serialize, Deserialize)]
struct Seen {
    first_dispatch: f64,
    rate: f64,
    resident: u64,
    peak: u64,
}

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let size = stage.size;
    let rounds = stage.rounds(if size < 1_000_000 { 3 } else { 1 });
    let (mut starts, mut rates, mut limits, mut opens) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut resident, mut peak) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let home = stage.place.fresh()?;
        let data = home.path().join("data");
        fill(&data, size).await?;
        let seen: Seen = aside("drain", &[&data.display().to_string(), &size.to_string()])?;
        starts.push(seen.first_dispatch);
        rates.push(seen.rate);
        resident.push(seen.resident as f64 / f64::from(1 << 20));
        peak.push(seen.peak as f64 / f64::from(1 << 20));
        limits.push(bare::drained(&home.path().join("bare"), size)?);
        opens.push(bare::opened(&home.path().join("open"), size)?);
    }
    Ok(vec![
        Row::new(4, "drain of waiting runs", "runs/s", rates)
            .size(size)
            .limit("bare writer, full batches", limits, Better::More)
            .target(stage.aimed_at, Target::at_least(50_000.0, 80_000.0)),
        Row::new(4, "memory at its begin", "MiB", resident).size(size),
        Row::new(4, "the most memory until its end", "MiB", peak).size(size),
        Row::new(10, "start with waiting runs, to the first dispatch", "s", starts)
            .size(size)
            .limit("bare open and scan", opens, Better::Less)
            .target(stage.aimed_at, Target::at_most(6.0, 3.0)),
    ])
}

/// Leaves an engine's directory with so many waiting runs of ten tasks.
async fn fill(data: &Path, runs: u64) -> Outcome {
    // Opened and never begun: nothing is claimed.
    let punctual = Punctual::builder().data_dir(data).open().await?;
    let mut tasks = Vec::new();
    for number in 0..10 {
        let spec = engine::idle_task(&format!("noop{number}"));
        tasks.push(punctual.tasks().create(spec).await?.stored.task.id);
    }
    let ids = IdGenerator::new(Arc::clone(punctual.clock()));
    let session = punctual.store().open_session("filling").await?;
    ids.raise_floor(session.id_floor);
    let mut left = runs;
    while left > 0 {
        let now = punctual.clock().now();
        let batch = (0..left.min(500)).map(|n| Run {
            id: ids.next_id().into(),
            task: tasks[n as usize % tasks.len()],
            revision: 1,
            trigger: Trigger::Manual,
            scheduled_for: now,
            run_at: now,
            accepted_at: now,
            life: Life::born(RunState::Queued),
            started_at: None,
            finished_at: None,
            forced: false,
            params: serde_json::Value::Null,
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: Default::default(),
            outcome: None,
            saved: serde_json::Value::Null,
            local: serde_json::Value::Null,
            events: Default::default(),
        });
        let batch: Vec<Run> = batch.collect();
        left -= batch.len() as u64;
        punctual.store().enqueue(&session, batch, 0).await?;
    }
    punctual.stop().await?;
    Ok(())
}

/// Starts over what was left and runs it.
pub(super) fn role(data: &Path, runs: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let seen = runtime.block_on(async {
        let first = Arc::new(OnceLock::new());
        let (punctual, begun) = engine::once_free(async || {
            let (begun, told) = (Instant::now(), Arc::clone(&first));
            let handlers = Handlers::new().add("noop", move || {
                told.get_or_init(Instant::now);
                engine::noop()
            });
            let started = Punctual::builder().data_dir(data).handlers(handlers).start().await;
            started.map(|punctual| (punctual, begun))
        })
        .await?;
        let resident = resident();
        let peak = Peak::watch();
        while punctual.counters().completed.values().sum::<u64>() < runs {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let first = *first.get().ok_or("nothing ran")?;
        let rate = runs as f64 / first.elapsed().as_secs_f64();
        let seen = Seen { first_dispatch: (first - begun).as_secs_f64(), rate, resident, peak: peak.bytes() };
        punctual.stop().await?;
        Outcome::Ok(seen)
    })?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}
