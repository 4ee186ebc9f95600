//! An engine inside a program: a typed handler, a schedule, a run that somebody waits for.
//!
//! `cargo run --example embed`

use punctual::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the tasks of one handler differ in.
#[derive(Deserialize)]
struct Report {
    tenant: String,
}

/// What a run gives back; stored with it.
#[derive(Serialize)]
struct Rendered {
    pages: usize,
}

/// What all handlers share.
#[derive(Clone)]
struct App {
    pages_per_letter: usize,
}

async fn report(
    Args(report): Args<Report>,
    State(app): State<App>,
    ctx: RunCtx,
) -> Result<Rendered, TaskError> {
    ctx.log(format!("rendering {} for {}", report.tenant, ctx.scheduled_for()));
    if report.tenant.is_empty() {
        // Another attempt would not go better.
        return Err(TaskError::fail("a report needs a tenant"));
    }
    Ok(Rendered { pages: report.tenant.len() * app.pages_per_letter })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let punctual = Punctual::builder()
        .data_dir(dir.path().join("data"))
        .handlers(Handlers::new().with_state(App { pages_per_letter: 3 }).add("report", report))
        .start()
        .await?;

    let work = Work::handler_with("report", json!({"tenant": "acme"}));
    let task = TaskSpec::new("report-acme", work)
        .cron("30 2 * * 1-5")
        .timezone("Europe/Berlin")
        .restart(RestartPolicy::attempts(3, std::time::Duration::from_secs(60)));
    let written = punctual.tasks().upsert(task).await?;
    println!("{}", written.schedule.schedules[0].sentence);
    for next in &written.schedule.next {
        println!("  {next}");
    }

    // Asking twice with one key gives one run.
    let request = RunRequest { idempotency_key: Some("deploy-4711".to_owned()), ..RunRequest::default() };
    let id = written.stored.task.id;
    let first = punctual.tasks().run_now(id, request.clone()).await?;
    let again = punctual.tasks().run_now(id, request).await?;
    assert_eq!(first.run.id, again.run.id);

    let run = first.promise.wait().await?;
    let result = run.outcome.as_ref().and_then(|outcome| outcome.result.clone());
    println!("run {} {}: {}", run.id, run.state().name(), result.unwrap_or_default());
    assert_eq!(run.state(), RunState::Succeeded);

    punctual.stop().await?;
    Ok(())
}
