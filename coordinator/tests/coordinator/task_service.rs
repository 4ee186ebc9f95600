//! Tasks are created, read, changed and deleted; the scheduler hears of each change.

use crate::house::{House, START, at, cron, every, secs, spec};
use jiff::SignedDuration;
use punctual_clock::Clock;
use punctual_coordinator::{Change, Error, Resumption, TaskQuery, WriteOutcome};
use punctual_model::{ErrorCode, Overlap, TaskSpec, TaskStatus, Work};

fn paused(spec: TaskSpec) -> TaskSpec {
    TaskSpec { status: TaskStatus::Paused, ..spec }
}

/// TS01
#[tokio::test(start_paused = true)]
async fn ts01_a_created_task_is_the_same_however_it_is_read() {
    let house = House::new().await;
    let written = house.tasks().create(spec("backup", vec![cron("0 2 * * *")])).await.unwrap();
    assert_eq!(written.outcome, WriteOutcome::Created);
    let id = written.stored.task.id;
    let task = &written.stored.task;
    assert_eq!((task.revision, task.created_at, task.updated_at), (1, START, START));
    assert_eq!(task.kind.as_str(), "system");
    for read in [
        house.tasks().get(id).await,
        house.tasks().get_by_name("backup").await,
        house.tasks().find("backup").await,
        house.tasks().find(&id.to_string()).await,
    ] {
        assert_eq!(read.unwrap(), written.stored);
    }
    let page = house.tasks().list(TaskQuery::default()).await.unwrap();
    assert_eq!(page.items, [written.stored]);
    assert_eq!(house.tasks().find("nobody").await, Err(Error::TaskNotFound));
}

#[tokio::test(start_paused = true)]
async fn creating_answers_with_the_schedule_in_words_and_the_next_dues() {
    let house = House::new().await;
    let mut task = spec("report", vec![cron("30 2 * * 1"), every(3600)]);
    task.timezone = Some("Europe/Berlin".to_owned());
    let report = house.tasks().create(task.clone()).await.unwrap().schedule;
    assert_eq!((report.zone.as_str(), report.schedules.len(), report.next.len()), ("Europe/Berlin", 2, 5));
    assert_eq!(report.next[0].at, at(3600));
    assert_eq!(house.tasks().check(&task).unwrap(), report);
}

/// OP02: a definition that cannot be is refused whole, and nothing is written.
#[tokio::test(start_paused = true)]
async fn op02_all_that_is_wrong_is_said_at_once_and_nothing_is_written() {
    let house = House::new().await;
    let mut bad = spec("", vec![cron("99 * * * *")]);
    bad.offset = SignedDuration::from_millis(1);
    bad.timezone = Some("Mars/Olympus".to_owned());
    let error = house.tasks().create(bad).await.unwrap_err();
    let flat = punctual_model::Error::from(error).flatten();
    assert_eq!(flat.code, ErrorCode::Invalid);
    for field in ["name:", "offset:", "timezone:", "schedules[0]:"] {
        assert!(flat.message.contains(field), "{field} in {}", flat.message);
    }
    assert!(house.tasks().list(TaskQuery::default()).await.unwrap().items.is_empty());
}

#[tokio::test(start_paused = true)]
async fn listing_goes_in_pages_by_filter_and_refuses_pages_out_of_bounds() {
    let house = House::new().await;
    for n in 0..5 {
        let mut task = spec(&format!("t{n}"), vec![]);
        task.labels.insert("parity".to_owned(), (n % 2).to_string());
        house.create(if n == 4 { paused(task) } else { task }).await;
    }
    let names = |query| async {
        let page = house.tasks().list(query).await.unwrap();
        let names: Vec<_> = page.items.iter().map(|stored| stored.task.spec.name.clone()).collect();
        (names, page.next)
    };
    let (first, next) = names(TaskQuery { limit: 2, ..TaskQuery::default() }).await;
    assert_eq!(first, ["t0", "t1"]);
    let (rest, next) = names(TaskQuery { after: next, ..TaskQuery::default() }).await;
    assert_eq!((rest, next), (vec!["t2".to_owned(), "t3".to_owned(), "t4".to_owned()], None));
    let labels = vec![("parity".to_owned(), "1".to_owned())];
    assert_eq!(names(TaskQuery { labels, ..TaskQuery::default() }).await.0, ["t1", "t3"]);
    let status = Some(TaskStatus::Paused);
    assert_eq!(names(TaskQuery { status, ..TaskQuery::default() }).await.0, ["t4"]);
    let error = house.tasks().list(TaskQuery { limit: 501, ..TaskQuery::default() }).await.unwrap_err();
    assert_eq!(error.to_string(), "task limit is out of bounds, must be between 1 and 500");
}

/// TS08, TS11: a change is a new revision with a new time; what is taken away is gone.
#[tokio::test(start_paused = true)]
async fn ts08_ts11_each_change_is_a_revision_and_a_time() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(5).await;
    let set = |offset| move |spec: &mut TaskSpec| spec.offset = SignedDuration::from_secs(offset);
    let written = house.tasks().update(id, Change::default(), set(10)).await.unwrap();
    assert_eq!(written.outcome, WriteOutcome::Updated);
    assert_eq!((written.stored.task.revision, written.stored.task.updated_at), (2, at(5)));
    assert_eq!(written.stored.task.created_at, START);
    let written = house.tasks().update(id, Change::default(), set(0)).await.unwrap();
    assert_eq!(written.stored.task.spec, spec("t", vec![every(60)]));
    assert_eq!(written.stored.task.revision, 3);
    let first = house.tasks().revision(id, 2).await.unwrap();
    assert_eq!(first.spec.offset, SignedDuration::from_secs(10));
    assert_eq!(house.tasks().revision(id, 9).await, Err(Error::TaskNotFound));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_what_somebody_else_changed_is_refused_only_if_a_revision_was_expected() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let describe = |text: &'static str| move |spec: &mut TaskSpec| spec.description = text.to_owned();
    let seen = Change { expected: Some(1) };
    house.tasks().update(id, seen, describe("mine")).await.unwrap();
    let error = house.tasks().update(id, seen, describe("theirs")).await.unwrap_err();
    assert_eq!(error, Error::Changed { task: id, expected: 1, current: 2 });
    house.tasks().update(id, Change::default(), describe("anyway")).await.unwrap();
    assert_eq!(
        house.tasks().delete(id, Some(1)).await,
        Err(Error::Changed { task: id, expected: 1, current: 3 })
    );
    assert_eq!(house.tasks().get(id).await.unwrap().task.spec.description, "anyway");
}

#[tokio::test(start_paused = true)]
async fn many_writers_without_expectations_all_succeed() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let add = |n: u32| {
        let tasks = house.tasks();
        let label = move |spec: &mut TaskSpec| drop(spec.labels.insert(format!("l{n}"), String::new()));
        tokio::spawn(async move { tasks.update(id, Change::default(), label).await })
    };
    for writer in (0..8).map(add).collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    let task = house.tasks().get(id).await.unwrap().task;
    assert_eq!((task.revision, task.spec.labels.len()), (9, 8));
}

/// PE01: the same once more changes nothing.
#[tokio::test(start_paused = true)]
async fn pe01_writing_what_is_there_already_makes_no_revision() {
    let house = House::new().await;
    let outcomes = |spec: TaskSpec| async { house.tasks().upsert(spec).await.unwrap().outcome };
    assert_eq!(outcomes(spec("t", vec![every(60)])).await, WriteOutcome::Created);
    assert_eq!(outcomes(spec("t", vec![every(60)])).await, WriteOutcome::Unchanged);
    assert_eq!(outcomes(spec("t", vec![every(61)])).await, WriteOutcome::Updated);
    let id = house.tasks().get_by_name("t").await.unwrap().task.id;
    for _ in 0..2 {
        house.tasks().pause(id, Change::default()).await.unwrap();
    }
    assert_eq!(house.tasks().get(id).await.unwrap().task.revision, 3);
}

#[tokio::test(start_paused = true)]
async fn names_are_unique_and_free_again_after_a_rename() {
    let house = House::new().await;
    let first = house.create(spec("a", vec![])).await;
    let taken = Error::NameTaken { name: "a".to_owned(), task: first };
    assert_eq!(house.tasks().create(spec("a", vec![])).await.unwrap_err(), taken);
    let second = house.create(spec("b", vec![])).await;
    let rename = |name: &'static str| move |spec: &mut TaskSpec| spec.name = name.to_owned();
    assert_eq!(house.tasks().update(second, Change::default(), rename("a")).await.unwrap_err(), taken);
    house.tasks().update(first, Change::default(), rename("c")).await.unwrap();
    house.tasks().update(second, Change::default(), rename("a")).await.unwrap();
    assert_eq!(house.tasks().get_by_name("a").await.unwrap().task.id, second);
}

/// CO04, each of its six.
#[tokio::test(start_paused = true)]
async fn co04_the_scheduler_hears_of_what_concerns_it() {
    let house = House::new().await;
    let calls = || {
        let statistics = house.scheduler.statistics();
        (statistics.schedule_calls, statistics.release_calls)
    };
    // Created: scheduled. Created paused: nothing.
    let id = house.create(spec("active", vec![every(60)])).await;
    assert_eq!(calls(), (1, 0));
    let idle = house.create(paused(spec("paused", vec![every(60)]))).await;
    assert_eq!(calls(), (1, 0));
    // Deactivated: released.
    house.tasks().pause(id, Change::default()).await.unwrap();
    assert_eq!(calls(), (1, 1));
    // Activated: scheduled.
    house.tasks().resume(id, Change::default(), Resumption::FromNow).await.unwrap();
    assert_eq!(calls(), (2, 1));
    // Renamed: scheduled again, with the full new definition.
    let rename = |spec: &mut TaskSpec| spec.name = "renamed".to_owned();
    house.tasks().update(id, Change::default(), rename).await.unwrap();
    assert_eq!(calls(), (3, 1));
    // Paused stays paused: nothing.
    let describe = |spec: &mut TaskSpec| spec.description = "still".to_owned();
    house.tasks().update(idle, Change::default(), describe).await.unwrap();
    assert_eq!(calls(), (3, 1));
    // Deleted: released.
    house.tasks().delete(id, None).await.unwrap();
    assert_eq!(calls(), (3, 2));
    assert_eq!(house.scheduler.statistics().tasks, 0);
}

/// CO06: what is created runs, and by exactly that definition.
#[tokio::test(start_paused = true)]
async fn co06_a_created_task_runs_as_it_was_created() {
    let house = House::new().await;
    let mut wanted = spec("t", vec![every(60)]);
    wanted.work = Work::handler_with("work", serde_json::json!({"a": 1}));
    let created = house.tasks().create(wanted).await.unwrap().stored.task;
    house.advance(60).await;
    let fed = house.fed.dispatched();
    assert_eq!(fed.len(), 1);
    assert_eq!(fed[0].task, created);
    assert_eq!((fed[0].run.scheduled_for, fed[0].run.revision), (at(60), 1));
}

/// CO07, SC15: pause, resume and a change of the work all act on what is run.
#[tokio::test(start_paused = true)]
async fn co07_sc15_pause_resume_and_change_act_on_the_runs() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(60).await;
    let written = house.tasks().pause(id, Change::default()).await.unwrap();
    assert_eq!(written.stored.task.spec.status, TaskStatus::Paused);
    house.advance(300).await;
    assert_eq!(house.times(id).await, [60]);
    let other = |spec: &mut TaskSpec| spec.work = Work::handler("other");
    house.tasks().update(id, Change::default(), other).await.unwrap();
    house.tasks().resume(id, Change::default(), Resumption::FromNow).await.unwrap();
    house.advance(60).await;
    assert_eq!(house.times(id).await, [60, 420]);
    let fed = house.fed.dispatched();
    assert_eq!(fed[1].task.spec.work, Work::handler("other"));
    assert_eq!((fed[1].task.revision, fed[1].run.revision), (4, 4));
}

/// TS13: activation raises the checkpoint to its moment, so the time of the pause is not made up for.
#[tokio::test(start_paused = true)]
async fn ts13_activation_counts_from_its_moment() {
    let house = House::new().await;
    let id = house.create(paused(spec("t", vec![every(60)]))).await;
    assert_eq!(house.checkpoint(id).await, Some(0));
    house.advance(1000).await;
    house.tasks().resume(id, Change::default(), Resumption::FromNow).await.unwrap();
    assert_eq!(house.checkpoint(id).await, Some(1000));
    house.advance(20).await;
    assert_eq!(house.times(id).await, [1020]);
}

#[tokio::test(start_paused = true)]
async fn a_resume_may_ask_for_the_dues_of_the_pause() {
    let house = House::new().await;
    let mut task = spec("t", vec![every(60)]);
    task.catch_up = crate::house::catch_up_all();
    let id = house.create(task).await;
    house.tasks().pause(id, Change::default()).await.unwrap();
    house.advance(200).await;
    house.tasks().resume(id, Change::default(), Resumption::CatchUp).await.unwrap();
    house.clock.settle().await;
    assert_eq!(house.times(id).await, [60, 120, 180]);
}

/// XT06: a task that was created paused never runs, nor does its copy.
#[tokio::test(start_paused = true)]
async fn xt06_what_is_created_paused_never_runs() {
    let house = House::new().await;
    let id = house.create(paused(spec("t", vec![every(60)]))).await;
    let mut copy = house.tasks().get(id).await.unwrap().task.spec.clone();
    copy.name = "copy".to_owned();
    let copy = house.create(copy).await;
    house.advance(600).await;
    assert!(house.times(id).await.is_empty() && house.times(copy).await.is_empty());
    let (house, _) = House::on(house.stop().await.0).await;
    house.advance(600).await;
    assert!(house.times(id).await.is_empty() && house.times(copy).await.is_empty());
    assert!(house.fed.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_schedule_zone_or_offset_makes_no_old_dues() {
    let house = House::new().await;
    let mut task = spec("t", vec![cron("0 12 * * *")]);
    task.catch_up = crate::house::catch_up_all();
    let id = house.create(task).await;
    house.advance(3 * 3600).await;
    let changes: [fn(&mut TaskSpec); 4] = [
        |spec| spec.schedules = vec![cron("0 2 * * *")],
        |spec| spec.timezone = Some("Asia/Tokyo".to_owned()),
        |spec| spec.offset = SignedDuration::from_secs(-3600),
        |spec| spec.schedules = vec![every(3600)],
    ];
    for change in changes {
        house.tasks().update(id, Change::default(), change).await.unwrap();
        house.clock.settle().await;
        assert!(house.times(id).await.is_empty());
    }
    // With an offset of minus one hour the due of 05:00 runs at 04:00.
    house.advance(3599).await;
    assert!(house.times(id).await.is_empty());
    house.advance(1).await;
    assert_eq!(house.times(id).await, [5 * 3600]);
}

#[tokio::test(start_paused = true)]
async fn other_changes_leave_the_dues_alone() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(59).await;
    let overlap = |spec: &mut TaskSpec| spec.overlap = Overlap::Skip;
    house.tasks().update(id, Change::default(), overlap).await.unwrap();
    assert_eq!(house.checkpoint(id).await, Some(0));
    house.advance(1).await;
    assert_eq!(house.times(id).await, [60]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_no_half_done_change() {
    let house = House::new().await;
    let tasks = house.tasks();
    let mut create = Box::pin(async move { tasks.create(spec("t", vec![every(60)])).await });
    assert!(futures_util::poll!(&mut create).is_pending());
    drop(create);
    house.advance(60).await;
    let id = house.tasks().get_by_name("t").await.unwrap().task.id;
    assert_eq!(house.times(id).await, [60]);
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_the_service_is_the_one_it_was_given() {
    let house = House::new().await;
    house.clock.advance_now(secs(77));
    let stored = house.tasks().create(spec("t", vec![])).await.unwrap().stored;
    assert_eq!(stored.task.created_at, house.clock.now());
}

/// B13: a change never waits for the work.
#[tokio::test(start_paused = true)]
async fn b13_the_executor_hears_of_each_change_once_and_of_nothing_else() {
    let house = House::new().await;
    let id = house.tasks().create(spec("backup", vec![every(3600)])).await.unwrap().stored.task.id;
    house.tasks().update(id, Change::default(), |spec| spec.priority = 3).await.unwrap();
    house.tasks().update(id, Change::default(), |spec| spec.priority = 3).await.unwrap();
    house.tasks().pause(id, Change::default()).await.unwrap();
    assert_eq!(*house.fed.updates.lock().unwrap(), [(id, 2), (id, 3)]);
}
