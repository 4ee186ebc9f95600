//! Runs that somebody asks for.

use crate::house::{Call, House, at, every, seconds, secs, spec};
use jiff::SignedDuration;
use punctual_coordinator::{Change, Error, RunQuery, RunRequest};
use punctual_model::{
    CancelWhy, LostWhy, Overlap, Run, RunEvent, RunState, RunStateName, TaskId, TaskSpec, TaskStatus,
    TaskType, Trigger,
};
use punctual_store::Patch;
use serde_json::{Value, json};

async fn asked(house: &House, task: TaskId) -> Run {
    house.tasks().run_now(task, RunRequest::default()).await.unwrap().run
}

/// CO01, CO08, EX04: at once without a time, parked with one; one id from asking to the promise.
#[tokio::test(start_paused = true)]
async fn co01_co08_ex04_a_forced_run_goes_at_once_or_is_parked() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let now = house.tasks().run_now(id, RunRequest::default()).await.unwrap();
    assert_eq!((now.run.state(), now.run.scheduled_for), (RunState::Queued, at(0)));
    assert_eq!(now.promise.id(), now.run.id);
    let later = RunRequest { run_at: Some(at(60)), ..RunRequest::default() };
    let later = house.tasks().run_now(id, later).await.unwrap();
    assert_eq!(later.run.state(), RunState::Scheduled { at: at(60) });
    assert_eq!((later.run.scheduled_for, later.run.run_at), (at(60), at(60)));
    match &house.fed.calls()[..] {
        [Call::Manual(first), Call::Manual(second)] => {
            assert_eq!((first.run.id, second.run.id), (now.run.id, later.run.id));
            assert_eq!((first.task.id, second.task.id), (id, id));
        }
        other => panic!("{other:?}"),
    }
    // The parked one is not ready before its time, and needs nobody to wake it.
    assert_eq!(house.claim(10).await.iter().map(|run| run.id).collect::<Vec<_>>(), [now.run.id]);
    house.advance(59).await;
    assert!(house.claim(10).await.is_empty());
    house.advance(1).await;
    assert_eq!(house.claim(10).await.iter().map(|run| run.id).collect::<Vec<_>>(), [later.run.id]);
}

/// EX01, TS18: the record is there at once, with the logical time that was given.
#[tokio::test(start_paused = true)]
async fn ex01_ts18_the_record_is_there_before_the_answer() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    house.fed.set_seats(1);
    let params = json!({"day": "monday"});
    let request =
        RunRequest { params: params.clone(), scheduled_for: Some(at(-86_400)), ..RunRequest::default() };
    let accepted = house.tasks().run_now(id, request).await.unwrap();
    let run = house.tasks().run(accepted.run.id).await.unwrap();
    assert_eq!(run, accepted.run);
    assert_eq!((run.state(), run.trigger, &run.params), (RunState::Starting, Trigger::Manual, &params));
    assert_eq!((seconds(run.scheduled_for), run.run_at, run.accepted_at), (-86_400, at(0), at(0)));
}

/// EX13, PE08: unknown tasks fail at once and leave nothing; known ones launch exactly once.
#[tokio::test(start_paused = true)]
async fn ex13_pe08_only_known_tasks_can_be_run() {
    let house = House::new().await;
    let unknown = TaskId::new(1).unwrap();
    let error = house.tasks().run_now(unknown, RunRequest::default()).await.unwrap_err();
    assert_eq!(error, Error::TaskNotFound);
    let id = house.create(spec("t", vec![every(3600)])).await;
    asked(&house, id).await;
    house.advance(60).await;
    assert_eq!(house.fed.calls().len(), 1);
    let bad = RunRequest { params: json!([1]), ..RunRequest::default() };
    assert!(matches!(house.tasks().run_now(id, bad).await, Err(Error::Invalid(_))));
    assert_eq!(house.records(id).await.len(), 1);
}

/// HT09, replaced by design: a paused task can be run by hand.
#[tokio::test(start_paused = true)]
async fn ht09_by_design_a_paused_task_runs_when_it_is_told_to() {
    let house = House::new().await;
    let id = house.create(TaskSpec { status: TaskStatus::Paused, ..spec("t", vec![every(60)]) }).await;
    let run = asked(&house, id).await;
    assert_eq!(house.claim(1).await[0].id, run.id);
    let failed = house.end(&house.tasks().run(run.id).await.unwrap(), RunEvent::Failed).await;
    house.tasks().retry(failed.id).await.unwrap();
    assert_eq!(house.claim(1).await.len(), 1);
}

/// PE19: overlap prohibited or not, a manual run is never skipped: it waits, or is forced past.
#[tokio::test(start_paused = true)]
async fn pe19_a_manual_run_waits_for_its_turn_unless_it_is_forced() {
    let house = House::new().await;
    let id = house.create(TaskSpec { overlap: Overlap::Skip, ..spec("t", vec![every(60)]) }).await;
    house.advance(60).await;
    let due = house.claim(1).await.remove(0);
    let waits = asked(&house, id).await;
    assert!(house.claim(10).await.is_empty());
    let force = RunRequest { force: true, ..RunRequest::default() };
    let forced = house.tasks().run_now(id, force).await.unwrap().run;
    assert_eq!(house.claim(10).await.iter().map(|run| run.id).collect::<Vec<_>>(), [forced.id]);
    house.end(&due, RunEvent::Succeeded).await;
    assert_eq!(house.claim(10).await.iter().map(|run| run.id).collect::<Vec<_>>(), [waits.id]);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_gets_the_same_run() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let other = house.create(spec("other", vec![])).await;
    let request = || RunRequest { idempotency_key: Some("k".to_owned()), ..RunRequest::default() };
    let first = house.tasks().run_now(id, request()).await.unwrap();
    let again = house.tasks().run_now(id, request()).await.unwrap();
    assert_eq!((first.existing, again.existing), (false, true));
    assert_eq!((again.run.id, again.promise.id()), (first.run.id, first.run.id));
    assert_ne!(house.tasks().run_now(other, request()).await.unwrap().run.id, first.run.id);
    assert_eq!(house.records(id).await.len(), 1);
    let (house, _) = House::on(house.crash()).await;
    assert_eq!(house.tasks().run_now(id, request()).await.unwrap().run.id, first.run.id);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_with_another_request_is_a_conflict_also_after_a_restart() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let request = || RunRequest { idempotency_key: Some("k".to_owned()), ..RunRequest::default() };
    let first = house.tasks().run_now(id, request()).await.unwrap().run;
    let others = [
        ("params", RunRequest { params: json!({"x": 1}), ..request() }),
        ("run_at", RunRequest { run_at: Some(at(60)), ..request() }),
        ("scheduled_for", RunRequest { scheduled_for: Some(at(-60)), ..request() }),
        ("force", RunRequest { force: true, ..request() }),
    ];
    let conflicts = async |house: &House| {
        for (field, other) in &others {
            let refused = house.tasks().run_now(id, other.clone()).await.unwrap_err();
            assert_eq!(refused, Error::KeyReused { run: first.id, field });
        }
        // No parameters are no parameters, however that is written, and later is no other time.
        let same = RunRequest { params: json!({}), ..request() };
        assert_eq!(house.tasks().run_now(id, same).await.unwrap().run.id, first.id);
    };
    house.advance(5).await;
    conflicts(&house).await;
    let (house, _) = House::on(house.crash()).await;
    conflicts(&house).await;
    assert_eq!(house.records(id).await.len(), 1);
}

/// CO02: a cancel goes to the executor with the id of the run; unknown ones are not found.
#[tokio::test(start_paused = true)]
async fn co02_a_cancel_reaches_the_executor() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let run = asked(&house, id).await;
    let canceled = house.tasks().cancel(run.id).await.unwrap();
    assert_eq!(canceled.state(), RunState::Canceled { why: CancelWhy::Asked });
    assert_eq!(house.fed.canceled(), [(run.id, CancelWhy::Asked)]);
    assert_eq!(house.tasks().cancel(run.id).await.unwrap(), canceled);
    assert_eq!(house.tasks().cancel(punctual_model::RunId::new(1).unwrap()).await, Err(Error::RunNotFound));
}

/// TS26: exactly the one that was meant, also if it is parked.
#[tokio::test(start_paused = true)]
async fn ts26_canceling_a_parked_run_cancels_exactly_that_one() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let later = || RunRequest { run_at: Some(at(60)), ..RunRequest::default() };
    let first = house.tasks().run_now(id, later()).await.unwrap().run;
    let second = house.tasks().run_now(id, later()).await.unwrap().run;
    house.tasks().cancel(first.id).await.unwrap();
    house.advance(60).await;
    assert_eq!(house.claim(10).await.iter().map(|run| run.id).collect::<Vec<_>>(), [second.id]);
    let progress = house.store.task(id).await.unwrap().unwrap().progress;
    assert_eq!((progress.latest_success, progress.latest_failure), (None, None));
}

/// PE14: a retry is a new run with a fresh state, the same logical time and a link.
#[tokio::test(start_paused = true)]
async fn pe14_a_retry_starts_afresh_for_the_same_logical_time() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let request =
        RunRequest { params: json!({"a": 1}), scheduled_for: Some(at(-5)), ..RunRequest::default() };
    let old = house.tasks().run_now(id, request).await.unwrap().run;
    assert_eq!(house.tasks().retry(old.id).await.unwrap_err(), Error::NotFinished(old.id));
    let begun = house.claim(1).await.remove(0);
    assert_eq!(house.tasks().retry(old.id).await.unwrap_err(), Error::NotFinished(old.id));
    house.end(&begun, RunEvent::Failed).await;
    house.advance(10).await;
    let new = house.tasks().retry(old.id).await.unwrap().run;
    assert_ne!(new.id, old.id);
    assert_eq!(
        (new.trigger, new.scheduled_for, &new.params),
        (Trigger::Retry { of: old.id }, at(-5), &old.params)
    );
    assert_eq!(
        (new.state(), new.life.attempt, new.started_at, &new.outcome),
        (RunState::Queued, 0, None, &None)
    );
    let second = house.tasks().retry(old.id).await.unwrap_err();
    assert_eq!(second, Error::RetryUnfinished { retry: new.id, scheduled_for: at(-5) });
    assert!(second.to_string().ends_with("has not yet finished"), "{second}");
    let begun = house.claim(1).await.remove(0);
    house.end(&begun, RunEvent::Succeeded).await;
    house.tasks().retry(old.id).await.unwrap();
    // A run that went well can be run once more, too.
    house.tasks().retry(new.id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_never_ran_can_be_run_by_a_retry_but_a_record_of_many_cannot() {
    let house = House::new().await;
    let id = house.create(TaskSpec { overlap: Overlap::Skip, ..spec("t", vec![every(60)]) }).await;
    house.advance(120).await;
    let skipped = house.records(id).await[1].clone();
    let new = house.tasks().retry(skipped.id).await.unwrap().run;
    assert_eq!((new.scheduled_for, new.state()), (at(120), RunState::Queued));
    house.clock.set_wall(at(1000));
    house.clock.settle().await;
    let missed = house.records(id).await.into_iter().find(|run| run.state().name() == RunStateName::Missed);
    let missed = missed.unwrap().id;
    assert!(matches!(house.tasks().retry(missed).await, Err(Error::NotRepeatable { .. })));
}

#[tokio::test(start_paused = true)]
async fn only_a_lost_run_can_be_resumed_and_gets_its_saved_state() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let run = asked(&house, id).await;
    assert_eq!(house.tasks().resume_run(run.id).await.unwrap_err(), Error::NotFinished(run.id));
    let begun = house.claim(1).await.remove(0);
    let event = RunEvent::Lost { why: LostWhy::Vanished };
    let patch = Patch { saved: Some(json!({"page": 7})), ..Patch::default() };
    house.step(punctual_store::Edge { patch, ..crate::house::edge(&begun, event, at(1)) }).await;
    let new = house.tasks().resume_run(run.id).await.unwrap().run;
    assert_eq!((new.trigger, &new.saved), (Trigger::Resume { of: run.id }, &json!({"page": 7})));
    assert!(matches!(house.tasks().resume_run(run.id).await, Err(Error::RetryUnfinished { .. })));
    let begun = house.claim(1).await.remove(0);
    let ended = house.end(&begun, RunEvent::Failed).await;
    assert!(matches!(house.tasks().resume_run(ended.id).await, Err(Error::NotRepeatable { .. })));
    // A retry begins without it.
    assert_eq!(house.tasks().retry(run.id).await.unwrap().run.saved, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_retry_repeats_each_logical_time_whose_last_run_went_wrong() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(300).await;
    let ends = [
        RunEvent::Failed,
        RunEvent::Failed,
        RunEvent::TimedOut,
        RunEvent::Succeeded,
        RunEvent::Lost { why: LostWhy::Vanished },
    ];
    for (run, end) in house.claim(10).await.iter().zip(ends) {
        house.end(run, end).await;
    }
    // The failure at 120 has been put right already.
    let second = house.records(id).await[1].id;
    house.tasks().retry(second).await.unwrap();
    let begun = house.claim(1).await.remove(0);
    house.end(&begun, RunEvent::Succeeded).await;

    let done = house.tasks().retry_failed(id, at(100)).await.unwrap();
    assert!(!done.more);
    let mut times = Vec::new();
    for run in &done.runs {
        let run = house.tasks().run(*run).await.unwrap();
        assert!(matches!(run.trigger, Trigger::Retry { .. }));
        times.push(seconds(run.scheduled_for));
    }
    assert_eq!(times, [180, 300]);
    // The repetitions are under way, so there is nothing to repeat.
    assert!(house.tasks().retry_failed(id, at(100)).await.unwrap().runs.is_empty());
    assert_eq!(house.tasks().retry_failed(TaskId::new(1).unwrap(), at(0)).await, Err(Error::TaskNotFound));
}

/// TS16: unknown ids are not found; read by id equals listed. Bounds of pages as everywhere.
#[tokio::test(start_paused = true)]
async fn ts14_ts16_runs_are_read_by_id_and_by_page() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(180).await;
    let newest = house.tasks().runs(RunQuery { limit: 1, ..RunQuery::default() }).await.unwrap();
    assert_eq!(newest.items.len(), 1);
    assert_eq!(house.tasks().run(newest.items[0].id).await.unwrap(), newest.items[0]);
    assert_eq!(seconds(newest.items[0].scheduled_for), 180);
    let window = RunQuery { task: Some(id), from: Some(at(60)), until: Some(at(180)), ..RunQuery::default() };
    assert_eq!(house.tasks().runs(window).await.unwrap().items.len(), 2);
    let error = house.tasks().runs(RunQuery { limit: 501, ..RunQuery::default() }).await.unwrap_err();
    assert_eq!(error.to_string(), "run limit is out of bounds, must be between 1 and 500");
    assert_eq!(house.tasks().run(punctual_model::RunId::new(1).unwrap()).await, Err(Error::RunNotFound));
    let of = |task| RunQuery { task: Some(task), ..RunQuery::default() };
    assert_eq!(house.tasks().runs(of(TaskId::new(1).unwrap())).await, Err(Error::TaskNotFound));
    // A task without runs is there, and so is a deleted one that has left some.
    let idle = house.create(spec("idle", vec![])).await;
    assert!(house.tasks().runs(of(idle)).await.unwrap().items.is_empty());
    let foreign = house.coordinator.face(TaskType::new("checks")).tasks().clone();
    assert_eq!(foreign.runs(of(idle)).await, Err(Error::TaskNotFound));
    house.tasks().delete(idle, None).await.unwrap();
    assert_eq!(house.tasks().runs(of(idle)).await, Err(Error::TaskNotFound));
    house.tasks().delete(id, None).await.unwrap();
    let failed = RunQuery { states: vec![RunStateName::Failed], ..of(id) };
    assert!(house.tasks().runs(failed).await.unwrap().items.is_empty());
}

/// A caller that goes away between writing and handing over leaves no run that nobody starts.
#[tokio::test(start_paused = true)]
async fn a_run_whose_caller_went_away_is_handed_over() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    house.fed.set_seats(1);
    let tasks = house.tasks();
    let mut ask = Box::pin(async move { tasks.run_now(id, RunRequest::default()).await });
    assert!(futures_util::poll!(&mut ask).is_pending());
    drop(ask);
    house.clock.settle().await;
    let fed = house.fed.dispatched();
    assert_eq!(fed.len(), 1);
    assert_eq!(fed[0].run.state(), RunState::Starting);
}

/// The hand-over carries the definition that the run was accepted by, with everything in it (S20).
#[tokio::test(start_paused = true)]
async fn after_a_change_the_executor_is_given_the_new_definition_whole() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(60).await;
    let change = |spec: &mut TaskSpec| {
        spec.name = "renamed".to_owned();
        spec.timeout = Some(secs(5));
    };
    let changed = house.tasks().update(id, Change::default(), change).await.unwrap().stored.task;
    house.advance(60).await;
    asked(&house, id).await;
    let fed = house.fed.dispatched();
    assert_eq!(fed.len(), 3);
    assert_eq!(fed[0].task.spec.name, "t");
    assert!(fed[1..].iter().all(|dispatch| dispatch.task == changed && dispatch.run.revision == 2));
    let late = house.records(id).await[1].run_at.duration_since(at(120));
    assert_eq!(late, SignedDuration::ZERO);
}
