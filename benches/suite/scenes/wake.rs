//! Figure 5: from a request for a run to the first line of its handler, with little else to do.

use super::{PACED_ROUNDS, PACED_SECONDS, Stage};
use crate::bare::{Step, Writer};
use crate::report::Row;
use crate::rounds::Latencies;
use crate::targets::{Better, Target};
use crate::{Outcome, engine};
use punctual::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a request was made, in seconds.
#[derive(serde::Deserialize)]
struct Asked {
    at: f64,
}

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let home = stage.place.fresh()?;
    let origin = Instant::now();
    let times: Arc<Mutex<Vec<f64>>> = Arc::default();
    let noted = Arc::clone(&times);
    // A request says when it was made, so that no two are taken for each other.
    let handler = move |Args(asked): Args<Asked>| {
        let took = origin.elapsed().as_secs_f64() - asked.at;
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(took * 1e3);
        engine::noop()
    };
    let punctual = Punctual::builder()
        .data_dir(home.path().join("data"))
        .handlers(Handlers::new().add("noop", handler))
        .start()
        .await?;
    let task = punctual.tasks().create(engine::idle_task("noop")).await?.stored.task.id;
    let (mut ours, mut limits) = (Latencies::default(), Latencies::default());
    let pause = Duration::from_secs_f64(1.0 / stage.size as f64);
    for round in 0..stage.rounds(PACED_ROUNDS) {
        for _ in 0..stage.size * PACED_SECONDS {
            let begun = Instant::now();
            let params = serde_json::json!({ "at": origin.elapsed().as_secs_f64() });
            let request = RunRequest { params, ..RunRequest::default() };
            punctual.tasks().run_now(task, request).await?.promise.wait().await?;
            tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
        }
        ours.round(std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner)));
        limits.round(bare(&home.path().join(format!("bare{round}")), &stage, pause).await?);
    }
    punctual.stop().await?;
    let limit = "bare writer and a spawned task";
    Ok(vec![
        Row::new(5, "submit to the handler's start, p50", "ms", ours.p50)
            .size(stage.size)
            .limit(limit, limits.p50, Better::Less)
            .target(true, Target::at_most(0.8, 0.4)),
        Row::new(5, "submit to the handler's start, p99", "ms", ours.p99)
            .size(stage.size)
            .limit(limit, limits.p99, Better::Less)
            .target(true, Target::at_most(3.0, 1.5)),
    ])
}

/// One synced commit, then a task that starts.
async fn bare(path: &std::path::Path, stage: &Stage, pause: Duration) -> Outcome<Vec<f64>> {
    let (writer, writing) = Writer::start(path)?;
    let mut times = Vec::new();
    for id in 0..stage.size * PACED_SECONDS {
        let begun = Instant::now();
        writer.write(vec![Step::Accept(id)]).await?;
        times.push(tokio::spawn(async move { begun.elapsed().as_secs_f64() * 1e3 }).await?);
        writer.write(vec![Step::End(id)]).await?;
        tokio::time::sleep(pause.saturating_sub(begun.elapsed())).await;
    }
    writing.end(writer)?;
    Ok(times)
}
