//! The engine as the scenes want it.

use crate::Outcome;
use punctual::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Writers at once where tasks are made in bulk.
const CREATORS: u64 = 256;

pub(crate) async fn noop() -> Result<(), TaskError> {
    Ok(())
}

/// An engine over a directory that knows the handler `noop`.
pub(crate) async fn start(data: &Path) -> Outcome<Punctual> {
    let handlers = Handlers::new().add("noop", noop);
    Ok(Punctual::builder().data_dir(data).handlers(handlers).start().await?)
}

/// What `open` opens, once whoever was there before has let go of it: a stop answers before the last thread has gone.
pub(crate) async fn once_free<T, E: std::fmt::Display>(open: impl AsyncFn() -> Result<T, E>) -> Outcome<T> {
    let patient_until = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match open().await {
            Ok(opened) => return Ok(opened),
            Err(error) if std::time::Instant::now() > patient_until => return Err(error.to_string().into()),
            Err(error) if error.to_string().contains("in use by") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error.to_string().into()),
        }
    }
}

/// A task that does nothing when told to, and whose history is as long as a benchmark.
pub(crate) fn idle_task(name: &str) -> TaskSpec {
    TaskSpec::new(name, Work::handler("noop")).retention(1_000_000, Duration::from_secs(86_400))
}

/// Runs a second from request to end, with so many callers of which each waits for one run at a time, of these tasks
/// in turn.
pub(crate) async fn singles(tasks: &Tasks, of: &[TaskId], callers: u64, runs: u64) -> Outcome<f64> {
    let left = Arc::new(AtomicU64::new(runs));
    let begun = std::time::Instant::now();
    let working = (0..callers).map(|caller| {
        let (tasks, left) = (tasks.clone(), Arc::clone(&left));
        let task = of[caller as usize % of.len()];
        tokio::spawn(async move {
            let take = |left: u64| left.checked_sub(1);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                let accepted = tasks.run_now(task, RunRequest::default()).await?;
                let run = accepted.promise.wait().await?;
                if run.state() != RunState::Succeeded {
                    return Err(format!("a run ended as {:?}", run.state()).into());
                }
            }
            Outcome::Ok(())
        })
    });
    for working in working.collect::<Vec<_>>() {
        working.await??;
    }
    Ok(runs as f64 / begun.elapsed().as_secs_f64())
}

/// Makes so many tasks; answers how many a second.
pub(crate) async fn create(
    tasks: &Tasks,
    count: u64,
    spec: impl Fn(u64) -> TaskSpec + Clone + Send + 'static,
) -> Outcome<f64> {
    let begun = std::time::Instant::now();
    let creators = (0..CREATORS).map(|creator| {
        let (tasks, spec) = (tasks.clone(), spec.clone());
        tokio::spawn(async move {
            for number in (creator..count).step_by(CREATORS as usize) {
                tasks.create(spec(number)).await?;
            }
            Outcome::Ok(())
        })
    });
    for creator in creators.collect::<Vec<_>>() {
        creator.await??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
