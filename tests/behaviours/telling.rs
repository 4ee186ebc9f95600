//! What is said of a run while it lives and afterwards: states, log lines, its result.

use crate::clockwork::{at, create, handling, live, run_now, scripted, secs, task};
use crate::log::{Log, messages};
use futures_util::StreamExt;
use punctual::model::{RunStateName, Trigger};
use punctual::prelude::*;
use punctual::testing::Act;
use serde_json::json;

/// EX01, EX02: the record is there at once and has what was asked for; after success the run is gone from the live
/// set, and its lines from start to end carry the span that names task, revision, run and attempt.
#[tokio::test(start_paused = true)]
async fn ex01_ex02_a_run_is_recorded_at_once_and_logged_from_its_start_to_its_end() {
    let log = Log::keep();
    let t = scripted().await;
    t.script(|_| Act::run_for(secs(5)));
    let id = create(&t, task("report").every(secs(60))).await;
    t.advance(secs(60)).await;
    let run = live(&t, id).await.remove(0);
    assert_eq!((run.trigger, run.scheduled_for, run.run_at), (Trigger::Schedule, at(60), at(60)));
    let promise = t.tasks().promise(run.id).await.unwrap();
    assert_eq!(promise.id(), run.id);
    t.advance(secs(5)).await;
    let ended = promise.wait().await.unwrap();
    assert_eq!((ended.id, ended.state()), (run.id, RunState::Succeeded));
    assert!(live(&t, id).await.is_empty());
    let lines = log.of_run(run.id);
    assert_eq!(messages(&lines), ["attempt starts", "attempt ended"]);
    assert_eq!((&lines[0]["level"], &lines[0]["fields"]["trigger"]), (&json!("INFO"), &json!("schedule")));
    assert_eq!(lines[1]["fields"]["state"], "succeeded");
    for line in &lines {
        let span = json!({
            "name": "run", "task.id": id.to_string(), "task.name": "report", "task.type": "system",
            "task.revision": 1, "run.id": run.id.to_string(), "attempt": 1,
        });
        assert_eq!(line["span"], span);
    }
}

#[derive(serde::Serialize)]
struct Statistics {
    rows: u64,
    skipped: Vec<String>,
}

async fn import(ctx: RunCtx) -> Result<Statistics, TaskError> {
    tracing::info!(rows = 7, "imported");
    ctx.log("done");
    Ok(Statistics { rows: 7, skipped: vec!["header".to_owned()] })
}

/// SC17: what a job counts is machine-readable, in its run's result; its own log lines are in the run's span.
#[tokio::test(start_paused = true)]
async fn sc17_the_statistics_of_a_job_are_its_runs_result_and_in_its_span() {
    let log = Log::keep();
    let (engine, _) = handling(Handlers::new().add("import", import)).await;
    let id = create(&engine, task("import")).await;
    let promise = run_now(&engine, id).await;
    let ended = promise.wait().await.unwrap();
    let result = json!({"rows": 7, "skipped": ["header"]});
    assert_eq!(ended.outcome.as_ref().unwrap().result.as_ref(), Some(&result));
    // As stored, also for who reads it later, and as JSON.
    let read = engine.tasks().run(promise.id()).await.unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap()["outcome"]["result"], result);
    let lines = log.of_run(promise.id());
    assert_eq!(messages(&lines), ["attempt starts", "imported", "attempt ended"]);
    assert_eq!(lines[1]["fields"]["rows"], 7);
    assert_eq!((&lines[1]["span"]["task.name"], &lines[1]["span"]["attempt"]), (&json!("import"), &json!(1)));
}

/// SC21: for each of the three ends, what is shown while it happens, what is logged, and what stands in the record.
#[tokio::test(start_paused = true)]
async fn sc21_each_end_has_its_sequence_of_states_and_its_text() {
    let log = Log::keep();
    let t = scripted().await;
    t.script(|attempt| match attempt.task.spec.name.as_str() {
        "fails" => Act::Run(secs(5), Box::new(Act::FailForGood("no such bucket".to_owned()))),
        "hangs" => Act::Hang,
        _ => Act::run_for(secs(5)),
    });
    use RunStateName as S;
    for (name, expect, error, reason) in [
        ("works", vec![S::Running, S::Succeeded], None, None),
        ("fails", vec![S::Running, S::Failed], Some("no such bucket"), None),
        ("hangs", vec![S::Running, S::Stopping, S::Canceled], Some("canceled"), Some("canceled")),
    ] {
        let id = create(&t, task(name)).await;
        let promise = run_now(&t, id).await;
        t.settle().await;
        let states = promise.watch().await.unwrap();
        let watching =
            tokio::spawn(async move { states.map(|state| state.name()).collect::<Vec<_>>().await });
        t.advance(secs(5)).await;
        if name == "hangs" {
            promise.cancel().await.unwrap();
            t.settle().await;
        }
        assert_eq!(watching.await.unwrap(), expect, "{name}");
        let run = promise.wait().await.unwrap();
        let told = run.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
        assert_eq!(told.is_some(), error.is_some(), "{name}");
        let text = told.map(|failure| failure.message.clone()).unwrap_or_default();
        assert!(text.contains(error.unwrap_or_default()), "{name}: {text}");
        assert!(run.state().reason().unwrap_or_default().contains(reason.unwrap_or_default()), "{name}");
        let lines = log.of_run(promise.id());
        let (first, last) = (&lines[0], &lines[lines.len() - 1]);
        assert_eq!(first["fields"]["message"], "attempt starts", "{name}");
        assert_eq!(last["fields"]["message"], "attempt ended", "{name}");
        let end = expect[expect.len() - 1];
        assert_eq!(last["fields"]["state"], end.as_str(), "{name}");
        assert_eq!(last["fields"]["error"].as_str(), told.map(|failure| failure.message.as_str()), "{name}");
    }
}
