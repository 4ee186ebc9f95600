mod desk;

use super::*;
use desk::*;
use jiff::ToSpan;
use punctual_clock::{SystemClock, VirtualClock};
use punctual_model::state::MissedWhy;
use punctual_model::{CatchUp, CatchUpPolicy, Schedule, TaskStatus};
use std::time::Duration;

/// SC01
#[tokio::test(start_paused = true)]
async fn sc01_intervals_fire_exactly_on_their_boundaries_sixteen_times_in_a_row() {
    for interval in [60, 3600, 7 * 86_400] {
        let desk = Desk::open();
        desk.schedule(&plain(1, &[every(interval)]), 0);
        let interval = interval.cast_signed();
        desk.clock.advance(Duration::from_secs(16 * interval.unsigned_abs() + 1)).await;
        let expect: Vec<_> = (1..=16).map(|n| (1, n * interval, n * interval)).collect();
        assert_eq!(desk.take_ran(), expect);
    }
}

/// SC02
#[tokio::test]
async fn sc02_with_the_real_clock_an_overdue_task_fires_promptly() {
    let clock = Arc::new(SystemClock::new().unwrap());
    let scheduler = Scheduler::new(Arc::clone(&clock) as Arc<dyn Clock>, Zone::utc());
    let patient = task(1, &[every(1)], |task| task.spec.grace = Duration::from_secs(3600));
    scheduler.schedule(&patient, clock.now() - 20.seconds()).unwrap();
    let mut dues = Vec::new();
    while dues.len() < 22 {
        dues.extend(scheduler.next_batch(4).await);
    }
    assert!(dues[20].seen_at < clock.now() + 1.second());
    assert!(dues.windows(2).all(|pair| pair[1].scheduled_for == pair[0].scheduled_for + 1.second()));
}

/// SC03
#[tokio::test(start_paused = true)]
async fn sc03_a_due_whose_offset_lies_in_the_future_does_not_fire() {
    let desk = Desk::open();
    let offset = task(1, &[every(10)], |task| task.spec.offset = SignedDuration::from_secs(5));
    desk.schedule(&offset, 0);
    desk.clock.advance(14 * SECOND).await;
    assert_eq!(desk.take_ran(), []);
    desk.clock.advance(SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 10, 15)]);
}

/// SC04
#[tokio::test(start_paused = true)]
async fn sc04_seventeen_seconds_give_sixteen_runs_and_two_more_give_two() {
    let offset = task(1, &[every(1)], |task| {
        task.spec.offset = SignedDuration::from_secs(1);
        task.spec.catch_up = CatchUpPolicy::All.into();
    });
    // Once second by second, once in one jump that makes the first five late.
    for jump in [false, true] {
        let desk = Desk::open();
        desk.schedule(&offset, 0);
        desk.clock.settle().await;
        if jump {
            desk.clock.set_wall(at(17));
            desk.clock.settle().await;
        } else {
            desk.clock.advance(17 * SECOND).await;
        }
        let dues = |ran: Vec<(u64, i64, i64)>| ran.into_iter().map(|(_, due, _)| due).collect::<Vec<_>>();
        assert_eq!(dues(desk.take_ran()), (1..=16).collect::<Vec<_>>());
        let late = desk.fates.lock().unwrap().iter().filter(|fate| **fate == Fate::CaughtUp).count();
        assert_eq!(late, if jump { 5 } else { 0 });
        desk.clock.advance(2 * SECOND).await;
        assert_eq!(dues(desk.take_ran()), [17, 18]);
    }
}

/// SC07: the scheduler has nothing of its own that could hang; whoever waits for it just stops waiting.
#[tokio::test(start_paused = true)]
async fn sc07_stopping_returns_although_tasks_exist_and_loses_no_due() {
    let desk = Desk::closed();
    desk.schedule(&plain(1, &[every(10)]), 0);
    let scheduler = desk.scheduler.clone();
    let waiting = tokio::spawn(async move { scheduler.next_batch(8).await });
    desk.clock.settle().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    desk.clock.advance_now(10 * SECOND);
    assert_eq!(desk.scheduler.next_batch(8).await.len(), 1);
}

/// SC08, for this floor: what can panic here is the evaluation of a schedule.
#[tokio::test(start_paused = true)]
async fn sc08_a_panicking_schedule_is_reported_and_the_other_tasks_go_on() {
    let desk = Desk::open();
    desk.schedule(&plain(1, &[every(10)]), 0);
    desk.schedule(&plain(2, &[every(10)]), 0);
    *desk.scheduler.inner.trap.lock().unwrap() = TaskId::new(1);
    desk.clock.advance(30 * SECOND).await;
    // Its owed due still comes out; only the next one cannot be computed.
    assert_eq!(desk.take_ran(), [(1, 10, 10), (2, 10, 10), (2, 20, 20), (2, 30, 30)]);
    let faults = desk.scheduler.take_faults();
    assert_eq!(
        faults.iter().map(|fault| (fault.task_id.get(), fault.revision)).collect::<Vec<_>>(),
        [(1, 1)]
    );
    assert!(faults[0].reason.contains("trapped"), "{}", faults[0].reason);
    assert_eq!(desk.scheduler.take_faults(), []);
    let again = desk.scheduler.schedule(&plain(1, &[every(10)]), at(10));
    assert!(matches!(again, Err(Error::Evaluation { .. })));
    *desk.scheduler.inner.trap.lock().unwrap() = None;
    desk.schedule(&plain(1, &[every(10)]), 30);
    desk.clock.advance(10 * SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 40, 40), (2, 40, 40)]);
}

/// SC10
#[tokio::test(start_paused = true)]
async fn sc10_a_released_task_never_fires_again() {
    let desk = Desk::open();
    let released = plain(1, &[every(10)]);
    desk.schedule(&released, 0);
    desk.clock.advance(10 * SECOND).await;
    assert_eq!(desk.take_ran().len(), 1);
    assert!(desk.scheduler.release(released.id));
    desk.clock.advance(1000 * SECOND).await;
    assert_eq!(desk.take_ran(), []);
}

/// SC11
#[test]
fn sc11_a_schedule_that_cannot_be_understood_is_an_error_and_ends_the_old_one() {
    let desk = Desk::closed();
    desk.schedule(&plain(1, &[every(10)]), 0);
    let bad = |change: &dyn Fn(&mut Task)| {
        let bad = task(1, &[every(10)], |task| {
            task.revision = 2;
            change(task);
        });
        desk.scheduler.schedule(&bad, at(0)).unwrap_err()
    };
    assert!(matches!(bad(&|task| task.spec.schedules = vec![cron("61 * * * *")]), Error::Schedule(_)));
    assert!(matches!(bad(&|task| task.spec.timezone = Some("Mars/Olympus".to_owned())), Error::Zone(_)));
    assert!(matches!(bad(&|task| task.spec.offset = SignedDuration::from_millis(1)), Error::Schedule(_)));
    let statistics = desk.scheduler.statistics();
    assert_eq!((statistics.schedule_calls, statistics.schedule_fails), (4, 3));
    assert_eq!((statistics.tasks, statistics.waiting), (1, 0));
}

/// SC15, XT06
#[tokio::test(start_paused = true)]
async fn sc15_xt06_an_inactive_task_never_fires_neither_at_first_nor_later() {
    let desk = Desk::open();
    let paused = task(1, &[every(10)], |task| task.spec.status = TaskStatus::Paused);
    assert_eq!(desk.schedule(&paused, -1000), Scheduled::Never);
    desk.clock.advance(1000 * SECOND).await;
    assert_eq!(desk.take_ran(), []);
    let active = task(1, &[every(10)], |task| task.revision = 2);
    desk.schedule(&active, 1000);
    desk.clock.advance(10 * SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 1010, 1010)]);
    let paused = task(1, &[every(10)], |task| {
        task.revision = 3;
        task.spec.status = TaskStatus::Paused;
    });
    desk.schedule(&paused, 1010);
    // A late message about the active revision does not bring it back.
    assert_eq!(desk.scheduler.schedule(&active, at(1010)), Ok(Scheduled::Older));
    desk.clock.advance(1000 * SECOND).await;
    assert_eq!(desk.take_ran(), []);
}

/// SC25
#[tokio::test(start_paused = true)]
async fn sc25_looking_more_often_than_once_a_second_triggers_each_second_once() {
    let desk = Desk::open();
    desk.schedule(&plain(1, &[every(1)]), 0);
    for _ in 0..100 {
        desk.clock.advance(Duration::from_millis(100)).await;
    }
    assert_eq!(desk.take_ran(), (1..=10).map(|n| (1, n, n)).collect::<Vec<_>>());
}

/// PE01
#[tokio::test(start_paused = true)]
async fn pe01_scheduling_twice_changes_nothing() {
    let desk = Desk::open();
    for _ in 0..2 {
        desk.schedule(&plain(1, &[every(10)]), 0);
    }
    desk.clock.advance(20 * SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 10, 10), (1, 20, 20)]);
    assert_eq!(desk.scheduler.statistics().tasks, 1);
}

/// PE02, PE05
#[tokio::test(start_paused = true)]
async fn pe02_pe05_a_task_without_schedule_has_no_dues_also_when_it_loses_it() {
    let desk = Desk::open();
    assert_eq!(desk.schedule(&plain(1, &[]), 0), Scheduled::Never);
    assert!(matches!(desk.schedule(&plain(2, &[every(10)]), 0), Scheduled::Next(_)));
    assert_eq!(desk.schedule(&task(2, &[], |task| task.revision = 2), 0), Scheduled::Never);
    desk.clock.advance(1000 * SECOND).await;
    assert_eq!(desk.take_ran(), []);
}

/// PE06
#[tokio::test(start_paused = true)]
async fn pe06_moving_a_due_earlier_takes_effect_at_once_and_not_too_early() {
    let desk = Desk::open();
    desk.schedule(&plain(1, &[Schedule::At(at(1000))]), 0);
    desk.clock.advance(5 * SECOND).await;
    desk.schedule(&task(1, &[Schedule::At(at(20))], |task| task.revision = 2), 5);
    desk.clock.advance(14 * SECOND).await;
    assert_eq!(desk.take_ran(), []);
    desk.clock.advance(SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 20, 20)]);
    desk.clock.advance(2000 * SECOND).await;
    assert_eq!(desk.take_ran(), []);
}

/// PE07
#[tokio::test(start_paused = true)]
async fn pe07_releasing_the_unknown_is_harmless_and_releasing_the_known_cancels_its_due() {
    let desk = Desk::open();
    let soon = plain(1, &[every(10)]);
    assert!(!desk.scheduler.release(soon.id));
    desk.schedule(&soon, 0);
    desk.clock.advance(9 * SECOND).await;
    assert!(desk.scheduler.release(soon.id));
    assert!(!desk.scheduler.release(soon.id));
    desk.clock.advance(SECOND).await;
    assert_eq!(desk.take_ran(), []);
    assert_eq!(desk.scheduler.statistics().release_calls, 3);
}

/// PE10
#[tokio::test(start_paused = true)]
async fn pe10_several_dues_of_one_task_and_several_tasks_at_one_instant_all_fire_exactly() {
    let desk = Desk::open();
    desk.schedule(&plain(2, &[Schedule::At(at(5)), Schedule::At(at(9))]), 0);
    for id in [7, 1, 4, 3] {
        desk.schedule(&plain(id, &[every(5)]), 0);
    }
    desk.clock.advance(9 * SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 5, 5), (2, 5, 5), (3, 5, 5), (4, 5, 5), (7, 5, 5), (2, 9, 9)]);
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_unless_something_is_due_or_changes() {
    let desk = Desk::open();
    let looks = || desk.scheduler.statistics().looks;
    desk.clock.advance(1000 * SECOND).await;
    assert_eq!(looks(), 1);
    desk.schedule(&plain(1, &[every(10)]), 1000);
    desk.clock.settle().await;
    assert_eq!(looks(), 2);
    // A later head wakes nobody; neither does the release of the earlier one before its time.
    desk.schedule(&plain(2, &[every(100)]), 1000);
    assert!(desk.scheduler.release(TaskId::new(1).unwrap()));
    desk.clock.settle().await;
    assert_eq!(looks(), 2);
    // At the time of the head that is gone there is one look in vain, then sleep until the real one.
    desk.clock.advance(99 * SECOND).await;
    assert_eq!(looks(), 3);
    desk.clock.advance(SECOND).await;
    // One look finds the due, and one more nothing.
    assert_eq!((desk.take_ran(), looks()), (vec![(2, 1100, 1100)], 5));
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_fires_at_once_and_one_set_back_repeats_nothing() {
    let desk = Desk::open();
    desk.schedule(&plain(1, &[every(3600)]), 0);
    desk.clock.settle().await;
    desk.clock.set_wall(at(3605));
    desk.clock.settle().await;
    assert_eq!(desk.take_ran(), [(1, 3600, 3605)]);
    let looks = desk.scheduler.statistics().looks;
    desk.clock.set_wall(at(0));
    desk.clock.advance(Duration::from_secs(7199)).await;
    assert_eq!(desk.take_ran(), []);
    assert!(desk.scheduler.statistics().looks <= looks + 1);
    desk.clock.advance(SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 7200, 7200)]);
}

#[tokio::test(start_paused = true)]
async fn after_downtime_one_late_due_stands_for_all_and_the_next_one_is_on_time() {
    let desk = Desk::open();
    desk.schedule(&plain(1, &[every(60)]), -100_000);
    desk.clock.advance(90 * SECOND).await;
    // A day holds 1,440 minutes; the latest of them is exactly on time at the start.
    assert_eq!(desk.take_ran(), [(1, 0, 0), (1, 60, 60)]);
    assert_eq!(*desk.missed.lock().unwrap(), [(-99_960, -60, 1666, MissedWhy::PolicyLatest)]);
    assert_eq!(desk.scheduler.statistics().dues_handed_out, 2);
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_task_start_in_the_order_of_their_dues_whatever_jitter_says() {
    let desk = Desk::open();
    let jittery = task(1, &[every(10)], |task| task.spec.jitter = Duration::from_secs(300));
    desk.schedule(&jittery, 0);
    desk.clock.advance(5000 * SECOND).await;
    let ran = desk.take_ran();
    assert!(ran.len() > 450, "{}", ran.len());
    for (n, (_, due, ran_at)) in ran.iter().enumerate() {
        assert_eq!(*due, (n as i64 + 1) * 10, "every due once, in order");
        assert!((0..300).contains(&(ran_at - due)));
    }
    assert!(ran.windows(2).any(|pair| pair[0].2 == pair[1].2), "some waited for the one before");
}

/// As after a restart, or when `replace` puts off the rest of a batch: the schedule derives again from its checkpoint.
#[tokio::test(start_paused = true)]
async fn jitter_order_survives_a_new_derivation_after_each_due() {
    let jittery = task(1, &[every(10)], |task| {
        task.spec.jitter = Duration::from_secs(300);
        task.spec.grace = SECOND;
    });
    let (steady, restarted) = (Desk::closed(), Desk::closed());
    steady.schedule(&jittery, 0);
    restarted.schedule(&jittery, 0);
    for _ in 0..500 {
        let [a, b] = [&steady, &restarted].map(|desk| desk.scheduler.look(1));
        assert_eq!(a, b);
        match (a.0.first(), a.1) {
            (Some(due), _) => {
                assert!(!due.late, "{due:?}");
                restarted.schedule(&jittery, seconds(due.scheduled_for));
            }
            (None, Some(next)) => {
                let pause = Duration::try_from(next.duration_since(steady.clock.now())).unwrap();
                for desk in [&steady, &restarted] {
                    desk.clock.advance_now(pause);
                }
            }
            (None, None) => panic!("a schedule without an end has ended"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_revision_again_with_its_checkpoint_brings_a_lost_due_back() {
    let desk = Desk::closed();
    let unlucky = plain(1, &[every(10)]);
    desk.schedule(&unlucky, 0);
    desk.clock.advance_now(10 * SECOND);
    let lost = desk.scheduler.next_batch(8).await;
    desk.schedule(&unlucky, 0);
    assert_eq!(desk.scheduler.next_batch(8).await, lost);
}

#[tokio::test(start_paused = true)]
async fn dues_come_in_batches_no_larger_than_asked_for() {
    let desk = Desk::closed();
    for id in 1..=10 {
        desk.schedule(&plain(id, &[every(10)]), 0);
    }
    desk.clock.advance_now(10 * SECOND);
    assert_eq!(desk.scheduler.statistics().overdue_since, Some(at(10)));
    let mut sizes = Vec::new();
    for max in [4, 4, 4] {
        sizes.push(desk.scheduler.next_batch(max).await.len());
    }
    assert_eq!(sizes, [4, 4, 2]);
    assert_eq!(desk.scheduler.statistics().overdue_since, None);
    desk.clock.advance_now(10 * SECOND);
    assert_eq!(desk.scheduler.next_batch(0).await.len(), 1, "no batch is empty");
}

#[tokio::test(start_paused = true)]
async fn the_task_s_zone_counts_before_the_configured_one() {
    let clock = VirtualClock::new(at(0));
    let berlin = Zone::get("Europe/Berlin").unwrap();
    let scheduler = Scheduler::new(Arc::new(clock), berlin);
    let noon = |id, zone: Option<&str>| {
        let noon = task(id, &[cron("0 12 * * *")], |task| task.spec.timezone = zone.map(str::to_owned));
        match scheduler.schedule(&noon, at(0)).unwrap() {
            Scheduled::Next(when) => seconds(when.due) / 3600,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((noon(1, None), noon(2, Some("UTC")), noon(3, Some("Asia/Tokyo"))), (11, 12, 3));
}

#[test]
fn tasks_with_equal_definitions_share_what_is_compiled_of_them() {
    let desk = Desk::closed();
    let compile = |task: &Task| desk.scheduler.inner.compiler.compile(&Timing::from(&task.spec)).unwrap();
    let one = compile(&plain(1, &[cron("*/5 * * * *")]));
    assert!(Arc::ptr_eq(&one, &compile(&plain(2, &[cron("*/5 * * * *")]))));
    let other = compile(&task(3, &[cron("*/5 * * * *")], |task| task.spec.jitter = SECOND));
    assert!(!Arc::ptr_eq(&one, &other) && Arc::ptr_eq(&one.timeline, &other.timeline));
}

#[tokio::test(start_paused = true)]
async fn a_new_task_with_a_negative_offset_does_not_begin_with_a_run_that_is_over() {
    let desk = Desk::open();
    let early = |offset| task(1, &[every(3600)], |task| task.spec.offset = SignedDuration::from_secs(offset));
    desk.clock.advance(3000 * SECOND).await;
    for (offset, beginning, runs) in
        [(-1800, 3600, (7200, 5400)), (-60, 3000, (3600, 3540)), (1800, 3000, (3600, 5400))]
    {
        let task = early(offset);
        assert_eq!(desk.scheduler.beginning(&task, at(3000)), Ok(at(beginning)));
        let next = desk.schedule(&task, beginning);
        assert_eq!(next, Scheduled::Next(When { due: at(runs.0), run_at: at(runs.1) }));
    }
    let once = task(2, &[Schedule::At(at(3100))], |task| task.spec.offset = SignedDuration::from_secs(-600));
    assert_eq!(desk.scheduler.beginning(&once, at(3000)), Ok(at(3100)));
}

#[test]
fn a_preview_shows_dues_with_their_start_also_of_a_paused_task() {
    let desk = Desk::closed();
    let paused = task(1, &[every(60)], |task| {
        task.spec.status = TaskStatus::Paused;
        task.spec.offset = SignedDuration::from_secs(5);
    });
    let preview = |task: &Task, n| desk.scheduler.preview(task, at(0), n).unwrap();
    let rows: Vec<_> =
        preview(&paused, 2).iter().map(|when| (seconds(when.due), seconds(when.run_at))).collect();
    assert_eq!(rows, [(60, 65), (120, 125)]);
    assert_eq!(preview(&plain(2, &[Schedule::At(at(9))]), 5).len(), 1);
    assert_eq!(preview(&paused, usize::MAX).len(), MAX_PREVIEW);
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_checkpoint_is_the_beginning_of_time_owes_only_what_its_policy_says() {
    let desk = Desk::open();
    let ancient = task(1, &[every(1)], |task| {
        task.spec.catch_up = CatchUp { limit: 3, ..CatchUpPolicy::All.into() };
        task.spec.grace = SECOND;
    });
    desk.tasks.lock().unwrap().insert(ancient.id, (Arc::clone(&ancient), Timestamp::MIN));
    desk.scheduler.schedule(&ancient, Timestamp::MIN).unwrap();
    desk.clock.settle().await;
    let dues: Vec<_> = desk.take_ran().iter().map(|(_, due, _)| *due).collect();
    assert_eq!(dues, [-4, -3, -2, -1, 0]);
    desk.clock.advance(SECOND).await;
    assert_eq!(desk.take_ran(), [(1, 1, 1)]);
}
