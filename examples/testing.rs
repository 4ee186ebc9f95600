//! How a program tests what it schedules: a night in March in a millisecond, and a crash in the middle.
//!
//! `cargo run --example testing --features testing`

use punctual::prelude::*;
use punctual::testing::{Act, TestEngine};
use std::time::Duration;

async fn a_night_in_march() {
    // Berlin skips 02:00–03:00 that night.
    let t = TestEngine::at("2027-03-28T00:00:00+01:00").await;
    t.script(|attempt| match attempt.run.life.attempt {
        1 | 2 => Act::Fail("the database is not there yet".to_owned()),
        _ => Act::run_for(Duration::from_secs(90)),
    });
    let report = TaskSpec::new("report", Work::handler("report"))
        .cron("30 2 * * *")
        .timezone("Europe/Berlin")
        .restart(RestartPolicy::attempts(3, Duration::from_secs(60)));
    t.tasks().create(report).await.expect("a task");

    t.advance(Duration::from_secs(2 * 3600 + 200)).await;
    let run = t.last_run("report").await.expect("a run");
    assert_eq!(run.scheduled_for, "2027-03-28T03:00:00+02:00".parse().expect("an instant"));
    assert_eq!(run.life.attempt, 3, "two attempts have failed, the third is at work");
    assert!(run.state().is_at_work());

    // The process dies while the third attempt is at work; nobody saw its end.
    let t = t.crash_and_reopen().await;
    let runs = t.runs("report").await;
    assert_eq!(runs.len(), 1, "one due, one record");
    assert!(matches!(runs[0].state(), RunState::Lost { .. }), "unknown is not success");

    // The next night is an ordinary one.
    t.script(|_| Act::Succeed);
    t.advance(Duration::from_secs(24 * 3600)).await;
    let run = t.last_run("report").await.expect("a run");
    assert_eq!(run.scheduled_for, "2027-03-29T02:30:00+02:00".parse().expect("an instant"));
    assert_eq!(run.state(), RunState::Succeeded);
}

fn main() {
    // In a test of yours: #[tokio::test(start_paused = true)]
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(a_night_in_march());
    println!("a night in March and a crash, without waiting for either");
}
