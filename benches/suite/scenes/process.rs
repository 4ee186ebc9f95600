//! Figure 12: runs that are processes, beside bare spawning of the same program.

use super::Stage;
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, engine};
use punctual::executor::Limits;
use punctual::prelude::*;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let home = stage.place.fresh()?;
    let at_once = Limits::default().processes as u64;
    let punctual = engine::start(&home.path().join("data")).await?;
    let spec = TaskSpec { work: Work::process(["true"]), ..engine::idle_task("true") };
    let task = punctual.tasks().create(spec).await?.stored.task.id;
    engine::singles(&punctual.tasks(), &[task], at_once, stage.size / 10).await?;
    let (mut ours, mut limits, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.rounds(5) {
        let rate = engine::singles(&punctual.tasks(), &[task], at_once * 2, stage.size).await?;
        let limit = spawned(at_once, stage.size).await?;
        shares.push(rate / limit * 100.0);
        ours.push(rate);
        limits.push(limit);
    }
    punctual.stop().await?;
    let limit = format!("bare spawn, {at_once} at once, output captured");
    Ok(vec![
        Row::new(12, "process runs (`true`), submit to end", "runs/s", ours).size(stage.size).limit(
            &limit,
            limits,
            Better::More,
        ),
        Row::new(12, "process runs, of the bare spawn rate", "%", shares)
            .size(stage.size)
            .target(true, Target::at_least(60.0, 85.0)),
    ])
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
