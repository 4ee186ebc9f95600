//! Rough figures of the whole engine on the embedded store: `cargo bench --bench engine`.

use punctual::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

async fn noop() -> Result<(), TaskError> {
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

async fn submit(punctual: &Punctual, task: TaskId, callers: usize, total: usize) -> f64 {
    let left = Arc::new(AtomicUsize::new(total));
    let begun = now();
    let mut working = Vec::new();
    for _ in 0..callers {
        let (tasks, left) = (punctual.tasks(), Arc::clone(&left));
        working.push(tokio::spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let accepted = tasks.run_now(task, RunRequest::default()).await.expect("accepted");
                let run = accepted.promise.wait().await.expect("ended");
                assert_eq!(run.state(), RunState::Succeeded);
            }
        }));
    }
    for working in working {
        working.await.expect("a caller");
    }
    total as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| "target".into()))
        .expect("a directory");
    let punctual = Punctual::builder()
        .data_dir(dir.path().join("data"))
        .handlers(Handlers::new().add("noop", noop))
        .start()
        .await
        .expect("an engine");
    let spec = TaskSpec::new("noop", Work::handler("noop"))
        .retention(1_000_000, std::time::Duration::from_secs(86_400));
    let task = punctual.tasks().create(spec).await.expect("a task").stored.task.id;
    for (callers, total) in [(64, 50_000), (1, 2_000), (64, 100_000), (1_000, 200_000)] {
        let rate = submit(&punctual, task, callers, total).await;
        println!("{callers:>5} callers  {rate:>9.0} runs/s");
    }
    punctual.stop().await.expect("a stop");
}
