//! Figure 12: runs that are processes, as children and in the hands of shims, beside bare spawning of the same program.

use super::Stage;
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, engine};
use punctual::executor::Limits;
use punctual::model::process::ProcessContext;
use punctual::prelude::*;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let home = stage.place.fresh()?;
    let at_once = Limits::default().processes as u64;
    let punctual = engine::start(&home.path().join("data")).await?;
    let mut tasks = Vec::new();
    for shim in [false, true] {
        let context = ProcessContext { shim, ..ProcessContext::default() };
        let work = Work::Process { argv: vec!["true".to_owned()], context };
        let spec = TaskSpec { work, ..engine::idle_task(if shim { "kept" } else { "child" }) };
        let task = punctual.tasks().create(spec).await?.stored.task.id;
        engine::singles(&punctual.tasks(), &[task], at_once, stage.size / 10).await?;
        tasks.push((task, Vec::new(), Vec::new()));
    }
    let mut limits = Vec::new();
    for _ in 0..stage.rounds(5) {
        // Side by side in each round, so that all three meet the same machine.
        let limit = spawned(at_once, stage.size).await?;
        for (task, rates, shares) in &mut tasks {
            let rate = engine::singles(&punctual.tasks(), &[*task], at_once * 2, stage.size).await?;
            shares.push(rate / limit * 100.0);
            rates.push(rate);
        }
        limits.push(limit);
    }
    punctual.stop().await?;
    let limit = format!("bare spawn, {at_once} at once, output captured");
    let targets = [Target::at_least(60.0, 85.0), Target::at_least(30.0, 50.0)];
    let mut rows = Vec::new();
    for (((_, rates, shares), how), target) in
        tasks.into_iter().zip(["without a shim", "with a shim"]).zip(targets)
    {
        let named = format!("process runs (`true`) {how}, submit to end");
        rows.push(Row::new(12, &named, "runs/s", rates).size(stage.size).limit(
            &limit,
            limits.clone(),
            Better::More,
        ));
        let named = format!("process runs {how}, of the bare spawn rate");
        rows.push(Row::new(12, &named, "%", shares).size(stage.size).target(true, target));
    }
    Ok(rows)
}

/// Children a second with nothing around them.
async fn spawned(at_once: u64, children: u64) -> Outcome<f64> {
    let left = Arc::new(AtomicU64::new(children));
    let begun = Instant::now();
    let spawning = (0..at_once).map(|_| {
        let left = Arc::clone(&left);
        tokio::spawn(async move {
            let take = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                let mut command = tokio::process::Command::new("true");
                let output = command.stdin(Stdio::null()).output().await?;
                if !output.status.success() {
                    return Err("true was false".into());
                }
            }
            Outcome::Ok(())
        })
    });
    for spawning in spawning.collect::<Vec<_>>() {
        spawning.await??;
    }
    Ok(children as f64 / begun.elapsed().as_secs_f64())
}
