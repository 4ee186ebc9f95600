//! Whole lives of runs: due, executed, ended, with the real executor.

use crate::crash::check_covered;
use crate::house::{at, every, secs, spec};
use crate::node::Node;
use jiff::SignedDuration;
use punctual_clock::Clock;
use punctual_coordinator::{Change, Resumption, RunRequest, WriteOutcome};
use punctual_executor::scripted::{Act, Ask};
use punctual_model::restart::RestartPolicy;
use punctual_model::task::{Concurrency, Retention};
use punctual_model::{CancelWhy, LostWhy, Overlap, Run, RunState, RunStateName, TaskSpec, Trigger};
use serde_json::json;

/// EX01, SC21: a record at once; the promise ends when the work has, with what it gave back.
#[tokio::test(start_paused = true)]
async fn ex01_a_due_runs_and_its_promise_is_kept() {
    let node = Node::new().await;
    node.driver.acts([Act::Run(secs(5), Box::new(Act::Give(json!(42))))]);
    let id = node.create(spec("t", vec![every(60)])).await;
    node.advance(60).await;
    let run = node.records(id).await.remove(0);
    assert!(run.state().is_at_work());
    let promise = node.tasks().promise(run.id).await.unwrap();
    let waiting = tokio::spawn(async move { promise.wait().await.unwrap() });
    node.advance(5).await;
    let ended = waiting.await.unwrap();
    assert_eq!((ended.id, ended.state()), (run.id, RunState::Succeeded));
    assert_eq!(ended.outcome.unwrap().result, Some(json!(42)));
    assert_eq!((ended.started_at, ended.finished_at), (Some(at(60)), Some(at(65))));
}

/// EX03: work that fails is an end like any other.
#[tokio::test(start_paused = true)]
async fn ex03_failing_work_ends_the_promise_with_the_failure() {
    let node = Node::new().await;
    node.driver.acts([Act::FailForGood("no such bucket".to_owned())]);
    let id = node.create(spec("t", vec![])).await;
    let ended = node.run_now(id).await.wait().await.unwrap();
    assert_eq!(ended.state(), RunState::Failed);
    let progress = node.tasks().get(id).await.unwrap().progress;
    assert_eq!(progress.last_error.as_deref(), Some("no such bucket"));
    assert_eq!((progress.latest_failure, progress.latest_success), (Some(at(0)), None));
}

/// EX04: one id from asking through the work to the end.
#[tokio::test(start_paused = true)]
async fn ex04_a_forced_run_keeps_one_id() {
    let node = Node::new().await;
    node.driver.acts([Act::run_for(secs(5))]);
    let id = node.create(spec("t", vec![])).await;
    let parked = RunRequest { run_at: Some(at(10)), ..RunRequest::default() };
    let accepted = node.tasks().run_now(id, parked).await.unwrap();
    assert_eq!(accepted.promise.state().await.unwrap(), RunState::Scheduled { at: at(10) });
    node.advance(12).await;
    assert!(accepted.promise.state().await.unwrap().is_at_work());
    node.advance(3).await;
    assert_eq!(accepted.promise.wait().await.unwrap().state(), RunState::Succeeded);
    let runs: Vec<_> = node.records(id).await.iter().map(|run| run.id).collect();
    assert_eq!(runs, [accepted.run.id]);
    assert_eq!(node.driver.asked()[0].run, accepted.run.id);
}

/// PF03: a task that fails too often in a row has no more dues, also after a crash and for whoever writes it again as it
/// was, until it is resumed; then it counts anew.
#[tokio::test(start_paused = true)]
async fn a_task_that_fails_too_often_in_a_row_is_paused_until_it_is_resumed() {
    let node = Node::new().await;
    node.driver.script(|_| Act::Fail("no such bucket".to_owned()));
    let failing = TaskSpec { pause_after_failures: Some(3), ..spec("t", vec![every(60)]) };
    let id = node.create(failing.clone()).await;
    node.advance(600).await;
    let times = |records: Vec<Run>| records.iter().map(|run| run.scheduled_for).collect::<Vec<_>>();
    let mut paused_at = vec![at(60), at(120), at(180)];
    let mut seen = times(node.records(id).await);
    seen.sort_unstable();
    assert_eq!(seen, paused_at);
    let node = Node::on(node.crash(), |_| {}).await;
    node.driver.script(|_| Act::Fail("no such bucket".to_owned()));
    let written = node.tasks().upsert(failing).await.unwrap();
    assert_eq!(written.outcome, WriteOutcome::Unchanged);
    node.advance(600).await;
    let stored = node.tasks().get(id).await.unwrap();
    assert_eq!((stored.task.is_active(), stored.progress.paused_after), (false, Some(3)));
    assert_eq!(node.records(id).await.len(), 3);
    node.tasks().resume(id, Change::default(), Resumption::FromNow).await.unwrap();
    node.advance(600).await;
    paused_at.extend([at(1260), at(1320), at(1380)]);
    let mut seen = times(node.records(id).await);
    seen.sort_unstable();
    assert_eq!(seen, paused_at);
    let told = node.records(id).await.iter().flat_map(|run| run.events.iter()).count();
    assert_eq!(told, 2, "the last failure of each row tells it, and nothing else");
}

/// XT04: canceled while it is queued, while it waits for its next attempt, and while it is at work.
#[tokio::test(start_paused = true)]
async fn xt04_a_canceled_run_ends_as_canceled_wherever_it_was() {
    let node = Node::new().await;
    let restart = RestartPolicy::attempts(3, secs(60));
    let retried = node.create(TaskSpec { restart, ..spec("retried", vec![]) }).await;
    let concurrency = Some(Concurrency { limit: 1, key: None });
    let single = node.create(TaskSpec { concurrency, ..spec("single", vec![]) }).await;
    node.driver.script(|attempt| match attempt.task.spec.name.as_str() {
        "retried" => Act::Fail("not yet".to_owned()),
        _ => Act::Hang,
    });
    let (working, queued, waiting) =
        (node.run_now(single).await, node.run_now(single).await, node.run_now(retried).await);
    node.clock.settle().await;
    assert!(working.state().await.unwrap().is_at_work());
    assert_eq!(queued.state().await.unwrap(), RunState::Queued);
    assert!(matches!(waiting.state().await.unwrap(), RunState::Scheduled { .. }));
    for promise in [&queued, &waiting, &working] {
        node.tasks().cancel(promise.id()).await.unwrap();
    }
    for promise in [&queued, &waiting, &working] {
        let ended = promise.wait().await.unwrap();
        assert_eq!(ended.state(), RunState::Canceled { why: CancelWhy::Asked });
    }
    let asked = node.driver.asked().len();
    let node = Node::on(node.crash(), |_| {}).await;
    node.advance(600).await;
    assert!(node.driver.asked().is_empty() && asked > 0);
    for id in [single, retried] {
        let progress = node.tasks().get(id).await.unwrap().progress;
        assert_eq!((progress.latest_success, progress.latest_failure), (None, None));
    }
}

/// XT08 with workers: two hundred waiting runs of one task and four seats; others start at their second.
#[tokio::test(start_paused = true)]
async fn xt08_waiting_runs_hold_no_worker() {
    let node = Node::new().await;
    node.driver.script(|attempt| match attempt.task.spec.name.as_str() {
        "busy" => Act::Hang,
        _ => Act::Succeed,
    });
    let concurrency = Some(Concurrency { limit: 1, key: None });
    let busy = node.create(TaskSpec { concurrency, ..spec("busy", vec![]) }).await;
    for _ in 0..201 {
        node.run_now(busy).await;
    }
    let other = node.create(spec("other", vec![every(1)])).await;
    node.advance(10).await;
    let records = node.records(other).await;
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|run| run.started_at == Some(run.scheduled_for)));
    assert!(records.iter().all(|run| run.state() == RunState::Succeeded));
    let waiting = node.records(busy).await.iter().filter(|run| run.state().is_waiting()).count();
    assert_eq!(waiting, 200);
}

/// SC16, I10: however many dues, never more at work than the limit.
#[tokio::test(start_paused = true)]
async fn sc16_runs_start_as_places_become_free() {
    let node = Node::new().await;
    node.driver.acts([Act::run_for(secs(25))]);
    let concurrency = Some(Concurrency { limit: 2, key: None });
    let id = node.create(TaskSpec { concurrency, ..spec("t", vec![every(10)]) }).await;
    node.advance(100).await;
    assert_eq!(node.driver.most_at_once(), 2);
    let starts: Vec<_> =
        node.records(id).await.iter().filter_map(|run| run.started_at).map(crate::house::seconds).collect();
    assert_eq!(starts, [10, 20, 35, 45, 60, 70, 85, 95]);
}

/// Overlap over time: what runs too long is skipped past, queued behind, or replaced.
#[tokio::test(start_paused = true)]
async fn overlap_policies_over_time() {
    for (overlap, expect) in [
        (Overlap::Skip, ["10 succeeded", "20 skipped", "30 skipped", "40 running"]),
        (Overlap::QueueOne, ["10 succeeded", "20 running", "30 skipped", "40 queued"]),
        (Overlap::QueueAll { max: 9 }, ["10 succeeded", "20 running", "30 queued", "40 queued"]),
        (Overlap::Replace, ["10 canceled", "20 canceled", "30 canceled", "40 running"]),
        (Overlap::Allow, ["10 succeeded", "20 running", "30 running", "40 running"]),
    ] {
        let node = Node::new().await;
        node.driver.acts([Act::run_for(secs(25))]);
        let id = node.create(TaskSpec { overlap, ..spec("t", vec![every(10)]) }).await;
        node.advance(40).await;
        assert_eq!(node.story(id).await, expect, "{overlap:?}");
        if overlap != Overlap::Allow {
            assert_eq!(node.driver.most_at_once(), 1, "{overlap:?}");
        }
    }
}

/// SC18: what is at work is told to end, and ends as what it was told to end for.
#[tokio::test(start_paused = true)]
async fn sc18_deleting_stops_the_work() {
    let node = Node::new().await;
    node.driver.acts([Act::Hang]);
    let id = node.create(spec("t", vec![every(60)])).await;
    node.advance(60).await;
    let promise = node.run_now(id).await;
    node.tasks().delete(id, None).await.unwrap();
    let why = CancelWhy::Deleted;
    assert_eq!(promise.wait().await.unwrap().state(), RunState::Canceled { why });
    node.advance(600).await;
    assert_eq!(node.story(id).await, ["60 canceled", "60 canceled"]);
    assert_eq!(node.driver.at_once(), 0);
}

/// SC24: a stop waits for what is at work, and returns once it has ended.
#[tokio::test(start_paused = true)]
async fn sc24_a_stop_waits_for_running_work() {
    let node = Node::new().await;
    node.driver.acts([Act::run_for(secs(20))]);
    let id = node.create(spec("t", vec![every(60)])).await;
    node.advance(60).await;
    let clock = node.clock.clone();
    let stopping = tokio::spawn(node.stop(secs(300)));
    clock.advance(secs(19)).await;
    assert!(!stopping.is_finished());
    clock.advance(secs(1)).await;
    assert!(stopping.is_finished());
    let (ground, report) = stopping.await.unwrap();
    assert!(report.interrupted.is_empty() && report.error.is_none());
    let node = Node::on(ground, |_| {}).await;
    assert!(node.report.resumed.is_empty());
    assert_eq!(node.story(id).await, ["60 succeeded"]);
}

/// After the crash: found alive, it goes on; not found, it is lost; where that does no harm, it is repeated.
#[tokio::test(start_paused = true)]
async fn after_a_crash_each_run_is_taken_up_by_what_is_known_of_it() {
    let node = Node::new().await;
    node.driver.acts([Act::Save(json!("half"), Box::new(Act::Hang))]);
    let alive = node.create(spec("alive", vec![])).await;
    let gone = node.create(spec("gone", vec![])).await;
    let again = node.create(TaskSpec { idempotent: true, ..spec("again", vec![]) }).await;
    let mut runs = Vec::new();
    for task in [alive, gone, again] {
        runs.push(node.run_now(task).await.id());
    }
    node.clock.settle().await;
    let node = Node::on(node.crash(), |driver| driver.is_alive(runs[0], Act::run_for(secs(5)))).await;
    let states: Vec<_> = node.report.resumed.iter().map(|resumed| resumed.state.name()).collect();
    assert_eq!(node.report.resumed.iter().map(|resumed| resumed.run).collect::<Vec<_>>(), runs);
    assert!(states[0] == RunStateName::Running || states[0] == RunStateName::Starting, "{states:?}");
    assert_eq!(states[1], RunStateName::Lost);
    node.advance(5).await;
    let mut ends = Vec::new();
    for run in &runs {
        ends.push(node.tasks().promise(*run).await.unwrap().wait().await.unwrap().state());
    }
    let lost = RunState::Lost { why: LostWhy::NodeDied };
    assert_eq!(ends, [RunState::Succeeded, lost, RunState::Succeeded]);
    // By hand the lost one goes on.
    let resumed = node.tasks().resume_run(runs[1]).await.unwrap();
    assert_eq!(resumed.run.trigger, Trigger::Resume { of: runs[1] });
    assert_eq!(resumed.promise.wait().await.unwrap().state(), RunState::Succeeded);
}

/// I1, I2, I5 over many crashes at odd moments: each due has one record, no attempt is started twice.
#[tokio::test(start_paused = true)]
async fn many_crashes_at_odd_moments() {
    let mut ground = crate::house::Ground::new();
    let mut tasks = Vec::new();
    let mut started = Vec::new();
    for round in 0..25u64 {
        let node = Node::on(ground, |driver| driver.acts([Act::run_for(secs(7))])).await;
        if round == 0 {
            let overlaps = [Overlap::Allow, Overlap::Skip, Overlap::QueueOne, Overlap::Replace];
            for (n, overlap) in overlaps.into_iter().enumerate() {
                tasks.push(node.create(TaskSpec { overlap, ..spec(&format!("t{n}"), vec![every(5)]) }).await);
            }
        }
        node.clock.advance(std::time::Duration::from_millis(3300 * (round % 7))).await;
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        started.extend(node.driver.asked().into_iter().filter(|asked| asked.what == Ask::Start));
        ground = node.crash();
        ground.clock.advance_now(secs(round % 3 * 11));
    }
    let node = Node::on(ground, |_| {}).await;
    node.advance(60).await;
    let now = crate::house::seconds(node.clock.now());
    for task in &tasks {
        check_covered(&node.records(*task).await, 5, now);
    }
    let mut attempts: Vec<_> = started.iter().map(|asked| (asked.run, asked.attempt)).collect();
    let all = attempts.len();
    attempts.sort_unstable();
    attempts.dedup();
    assert_eq!(attempts.len(), all);
    assert!(all > 20, "{all}");
    // Nothing is left behind once the faults have ended (I7).
    for task in tasks {
        let open: Vec<_> = node
            .records(task)
            .await
            .into_iter()
            .filter(|run| !run.state().is_terminal() && run.scheduled_for < at(now - 20))
            .collect();
        assert!(open.is_empty(), "{open:?}");
    }
}

/// What a run wrote goes with its record, and no sooner.
#[tokio::test(start_paused = true)]
async fn output_goes_with_the_history() {
    let node = Node::new().await;
    node.driver.acts([Act::Print("hello".to_owned(), Box::new(Act::Succeed))]);
    let retention = Retention { runs: 2, ..Retention::default() };
    let id = node.create(TaskSpec { retention, ..spec("t", vec![every(60)]) }).await;
    node.advance(60).await;
    let first = node.records(id).await.remove(0).id;
    let read = |run| node.pool.outputs().tail(run, 100).unwrap().len();
    assert_eq!(read(first), 1);
    node.advance(60 * 60).await;
    let left = node.records(id).await;
    assert!(left.len() < 20, "{}", left.len());
    assert_eq!((read(first), read(left[0].id)), (0, 1));
}

/// Simulation: the same life twice leaves the same records, to the last id and nanosecond.
#[tokio::test(start_paused = true)]
async fn the_same_life_twice_is_the_same() {
    let live = || async {
        let mut ground = crate::house::Ground::new();
        let mut tasks = Vec::new();
        for round in 0..4 {
            let node = Node::on(ground, |driver| {
                driver.script(|attempt| match attempt.run.id.get() % 3 {
                    0 => Act::Fail("odd".to_owned()),
                    1 => Act::run_for(secs(9)),
                    _ => Act::Succeed,
                });
            })
            .await;
            if round == 0 {
                for (n, overlap) in [Overlap::Allow, Overlap::Skip, Overlap::Replace].into_iter().enumerate()
                {
                    let restart = RestartPolicy::attempts(2, secs(3));
                    let task = TaskSpec { overlap, restart, ..spec(&format!("t{n}"), vec![every(4)]) };
                    tasks.push(node.create(TaskSpec { jitter: secs(3), ..task }).await);
                }
            }
            node.advance(30).await;
            ground = node.crash();
            ground.clock.advance_now(secs(25));
        }
        let node = Node::on(ground, |_| {}).await;
        node.advance(30).await;
        let mut records = Vec::new();
        for task in tasks {
            records.push(node.records(task).await);
        }
        (records, node.clock.now())
    };
    let (first, second) = (live().await, live().await);
    assert!(first.0.iter().all(|records| records.len() > 20));
    assert_eq!(first, second);
}

/// A late start keeps the logical time, so the work computes the right window.
#[tokio::test(start_paused = true)]
async fn a_late_run_keeps_its_logical_time() {
    let node = Node::new().await;
    let id = node.create(spec("t", vec![every(60)])).await;
    let (ground, _) = node.stop(secs(0)).await;
    ground.clock.advance_now(secs(150));
    let node = Node::on(ground, |_| {}).await;
    node.clock.settle().await;
    let records = node.records(id).await;
    assert_eq!(node.story(id).await, ["60 missed", "120 succeeded"]);
    assert_eq!(records[1].trigger, Trigger::CatchUp);
    let late = records[1].started_at.unwrap().duration_since(records[1].scheduled_for);
    assert_eq!(late, SignedDuration::from_secs(30));
}
