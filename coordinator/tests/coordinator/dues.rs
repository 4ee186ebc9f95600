//! Dues become records, each exactly once, and what is to run is handed to the executor.

use crate::house::{Call, Ground, House, START, at, catch_up_all, count, cron, every, seconds, spec};
use jiff::{SignedDuration, Timestamp};
use punctual_clock::Clock;
use punctual_coordinator::{Change, MAX_BATCH};
use punctual_model::overlap::SkipWhy;
use punctual_model::state::{Missed, MissedWhy};
use punctual_model::task::Concurrency;
use punctual_model::{
    CancelWhy, CatchUp, CatchUpPolicy, Overlap, RunEvent, RunState, RunStateName, Schedule, StopWhy,
    TaskSpec, TaskStatus, Trigger,
};
use punctual_store::{Expect, PutTask};
use std::sync::Arc;

/// SC01: exactly one interval apart, exactly on the boundaries, after a jump of seventeen.
#[tokio::test(start_paused = true)]
async fn sc01_every_fires_on_its_boundaries_without_a_gap() {
    const YEAR_ONE: i64 = 62_135_596_800;
    for interval in [60, 3600, 7 * 86_400] {
        let house = House::new().await;
        let task = TaskSpec { catch_up: catch_up_all(), ..spec("t", vec![every(interval)]) };
        let id = house.create(task).await;
        let interval = i64::try_from(interval).unwrap();
        house.clock.set_wall(at(17 * interval));
        house.clock.settle().await;
        let times: Vec<i64> =
            house.records(id).await.iter().map(|run| run.scheduled_for.as_second()).collect();
        assert_eq!(times.len(), 17);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == interval), "{times:?}");
        assert!(times.iter().all(|time| (time + YEAR_ONE) % interval == 0), "{times:?}");
    }
}

/// SC03, SC04: not before due plus offset; sixteen in seventeen seconds, then two in two.
#[tokio::test(start_paused = true)]
async fn sc03_sc04_an_offset_shifts_each_run_and_adds_none() {
    let house = House::new().await;
    let mut task = spec("t", vec![every(1)]);
    task.offset = SignedDuration::from_secs(1);
    let id = house.create(task).await;
    house.advance(1).await;
    assert!(house.times(id).await.is_empty());
    house.advance(16).await;
    assert_eq!(house.times(id).await, (1..=16).collect::<Vec<_>>());
    house.advance(2).await;
    assert_eq!(house.times(id).await, (1..=18).collect::<Vec<_>>());
    let runs = house.records(id).await;
    assert!(runs.iter().all(|run| run.run_at == run.scheduled_for + SignedDuration::from_secs(1)));
}

/// SC13: after downtime what was due meanwhile is run, and nothing if nothing was.
#[tokio::test(start_paused = true)]
async fn sc13_what_was_due_during_downtime_is_run_at_the_start() {
    let house = House::new().await;
    let all = |task| TaskSpec { catch_up: catch_up_all(), ..task };
    let hourly = house.create(all(spec("hourly", vec![every(3600)]))).await;
    let never = house.create(all(spec("leap", vec![cron("0 0 29 2 *")]))).await;
    let (ground, ended) = house.stop().await;
    assert_eq!(ended, Ok(()));
    ground.clock.advance_now(crate::house::secs(4 * 3600 + 5));
    let (house, report) = House::on(ground).await;
    assert_eq!(report.scheduled, 2);
    house.clock.settle().await;
    assert_eq!(house.times(hourly).await, [3600, 7200, 10_800, 14_400]);
    let runs = house.records(hourly).await;
    // The last one is five seconds late, which is within the grace.
    assert!(runs[..3].iter().all(|run| run.trigger == Trigger::CatchUp));
    assert_eq!(runs[3].trigger, Trigger::Schedule);
    assert!(house.times(never).await.is_empty());
}

/// By default the latest runs, and all before it are one record.
#[tokio::test(start_paused = true)]
async fn of_missed_dues_the_latest_runs_and_the_rest_are_one_record() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    let skipping = TaskSpec { catch_up: CatchUpPolicy::Skip.into(), ..spec("skip", vec![every(60)]) };
    let skipping = house.create(skipping).await;
    house.clock.set_wall(at(630));
    house.clock.settle().await;
    assert_eq!(house.story(id).await, ["540 missed", "600 queued"]);
    let missed = house.records(id).await[0].state();
    let why = MissedWhy::PolicyLatest;
    assert_eq!(
        missed,
        RunState::Missed(Missed { from: at(60), to: at(540), count: 9, at_least: false, why })
    );
    assert_eq!(house.story(skipping).await, ["600 missed"]);
    assert_eq!(house.checkpoint(id).await, Some(600));
    house.advance(30).await;
    assert_eq!(house.times(id).await, [540, 600, 660]);
}

/// Catch-up within its bounds, then the ordinary dues (I12).
#[tokio::test(start_paused = true)]
async fn catch_up_is_bounded_and_regular_dues_go_on() {
    let house = House::new().await;
    let catch_up = CatchUp { limit: 5, ..catch_up_all() };
    let id = house.create(TaskSpec { catch_up, ..spec("t", vec![every(60)]) }).await;
    house.clock.set_wall(at(6000 + 30));
    house.clock.settle().await;
    house.advance(30).await;
    let story = house.story(id).await;
    assert_eq!(story.len(), 7, "{story:?}");
    assert_eq!(
        (story[0].as_str(), story[1].as_str(), story[6].as_str()),
        ("5700 missed", "5760 queued", "6060 queued")
    );
}

/// After a long downtime no commit grows without bound, however many tasks catch up however much.
#[tokio::test(start_paused = true)]
async fn a_great_catch_up_is_written_in_bounded_commits() {
    let house = House::new().await;
    let catch_up = CatchUp { limit: 1000, ..catch_up_all() };
    for n in 0..10 {
        house.create(TaskSpec { catch_up, ..spec(&format!("t{n}"), vec![every(1)]) }).await;
    }
    let commits = house.store.stats().commits;
    house.clock.set_wall(at(1100));
    house.clock.settle().await;
    let batches: Vec<_> = house
        .fed
        .calls()
        .iter()
        .map(|call| match call {
            Call::Execute(batch) => batch.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    // A thousand late ones of each, and the eleven of the last ten seconds.
    assert_eq!(batches, [5 * 1011, 5 * 1011]);
    assert_eq!(house.store.stats().commits - commits, 2);
}

/// CO12: the checkpoint is stored with the record, in one commit.
#[tokio::test(start_paused = true)]
async fn co12_the_checkpoint_moves_with_each_due() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    for due in [60, 120, 180] {
        house.advance(60).await;
        assert_eq!(house.checkpoint(id).await, Some(due));
        let progress = house.store.task(id).await.unwrap().unwrap().progress;
        assert_eq!(progress.latest_scheduled, Some(at(due)));
    }
}

/// SC16: each due becomes a run of its own; limits hold them in the queue, where they keep their times.
#[tokio::test(start_paused = true)]
async fn sc16_a_limit_makes_runs_wait_and_loses_none() {
    let house = House::new().await;
    let concurrency = Some(Concurrency { limit: 2, key: None });
    let id = house.create(TaskSpec { concurrency, ..spec("t", vec![every(60)]) }).await;
    house.advance(300).await;
    assert_eq!(house.times(id).await, [60, 120, 180, 240, 300]);
    let begun = house.claim(10).await;
    assert_eq!(begun.iter().map(|run| seconds(run.scheduled_for)).collect::<Vec<_>>(), [60, 120]);
    house.end(&begun[0], RunEvent::Succeeded).await;
    let begun = house.claim(10).await;
    assert_eq!(begun.iter().map(|run| seconds(run.scheduled_for)).collect::<Vec<_>>(), [180]);
}

/// XT08: one task with two hundred waiting runs is in nobody's way.
#[tokio::test(start_paused = true)]
async fn xt08_two_hundred_waiting_runs_delay_no_other_task() {
    let house = House::new().await;
    let concurrency = Some(Concurrency { limit: 1, key: None });
    let busy = house.create(TaskSpec { concurrency, ..spec("busy", vec![every(1)]) }).await;
    house.advance(1).await;
    assert_eq!(house.claim(1).await.len(), 1);
    house.advance(200).await;
    assert_eq!(count(&house.records(busy).await, RunStateName::Queued), 200);
    let other = house.create(spec("other", vec![every(1)])).await;
    house.advance(1).await;
    let begun = house.claim(10).await;
    assert_eq!(begun.iter().map(|run| run.task).collect::<Vec<_>>(), [other]);
}

/// PE10: some tasks at one instant are one commit and one hand-over, each at its exact time.
#[tokio::test(start_paused = true)]
async fn pe10_tasks_due_at_one_instant_go_together() {
    let house = House::new().await;
    let mut ids = Vec::new();
    for n in 0..16 {
        ids.push(house.create(spec(&format!("t{n}"), vec![every(60)])).await);
    }
    let before = house.store.stats().commits;
    house.advance(60).await;
    assert_eq!(house.store.stats().commits - before, 1);
    match &house.fed.calls()[..] {
        [Call::Execute(batch)] => {
            assert_eq!(batch.iter().map(|dispatch| dispatch.run.task).collect::<Vec<_>>(), ids);
            assert!(batch.iter().all(|dispatch| dispatch.run.scheduled_for == at(60)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn of_very_many_dues_the_first_go_in_a_small_batch_and_the_rest_in_larger_ones() {
    let house = House::new().await;
    for n in 0..MAX_BATCH + 1 {
        house.create(spec(&format!("t{n}"), vec![every(60)])).await;
    }
    house.advance(60).await;
    let batch = |call: &Call| match call {
        Call::Execute(batch) => batch.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(house.fed.calls().iter().map(batch).collect::<Vec<_>>(), [16, 64, 256, MAX_BATCH + 1 - 336]);
    assert_eq!(house.fed.dispatched().len(), MAX_BATCH + 1);
}

#[tokio::test(start_paused = true)]
async fn a_due_with_a_free_worker_is_written_as_started() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    let before = house.store.stats().commits;
    house.fed.set_seats(1);
    house.advance(60).await;
    let fed = house.fed.dispatched();
    assert_eq!(fed[0].run.state(), RunState::Starting);
    assert_eq!((fed[0].run.life.attempt, fed[0].run.life.epoch), (1, house.session.epoch));
    assert_eq!(house.records(id).await[0].started_at, Some(at(60)));
    assert_eq!(house.store.stats().commits - before, 1);
}

/// PE09, PE13: an earlier run that is unfinished, in whatever way, prohibits; one that has ended does not.
#[tokio::test(start_paused = true)]
async fn pe09_pe13_skip_prohibits_while_anything_is_unfinished() {
    let house = House::new().await;
    let id = house.create(TaskSpec { overlap: Overlap::Skip, ..spec("t", vec![every(60)]) }).await;
    house.advance(120).await;
    let records = house.records(id).await;
    assert_eq!(house.story(id).await, ["60 queued", "120 skipped"]);
    let why = SkipWhy::Unfinished(records[0].id);
    assert_eq!(records[1].state(), RunState::Skipped { why });
    assert_eq!(records[1].finished_at, Some(at(120)));
    let begun = house.claim(10).await;
    house.advance(60).await;
    assert_eq!(house.story(id).await.last().unwrap(), "180 skipped");
    // Waiting for its next attempt counts as well.
    let waiting = house.end(&begun[0], RunEvent::Restarting { at: at(400) }).await;
    house.advance(60).await;
    assert_eq!(house.story(id).await.last().unwrap(), "240 skipped");
    house.store.cancel(&house.session, vec![(waiting.id, CancelWhy::Asked)]).await.unwrap();
    house.advance(60).await;
    assert_eq!(house.story(id).await.last().unwrap(), "300 queued");
    // Skipped dues are never handed over.
    assert_eq!(house.fed.dispatched().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn queued_overlaps_are_bounded() {
    let house = House::new().await;
    let task = |name, overlap| TaskSpec { overlap, ..spec(name, vec![every(60)]) };
    let one = house.create(task("one", Overlap::QueueOne)).await;
    let two = house.create(task("two", Overlap::QueueAll { max: 2 })).await;
    house.advance(60).await;
    assert_eq!(house.claim(10).await.len(), 2);
    house.advance(180).await;
    assert_eq!(house.story(one).await, ["60 starting", "120 queued", "180 skipped", "240 skipped"]);
    assert_eq!(house.story(two).await, ["60 starting", "120 queued", "180 queued", "240 skipped"]);
    // Only one of a task at work, however many could.
    assert!(house.claim(10).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_run_ends_or_is_told_to_in_the_commit_that_bears_the_new_one() {
    let house = House::new().await;
    let id = house.create(TaskSpec { overlap: Overlap::Replace, ..spec("t", vec![every(60)]) }).await;
    house.advance(120).await;
    assert_eq!(house.story(id).await, ["60 canceled", "120 queued"]);
    assert_eq!(house.records(id).await[0].state(), RunState::Canceled { why: CancelWhy::Replaced });
    assert!(house.fed.canceled().is_empty());
    let begun = house.claim(1).await.remove(0);
    house.advance(60).await;
    assert_eq!(house.story(id).await, ["60 canceled", "120 stopping", "180 queued"]);
    assert_eq!(house.fed.canceled(), [(begun.id, CancelWhy::Replaced)]);
    let stopping = house.records(id).await[1].clone();
    assert!(matches!(stopping.state(), RunState::Stopping { why: StopWhy::Replaced, .. }));
    assert!(house.claim(1).await.is_empty());
    house.end(&stopping, RunEvent::Succeeded).await;
    assert_eq!(house.claim(1).await.len(), 1);
}

/// Several dues seen in one look behave as if each had been seen in time.
#[tokio::test(start_paused = true)]
async fn a_stall_within_the_grace_changes_nothing_but_the_start() {
    for (overlap, expect) in [
        (Overlap::Allow, ["1 queued", "2 queued", "3 queued"]),
        (Overlap::Skip, ["1 queued", "2 skipped", "3 skipped"]),
        (Overlap::QueueAll { max: 2 }, ["1 queued", "2 queued", "3 skipped"]),
        (Overlap::Replace, ["1 canceled", "2 canceled", "3 queued"]),
    ] {
        let house = House::new().await;
        let id = house.create(TaskSpec { overlap, ..spec("t", vec![every(1)]) }).await;
        house.clock.set_wall(at(3));
        house.clock.settle().await;
        assert_eq!(house.story(id).await, expect, "{overlap:?}");
        assert_eq!(house.checkpoint(id).await, Some(3));
    }
}

/// I2: however often a due comes up, it has one record.
#[tokio::test(start_paused = true)]
async fn a_due_that_comes_up_twice_has_one_record() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    let stored = house.store.task(id).await.unwrap().unwrap();
    house.advance(150).await;
    for _ in 0..3 {
        house.scheduler.schedule(&stored.task, START).unwrap();
        house.clock.settle().await;
    }
    house.advance(60).await;
    assert_eq!(house.times(id).await, [60, 120, 180]);
}

/// The clock is set back: what has its record does not fire again (I11).
#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_repeats_nothing() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(180).await;
    house.clock.set_wall(at(30));
    house.advance(150).await;
    assert_eq!(house.clock.now(), at(180));
    assert_eq!(house.times(id).await, [60, 120, 180]);
    house.advance(60).await;
    assert_eq!(house.times(id).await, [60, 120, 180, 240]);
}

/// The task has changed in the store and the scheduler has not heard of it yet, whether its definition was at
/// hand (after the first due) or not.
#[tokio::test(start_paused = true)]
async fn a_due_of_an_old_definition_is_derived_again_at_once() {
    for first in [0, 60] {
        let house = House::new().await;
        let id = house.create(spec("t", vec![every(60)])).await;
        house.advance(first).await;
        let mut task = (*house.store.task(id).await.unwrap().unwrap().task).clone();
        task.revision = 2;
        task.spec.schedules = vec![every(50)];
        let put = PutTask { task: Arc::new(task), expect: Expect::Revision(1), raise_checkpoint: None };
        house.store.put_task(&house.session, put).await.unwrap();
        house.advance(60).await;
        let run = house.records(id).await.pop().unwrap();
        assert_eq!(seconds(run.scheduled_for) % 50, 0);
        assert_eq!(run.accepted_at, house.clock.now());
        assert_eq!(house.fed.dispatched().last().unwrap().task.revision, 2);
    }
}

/// The hot path: one commit for each due, and nothing read or derived twice.
#[tokio::test(start_paused = true)]
async fn each_due_costs_one_commit() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    let (commits, calls) = (house.store.stats().commits, house.scheduler.statistics().schedule_calls);
    house.advance(600).await;
    assert_eq!(house.times(id).await.len(), 10);
    assert_eq!(house.store.stats().commits - commits, 10);
    assert_eq!(house.scheduler.statistics().schedule_calls, calls);
}

/// Runs that are caught up do not stand in each other's way, not even over two downtimes.
#[tokio::test(start_paused = true)]
async fn what_is_caught_up_is_not_skipped_for_what_was_caught_up_before() {
    let house = House::new().await;
    let task = TaskSpec { overlap: Overlap::Skip, catch_up: catch_up_all(), ..spec("t", vec![every(60)]) };
    let id = house.create(task).await;
    let ground = house.crash();
    ground.clock.advance_now(crate::house::secs(140));
    let (house, _) = House::on(ground).await;
    house.clock.settle().await;
    assert_eq!(house.story(id).await, ["60 queued", "120 queued"]);
    let ground = house.crash();
    ground.clock.advance_now(crate::house::secs(60));
    let (house, _) = House::on(ground).await;
    house.clock.settle().await;
    assert_eq!(house.story(id).await, ["60 queued", "120 queued", "180 queued"]);
    // One after another, and a due on time sees them all.
    assert_eq!(house.claim(10).await.len(), 1);
    house.advance(40).await;
    assert_eq!(house.story(id).await.last().unwrap(), "240 skipped");
}

/// It was paused or deleted in the store and the scheduler has not heard of it yet.
#[tokio::test(start_paused = true)]
async fn dues_of_a_task_that_is_gone_or_paused_are_dropped() {
    let house = House::new().await;
    let gone = house.create(spec("gone", vec![every(60)])).await;
    let idle = house.create(spec("idle", vec![every(60)])).await;
    house.advance(60).await;
    house.store.delete_task(&house.session, gone, None).await.unwrap();
    let mut task = (*house.store.task(idle).await.unwrap().unwrap().task).clone();
    task.revision = 2;
    task.spec.status = TaskStatus::Paused;
    let put = PutTask { task: Arc::new(task), expect: Expect::Revision(1), raise_checkpoint: None };
    house.store.put_task(&house.session, put).await.unwrap();
    house.advance(120).await;
    assert_eq!(house.times(gone).await, [60]);
    assert_eq!(house.times(idle).await, [60]);
    assert_eq!(house.scheduler.statistics().tasks, 0);
}

/// PE05, PE06: a schedule that is taken away has no more dues; one that moves forward comes at its new time and
/// not before.
#[tokio::test(start_paused = true)]
async fn pe05_pe06_a_change_of_schedule_takes_effect_at_once() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(3600)])).await;
    let set = |schedules: Vec<Schedule>| move |spec: &mut TaskSpec| spec.schedules.clone_from(&schedules);
    house.tasks().update(id, Change::default(), set(vec![every(100)])).await.unwrap();
    house.advance(99).await;
    assert!(house.times(id).await.is_empty());
    house.advance(1).await;
    assert_eq!(house.times(id).await, [100]);
    house.tasks().update(id, Change::default(), set(vec![])).await.unwrap();
    house.advance(7200).await;
    assert_eq!(house.times(id).await, [100]);
}

/// A definition that changes after the run was accepted is the one that runs, and the log shows it.
#[tokio::test(start_paused = true)]
async fn a_waiting_run_takes_the_definition_that_is_current_when_it_starts() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(60).await;
    let describe = |spec: &mut TaskSpec| spec.description = "new".to_owned();
    house.tasks().update(id, Change::default(), describe).await.unwrap();
    assert_eq!(house.claim(1).await[0].revision, 2);
}

/// Nothing is polled: a node whose next due is far away looks at nothing until then.
#[tokio::test(start_paused = true)]
async fn an_idle_node_sleeps() {
    let house = House::new().await;
    house.create(spec("t", vec![cron("0 0 1 7 *")])).await;
    house.clock.settle().await;
    let looks = house.scheduler.statistics().looks;
    house.advance(20 * 3600).await;
    assert_eq!(house.scheduler.statistics().looks, looks);
}

/// I1 against an oracle of its own: over a year of cron, each due has one record.
#[tokio::test(start_paused = true)]
async fn every_due_of_a_year_has_exactly_one_record() {
    let (house, _) = House::on(Ground::new()).await;
    let id = house.create(spec("t", vec![cron("0 12 1,15 * *")])).await;
    house.advance(365 * 86_400).await;
    let expect: Vec<Timestamp> = (1..=12)
        .flat_map(|month| [1, 15].map(|day| jiff::civil::date(2026, month, day).at(12, 0, 0, 0)))
        .map(|noon| noon.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp())
        .collect();
    let dues: Vec<Timestamp> = house.records(id).await.iter().map(|run| run.scheduled_for).collect();
    assert_eq!(dues, expect);
}
