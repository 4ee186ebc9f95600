//! The process dies in the middle: afterwards each due has exactly one record (I1, I2), and nothing that was
//! promised is forgotten.

use crate::house::{Ground, House, at, catch_up_all, every, seconds, secs, spec};
use punctual_clock::{Clock, VirtualClock};
use punctual_coordinator::{Coordinator, RunRequest};
use punctual_model::{
    CatchUp, CatchUpPolicy, Overlap, Run, RunEvent, RunState, RunStateName, TaskId, TaskSpec,
};
use punctual_store::MemoryStore;
use std::sync::Arc;

/// One record for each due up to now, none twice.
pub(crate) async fn check_dues(house: &House, task: TaskId, interval: i64, until: i64) {
    check_covered(&house.records(task).await, interval, until);
}

/// As [`check_dues`], of records in their order.
#[track_caller]
pub(crate) fn check_covered(records: &[Run], interval: i64, until: i64) {
    let mut covered = Vec::new();
    for run in records {
        match run.state() {
            RunState::Missed(missed) => {
                let dues: Vec<_> = (seconds(missed.from)..=seconds(missed.to))
                    .step_by(usize::try_from(interval).unwrap())
                    .collect();
                assert_eq!(dues.len() as u64, missed.count);
                covered.extend(dues);
            }
            _ if run.trigger.is_due() => covered.push(seconds(run.scheduled_for)),
            _ => {}
        }
    }
    let expect: Vec<_> = (1..=until / interval).map(|n| n * interval).collect();
    assert_eq!(covered, expect);
}

/// Between the commit and the hand-over: the run waits in the queue, or was claimed and is taken up.
#[tokio::test(start_paused = true)]
async fn a_crash_between_record_and_hand_over_loses_nothing() {
    for seats in [0, 1] {
        let house = House::idle(Ground::new()).await;
        let id = house.create(spec("t", vec![every(60)])).await;
        house.fed.set_seats(seats);
        house.advance(60).await;
        // The process dies as soon as the due is in the store.
        let mut run = Box::pin(house.coordinator.run(Default::default()));
        while house.records(id).await.is_empty() {
            assert!(futures_util::poll!(&mut run).is_pending());
            tokio::task::yield_now().await;
        }
        drop(run);
        let (house, report) = House::on(house.crash()).await;
        house.clock.settle().await;
        check_dues(&house, id, 60, 60).await;
        assert_eq!(report.resumed.len(), seats);
        assert_eq!(house.claim(10).await.len(), 1 - seats);
        house.advance(60).await;
        check_dues(&house, id, 60, 120).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_start_of_an_attempt_ends_it_truthfully() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(120).await;
    let begun = house.claim(1).await.remove(0);
    let ground = house.crash();
    ground.clock.advance_now(secs(185));
    let (house, report) = House::on(ground).await;
    house.clock.settle().await;
    assert_eq!(report.resumed.iter().map(|resumed| resumed.run).collect::<Vec<_>>(), [begun.id]);
    assert_eq!(house.story(id).await, ["60 lost", "120 queued", "240 missed", "300 queued"]);
    check_dues(&house, id, 60, 300).await;
}

/// During catch-up: after each commit once, so that every step of it is interrupted.
#[tokio::test(start_paused = true)]
async fn crashes_during_catch_up_leave_each_due_with_one_record() {
    let house = House::new().await;
    let all = TaskSpec { catch_up: CatchUp { limit: 7, ..catch_up_all() }, ..spec("all", vec![every(60)]) };
    let all = house.create(all).await;
    let latest = house.create(spec("latest", vec![every(60)])).await;
    house.advance(90).await;
    let mut ground = house.crash();
    let mut now = 90;
    for downtime in [10, 300, 60, 1200, 1, 45] {
        ground.clock.advance_now(secs(downtime));
        now += i64::try_from(downtime).unwrap();
        let house = House::idle(ground).await;
        house.coordinator.recover().await.unwrap();
        let mut run = Box::pin(house.coordinator.run(Default::default()));
        let commits = house.store.stats().commits;
        // One commit, then the end; nothing owed means there is none.
        for _ in 0..50 {
            let _ = futures_util::poll!(&mut run);
            if house.store.stats().commits > commits {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(run);
        ground = house.crash();
    }
    let (house, _) = House::on(ground).await;
    house.clock.settle().await;
    for task in [all, latest] {
        check_dues(&house, task, 60, now).await;
    }
    assert!(house.records(all).await.iter().any(|run| run.state().name() == RunStateName::Missed));
    house.advance(60).await;
    check_dues(&house, all, 60, now + 60).await;
}

/// A life with everything in it, cut off after each of its commits in turn.
#[tokio::test(start_paused = true)]
async fn wherever_history_is_cut_off_each_due_has_one_record() {
    let clock = VirtualClock::new(at(0));
    let store = Arc::new(MemoryStore::recording(Arc::new(clock.clone())));
    let (house, _) = House::on(Ground { clock, store }).await;
    let mut tasks = Vec::new();
    for (n, overlap) in
        [Overlap::Allow, Overlap::Skip, Overlap::QueueOne, Overlap::QueueAll { max: 2 }, Overlap::Replace]
            .into_iter()
            .enumerate()
    {
        let policies = [CatchUpPolicy::Latest, CatchUpPolicy::All, CatchUpPolicy::Skip];
        let catch_up = CatchUp { limit: 3, ..policies[n % 3].into() };
        tasks.push(
            house.create(TaskSpec { overlap, catch_up, ..spec(&format!("t{n}"), vec![every(60)]) }).await,
        );
    }
    for round in 0..6 {
        house.advance(60).await;
        for (n, run) in house.claim(4).await.iter().enumerate() {
            match (n + round) % 3 {
                0 => drop(house.end(run, RunEvent::Succeeded).await),
                1 => drop(house.end(run, RunEvent::Restarting { at: at(9999) }).await),
                _ => {}
            }
        }
        house.tasks().run_now(tasks[round % 5], RunRequest::default()).await.unwrap();
    }
    let Ground { clock, store } = house.ground.clone();
    let commits = house.store.stats().sequence;
    assert!(commits > 30, "{commits}");
    drop(house);
    for kept in 0..=commits {
        let cut = Arc::new(store.crash_at(kept));
        let (house, _) = House::on(Ground { clock: clock.clone(), store: cut }).await;
        house.advance(40).await;
        let now = seconds(house.clock.now());
        for task in &tasks {
            if house.store.task(*task).await.unwrap().is_some() {
                check_dues(&house, *task, 60, now).await;
            }
        }
    }
}

/// XT04, the part that outlives the process: what was canceled while it waited stays so.
#[tokio::test(start_paused = true)]
async fn xt04_a_canceled_run_never_comes_back() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![every(60)])).await;
    house.advance(60).await;
    let queued = house.records(id).await[0].id;
    let parked = RunRequest { run_at: Some(at(90)), ..RunRequest::default() };
    let parked = house.tasks().run_now(id, parked).await.unwrap().run.id;
    for run in [queued, parked] {
        house.tasks().cancel(run).await.unwrap();
    }
    let (house, _) = House::on(house.crash()).await;
    house.advance(59).await;
    assert!(house.claim(10).await.is_empty());
    for run in [queued, parked] {
        assert_eq!(house.tasks().run(run).await.unwrap().state().name(), RunStateName::Canceled);
    }
    let progress = house.store.task(id).await.unwrap().unwrap().progress;
    assert_eq!((progress.latest_success, progress.latest_failure), (None, None));
}

/// A parked run keeps its time over a crash, without anybody loading it.
#[tokio::test(start_paused = true)]
async fn a_parked_run_keeps_its_promise_over_a_crash() {
    let house = House::new().await;
    let id = house.create(spec("t", vec![])).await;
    let parked = RunRequest { run_at: Some(at(90)), ..RunRequest::default() };
    let parked = house.tasks().run_now(id, parked).await.unwrap().run.id;
    let (house, _) = House::on(house.crash()).await;
    house.advance(89).await;
    assert!(house.claim(10).await.is_empty());
    house.advance(1).await;
    assert_eq!(house.claim(10).await.iter().map(|run| run.id).collect::<Vec<_>>(), [parked]);
    assert_eq!(house.tasks().promise(parked).await.unwrap().id(), parked);
}

#[expect(dead_code, reason = "the handle is shared between the tasks of a server")]
fn a_coordinator_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Coordinator>();
}
