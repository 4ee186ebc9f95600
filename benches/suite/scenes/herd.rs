//! Figure 8: very many tasks, all due at one instant.

use super::Stage;
use crate::machine::{Peak, resident};
use crate::report::Row;
use crate::targets::{Better, Target};
use crate::{Outcome, bare, engine};
use jiff::{SignedDuration, Timestamp};
use punctual::clock::{Clock, SystemClock};
use punctual::prelude::*;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Tasks that tell how long making all of them will take.
const SAMPLE: u64 = 20_000;
/// How much slower than the first ones all of them are made, at most: what was made before is compacted beside.
const SLOWER: f64 = 5.0;

pub(super) async fn play(stage: Stage) -> Outcome<Vec<Row>> {
    let (home, size) = (stage.place.fresh()?, stage.size);
    let first: Arc<OnceLock<Timestamp>> = Arc::default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let (told, watch) = (Arc::clone(&first), Arc::clone(&clock));
    let handler = move || {
        told.get_or_init(|| watch.now());
        engine::noop()
    };
    let punctual = Punctual::builder()
        .data_dir(home.path().join("data"))
        .handlers(Handlers::new().add("noop", handler))
        .clock(Arc::clone(&clock))
        .start()
        .await?;
    let manual = |number: u64| TaskSpec::new(format!("sample{number}"), Work::handler("noop"));
    let rate = engine::create(&punctual.tasks(), SAMPLE, manual).await?;
    let patience = SignedDuration::from_secs_f64(2.0 + SLOWER * size as f64 / rate);
    let at = clock.now() + patience;
    let spec = move |number: u64| TaskSpec::new(format!("t{number}"), Work::handler("noop")).at(at);
    let created = engine::create(&punctual.tasks(), size, spec).await?;
    let waited = at.duration_since(clock.now());
    if waited.is_negative() {
        return Err("making the tasks took longer than expected".into());
    }
    clock.sleep_until(at - SignedDuration::from_millis(200)).await;
    let (before, peak) = (resident(), Peak::watch());
    while punctual.counters().completed.values().sum::<u64>() < size {
        clock.sleep(Duration::from_millis(1)).await;
    }
    let took = clock.now().duration_since(at).as_secs_f64();
    let late = first.get().ok_or("nothing ran")?.duration_since(at).as_secs_f64() * 1e3;
    let each = (peak.bytes() - before) as f64 / size as f64;
    punctual.stop().await?;
    let (whole, batch) = bare::whole(&home.path().join("bare"), size)?;
    Ok(vec![
        Row::new(8, "all due at one instant: until all have ended", "s", vec![took])
            .size(size)
            .limit("bare writer, full batches", vec![whole], Better::Less)
            .target(stage.aimed_at, Target::at_most(40.0, 25.0)),
        Row::new(8, "all due at one instant: first start", "ms", vec![late])
            .size(size)
            .limit("bare commit of a full batch", vec![batch * 1e3], Better::Less)
            .target(stage.aimed_at, Target::at_most(20.0, 5.0)),
        Row::new(8, "all due at one instant: memory for each", "B", vec![each]).size(size),
        Row::new(8, "tasks made before, by 256 callers", "tasks/s", vec![created]).size(size),
    ])
}
