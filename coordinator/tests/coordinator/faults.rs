//! The store has no room, cannot take one record, or fails: dues wait, one task is set aside, or all of it ends.

use crate::crash::check_dues;
use crate::house::{Ground, House, at, catch_up_all, every, spec};
use punctual_coordinator::{Error, RunRequest};
use punctual_model::{Overlap, RunEvent, TaskSpec};
use punctual_store::faulty::{FaultyStore, Verdict};
use punctual_store::{self as store, HistoryStore as _, Store};
use std::sync::Arc;

const FULL: store::Error = store::Error::Full { free: 1, needed: 2 };
const TOO_LARGE: store::Error = store::Error::TooLarge { what: "a run", size: 2, limit: 1 };

async fn house(faulty: &Arc<FaultyStore>, ground: Ground) -> House {
    let store: Arc<dyn Store> = faulty.clone();
    let mut house = House::with(ground, store).await;
    house.coordinator.recover().await.unwrap();
    house.run();
    house
}

fn faulty() -> (Arc<FaultyStore>, Ground) {
    let ground = Ground::new();
    (Arc::new(FaultyStore::new(ground.store.clone())), ground)
}

#[tokio::test(start_paused = true)]
async fn dues_that_the_store_has_no_room_for_wait_and_are_not_lost() {
    let (faulty, ground) = faulty();
    let house = house(&faulty, ground).await;
    let often = house.create(spec("often", vec![every(2)])).await;
    let seldom = house.create(spec("seldom", vec![every(60)])).await;
    house.advance(59).await;
    let mut refusals = 3;
    faulty.plan(move |call, _| match call {
        "materialise" if refusals > 0 => {
            refusals -= 1;
            Verdict::Refuse(FULL)
        }
        _ => Verdict::Pass,
    });
    // Refused at 60, 61 and 63; then there is room again, at 67.
    let calls = faulty.calls();
    house.advance(6).await;
    assert_eq!(faulty.calls() - calls, 3);
    assert!(house.times(seldom).await.is_empty());
    house.advance(2).await;
    assert_eq!(house.times(seldom).await, [60]);
    assert_eq!(house.records(seldom).await[0].accepted_at, at(67));
    check_dues(&house, often, 2, 66).await;
    house.advance(60).await;
    check_dues(&house, often, 2, 127).await;
    check_dues(&house, seldom, 60, 120).await;
}

/// A stop does not wait for room.
#[tokio::test(start_paused = true)]
async fn a_node_without_room_can_be_stopped() {
    let (faulty, ground) = faulty();
    let house = house(&faulty, ground).await;
    let id = house.create(spec("t", vec![every(60)])).await;
    faulty.plan(|call, _| if call == "materialise" { Verdict::Refuse(FULL) } else { Verdict::Pass });
    house.advance(600).await;
    assert!(house.times(id).await.is_empty());
    assert_eq!(house.tasks().run_now(id, RunRequest::default()).await.unwrap().run.task, id);
    faulty.plan(|call, _| if call == "enqueue" { Verdict::Refuse(FULL) } else { Verdict::Pass });
    let error = house.tasks().run_now(id, RunRequest::default()).await.unwrap_err();
    assert_eq!(punctual_model::Error::from(error).code(), punctual_model::ErrorCode::Unavailable);
    assert_eq!(house.stop().await.1, Ok(()));
}

/// I13: a record that the store cannot take concerns its own task.
#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_stored_sets_its_task_aside_and_no_other() {
    let (faulty, ground) = faulty();
    let house = house(&faulty, ground).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(house.create(spec(name, vec![every(60)])).await);
    }
    let before = faulty.calls();
    // The three together, then the second alone.
    faulty.plan(move |_, n| match n - before {
        1 | 3 => Verdict::Refuse(TOO_LARGE),
        _ => Verdict::Pass,
    });
    house.advance(60).await;
    let times = |n: usize| house.times(ids[n]);
    assert_eq!((times(0).await, times(1).await, times(2).await), (vec![60], vec![], vec![60]));
    let aside = house.coordinator.unschedulable();
    assert_eq!(aside.iter().map(|task| task.task).collect::<Vec<_>>(), [ids[1]]);
    house.advance(60).await;
    assert_eq!((times(0).await, times(1).await, times(2).await), (vec![60, 120], vec![], vec![60, 120]));
}

/// I13: a damaged task is in nobody's way, now and after a restart.
#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_read_hinders_no_other() {
    let house = House::new().await;
    let bad = house.create(spec("bad", vec![every(60)])).await;
    let good = house.create(spec("good", vec![every(60)])).await;
    house.ground.store.damage_task(bad);
    house.advance(60).await;
    assert_eq!(house.times(good).await, [60]);
    assert_eq!(house.scheduler.statistics().tasks, 1);
    let (house, report) = House::on(house.stop().await.0).await;
    assert_eq!((report.scheduled, report.quarantined.len()), (1, 1));
    house.advance(60).await;
    assert_eq!(house.times(good).await, [60, 120]);
}

/// I13: a start reads no definition; one that is damaged is found by the first due that needs it, is told, and is in
/// nobody's way.
#[tokio::test(start_paused = true)]
async fn a_definition_that_cannot_be_read_sets_its_task_aside_when_it_is_due() {
    let house = House::new().await;
    let bad = house.create(spec("bad", vec![every(60)])).await;
    let good = house.create(spec("good", vec![every(60)])).await;
    let ground = house.stop().await.0;
    ground.store.damage_definition(bad);
    let (house, report) = House::on(ground).await;
    assert_eq!((report.scheduled, report.quarantined.len(), report.unschedulable.len()), (2, 0, 0));
    house.advance(60).await;
    assert_eq!(house.times(good).await, [60]);
    let aside = house.coordinator.unschedulable();
    assert_eq!(aside.iter().map(|task| task.task).collect::<Vec<_>>(), [bad]);
    assert_eq!((house.scheduler.statistics().tasks, house.ground.store.quarantined().len()), (1, 1));
    house.advance(60).await;
    assert_eq!(house.times(good).await, [60, 120]);
}

/// I13: nor does a damaged run, of whatever is asked about it.
#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_read_ends_no_loop_and_no_start() {
    let house = House::new().await;
    let task = TaskSpec { overlap: Overlap::Skip, catch_up: catch_up_all(), ..spec("t", vec![every(60)]) };
    let id = house.create(task).await;
    let other = house.create(spec("other", vec![every(60)])).await;
    house.advance(60).await;
    let bad = house.claim(10).await.into_iter().find(|run| run.task == id).unwrap();
    house.ground.store.damage_run(bad.id);
    // Late, so that the unfinished run is looked at.
    house.clock.set_wall(at(200));
    house.clock.settle().await;
    assert_eq!(house.checkpoint(id).await, Some(180));
    assert!(matches!(house.tasks().run(bad.id).await, Err(Error::Store(store::Error::Unreadable { .. }))));
    let ground = house.crash();
    ground.store.damage_run(bad.id);
    let (house, _) = House::on(ground).await;
    house.tasks().delete(id, None).await.unwrap();
    house.advance(40).await;
    assert_eq!(house.times(other).await.last(), Some(&240));
    assert_eq!(house.stop().await.1, Ok(()));
}

/// The task changes between the look at it and the commit of a run that starts at once: the work is given what
/// the record says.
#[tokio::test(start_paused = true)]
async fn a_run_is_handed_over_with_the_definition_that_it_was_accepted_by() {
    let (faulty, ground) = faulty();
    let inner = ground.store.clone();
    let house = house(&faulty, ground).await;
    let id = house.create(spec("t", vec![])).await;
    let mut task = (*house.tasks().get(id).await.unwrap().task).clone();
    (task.revision, task.spec.description) = (2, "new".to_owned());
    let (task, session) = (Arc::new(task), house.session.clone());
    faulty.plan(move |call, _| {
        if call == "enqueue" {
            let expect = store::Expect::Revision(1);
            let put = store::PutTask { task: Arc::clone(&task), expect, raise_checkpoint: None };
            crate::house::ready(store::TaskStore::put_task(&*inner, &session, put)).unwrap();
        }
        Verdict::Pass
    });
    house.fed.set_seats(1);
    house.tasks().run_now(id, RunRequest::default()).await.unwrap();
    let fed = house.fed.dispatched();
    assert_eq!((fed[0].run.revision, fed[0].task.revision), (2, 2));
    assert_eq!(fed[0].task.spec.description, "new");
}

/// A scene with everything that writes; whatever fails in it, it goes on asking.
async fn scene(house: &House) {
    let tasks = house.tasks();
    for (name, overlap) in [("allow", Overlap::Allow), ("skip", Overlap::Skip), ("replace", Overlap::Replace)]
    {
        let task = TaskSpec { overlap, catch_up: catch_up_all(), ..spec(name, vec![every(60)]) };
        let _ = tasks.create(task).await;
    }
    for round in 0..4u64 {
        house.advance(60).await;
        if let Ok(claims) = house.store.claim(&house.session, 2).await {
            for claim in claims.claims {
                let patch = store::Patch { revision: Some(claim.task.revision), ..Default::default() };
                let event = RunEvent::Claimed { epoch: house.session.epoch };
                let edge = store::Edge { patch, ..crate::house::edge(&claim.run, event, at(0)) };
                let _ = house.store.transition(&house.session, vec![edge]).await;
            }
        }
        if let Ok(stored) = tasks.get_by_name("allow").await {
            let key = Some(format!("k{round}"));
            let request = RunRequest { idempotency_key: key, ..RunRequest::default() };
            let _ = tasks.run_now(stored.task.id, request).await;
        }
    }
}

/// I15, I1, I2: whichever write fails, written or not, the engine ends with the error, and after the next
/// start every due has exactly one record.
#[tokio::test(start_paused = true)]
async fn whichever_write_fails_the_engine_ends_and_nothing_is_lost_or_doubled() {
    let (all, ground) = faulty();
    scene(&house(&all, ground).await).await;
    let writes = all.calls();
    assert!(writes > 20, "{writes}");
    for nth in 2..=writes {
        for written in [false, true] {
            let (faulty, ground) = faulty();
            faulty.plan(move |_, n| match (n == nth, written) {
                (false, _) => Verdict::Pass,
                (true, false) => Verdict::FailBefore,
                (true, true) => Verdict::FailAfter,
            });
            let mut house = house(&faulty, ground).await;
            scene(&house).await;
            // Only a write that was the test's own is not seen by the coordinator before the next due.
            house.advance(60).await;
            let error = house.ended().await.unwrap_err();
            assert!(matches!(error, Error::Store(store::Error::Failed { .. })), "{nth} {written}: {error}");

            let (house, _) = House::on(house.crash()).await;
            house.advance(60).await;
            let listed = house.tasks().list(Default::default()).await.unwrap().items;
            assert!(listed.len() >= usize::from(nth > 2));
            for stored in listed {
                check_dues(&house, stored.task.id, 60, 360).await;
            }
        }
    }
}
