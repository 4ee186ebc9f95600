//! What goes next: limits, priority, fairness, time.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use polling::is_ready;
use punctual_model::task::Concurrency;
use punctual_model::{Life, Overlap, Run, RunEvent, RunId, RunState, TaskStatus, Trigger};

/// Polls once, without a runtime's help.
mod polling {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    pub(super) fn is_ready(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }
}

fn own(limit: u32) -> Option<Concurrency> {
    Some(Concurrency { limit, key: None })
}

fn keyed(limit: u32) -> Option<Concurrency> {
    Some(Concurrency { limit, key: Some("db".to_owned()) })
}

pub async fn xt08_a_long_queue_of_one_task_delays_no_other(subject: &mut dyn Subject) {
    let many = subject.many();
    let mut scene = Scene::new(subject).await;
    let a = scene.task_with("a", |spec| spec.concurrency = own(1)).await;
    let b = scene.task("b").await;
    let waiting = scene.queued_many(&a, many).await;
    let first = scene.start(5).await;
    assert_eq!(first.iter().map(|run| run.id).collect::<Vec<_>>(), [waiting[0]]);
    let run = scene.queued(&b).await;
    assert_eq!(scene.claimed(5).await, [run.id]);
    assert_eq!(scene.store().stats().waiting, many as u64);
    let unfinished = scene.store().unfinished(a.id).await.unwrap();
    assert_eq!(unfinished.begun, [waiting[0]]);
    assert_eq!(unfinished.waiting.first(), Some(&waiting[1]));
    assert_eq!(unfinished.waiting.len() as u64 + unfinished.more_waiting, many as u64 - 1);
    // And the long queue itself goes on in order, past what is held in memory.
    let mut current = first.into_iter().next().unwrap();
    for expect in waiting.iter().skip(1).take(300) {
        scene.happens(&current, RunEvent::Succeeded).await;
        current = scene.start_one().await;
        assert_eq!(current.id, *expect);
    }
}

pub async fn a_claim_is_given_once_and_comes_back_to_its_place_when_it_is_released(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let runs = scene.queued_many(&task, 3).await;
    let claims = scene.claims(2).await;
    assert_eq!(claims.iter().map(|claim| claim.run.id).collect::<Vec<_>>(), runs[..2]);
    assert!(claims.iter().all(|claim| claim.run.state() == RunState::Queued && *claim.task == task));
    assert_eq!(scene.read(runs[0]).await.state(), RunState::Queued);
    assert_eq!(scene.claimed(0).await, []);
    assert_eq!(scene.claimed(9).await, [runs[2]]);
    assert_eq!(scene.claimed(9).await, []);
    scene.store().release(&scene.session, vec![runs[1], runs[0], RunId::new(1).unwrap()]).await.unwrap();
    assert_eq!(scene.claimed(9).await, runs[..2]);
    // A claim that was written is no reservation any more.
    let begun = scene.begin(&claims[0]).await;
    scene.store().release(&scene.session, vec![begun.id]).await.unwrap();
    assert_eq!(scene.claimed(9).await, []);
}

pub async fn a_tasks_own_limit_holds_and_its_end_lets_the_next_one_go(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.concurrency = own(2)).await;
    let serial = scene.task_with("b", |spec| spec.overlap = Overlap::QueueAll { max: 9 }).await;
    let runs = scene.queued_many(&task, 4).await;
    let ones = scene.queued_many(&serial, 2).await;
    let started = scene.start(9).await;
    let ids: Vec<_> = started.iter().map(|run| run.id).collect();
    assert_eq!(ids, [runs[0], ones[0], runs[1]]);
    scene.happens(&started[0], RunEvent::Failed).await;
    let claims = scene.claims(9).await;
    assert_eq!(claims.iter().map(|claim| claim.run.id).collect::<Vec<_>>(), [runs[2]]);
    // A claim takes a place, and gives it back.
    scene.store().release(&scene.session, vec![runs[2]]).await.unwrap();
    assert_eq!(scene.claimed(9).await, [runs[2]]);
    // A run that is being stopped still has its place.
    scene.cancel(started[1].id).await;
    assert_eq!(scene.claimed(9).await, []);
    // One that waits for its next attempt has none.
    scene.happens(&started[2], RunEvent::Restarting { at: scene.at(60) }).await;
    assert_eq!(scene.claimed(9).await, [runs[3]]);
}

pub async fn a_key_limits_the_runs_of_all_its_tasks_together(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let a = scene.task_with("a", |spec| spec.concurrency = keyed(2)).await;
    let b = scene.task_with("b", |spec| spec.concurrency = keyed(2)).await;
    let wide = scene.task_with("c", |spec| spec.concurrency = keyed(3)).await;
    let (a, b, c) =
        (scene.queued_many(&a, 2).await, scene.queued_many(&b, 2).await, scene.queued_many(&wide, 2).await);
    let started = scene.start(9).await;
    let ids: Vec<_> = started.iter().map(|run| run.id).collect();
    assert_eq!(ids, [a[0], b[0], c[0]]);
    scene.happens(&started[0], RunEvent::Succeeded).await;
    assert_eq!(scene.claimed(9).await, [c[1]]);
    scene.happens(&started[1], RunEvent::Succeeded).await;
    scene.happens(&started[2], RunEvent::Succeeded).await;
    assert_eq!(scene.claimed(9).await, [a[1]]);
    scene.store().release(&scene.session, vec![a[1], c[1]]).await.unwrap();
    assert_eq!(scene.claims(9).await.len(), 3);
    assert_eq!(b.len(), 2);
}

pub async fn catch_up_goes_at_its_rate_beside_present_dues(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.catch_up.rate = 2).await;
    let mut dues: Vec<Run> = Vec::new();
    for n in 0..4 {
        let due = scene.at(-1_000 + n);
        dues.push(Run { trigger: Trigger::CatchUp, ..scene.draft_due(&task, due) });
    }
    dues.push(scene.draft_due(&task, scene.now()));
    let ids: Vec<_> = dues.iter().map(|run| run.id).collect();
    scene.due(&task, None, dues).await;
    let mut started = scene.start(9).await;
    started.sort_by_key(|run| run.id);
    assert_eq!(started.iter().map(|run| run.id).collect::<Vec<_>>(), [ids[0], ids[1], ids[4]]);
    scene.happens(&started[0], RunEvent::Succeeded).await;
    assert_eq!(scene.claimed(9).await, [ids[2]]);
}

pub async fn forced_runs_pass_the_overlap_policy_but_no_concurrency_limit(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let serial = scene.task_with("a", |spec| spec.overlap = Overlap::Skip).await;
    let limited = scene.task_with("b", |spec| spec.concurrency = own(1)).await;
    let shared = scene.task_with("c", |spec| spec.concurrency = keyed(1)).await;
    for (task, passes) in [(serial, true), (limited, false), (shared, false)] {
        let begun = scene.at_work(&task).await;
        let forced = Run { forced: true, ..scene.draft_run(&task) };
        let forced = scene.enqueue_all(vec![forced], 0).await.remove(0);
        let waits = scene.queued(&task).await;
        let claimed = scene.claimed(9).await;
        assert_eq!(claimed, if passes { vec![forced.id] } else { vec![] }, "{}", task.spec.name);
        scene.store().release(&scene.session, claimed).await.unwrap();
        for run in [forced.id, waits.id] {
            scene.cancel(run).await;
        }
        scene.happens(&begun, RunEvent::Succeeded).await;
    }
}

pub async fn priority_orders_tasks_and_equal_ones_take_turns(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let a = scene.task("a").await;
    let b = scene.task("b").await;
    let high = scene.task_with("c", |spec| spec.priority = 1).await;
    let low = scene.task_with("d", |spec| spec.priority = -1).await;
    let d = scene.queued_many(&low, 1).await;
    let a = scene.queued_many(&a, 3).await;
    let b = scene.queued_many(&b, 2).await;
    let c = scene.queued_many(&high, 2).await;
    assert_eq!(scene.claimed(9).await, [c[0], c[1], a[0], b[0], a[1], b[1], a[2], d[0]]);
}

pub async fn a_run_for_later_waits_for_its_time_and_the_store_says_when(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let at = scene.at(60);
    let mut later = scene.draft_run(&task);
    later.life = Life::born(RunState::Scheduled { at });
    let id = later.id;
    scene.enqueue_all(vec![later], 1).await;
    for reopened in [false, true] {
        if reopened {
            scene.reopen().await;
        }
        assert_eq!(scene.read(id).await.state(), RunState::Scheduled { at });
        let claims = scene.store().claim(&scene.session, 5).await.unwrap();
        assert!(claims.claims.is_empty());
        assert_eq!(claims.next_ready, Some(at));
    }
    scene.advance(59);
    assert_eq!(scene.claimed(5).await, []);
    scene.advance(1);
    assert_eq!(scene.read(id).await.state(), RunState::Queued, "its time has come, unwritten");
    let claims = scene.store().claim(&scene.session, 5).await.unwrap();
    assert_eq!(claims.claims[0].run.state(), RunState::Queued);
    assert_eq!(claims.next_ready, None);
    let begun = scene.begin(&claims.claims[0]).await;
    assert_eq!(begun.state(), RunState::Starting);
}

pub async fn a_changed_definition_holds_for_what_waits(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let runs = scene.queued_many(&task, 3).await;
    let task = scene.change(&task, |spec| spec.concurrency = own(1)).await;
    let claims = scene.claims(9).await;
    assert_eq!(claims.iter().map(|claim| claim.run.id).collect::<Vec<_>>(), runs[..1]);
    assert_eq!(*claims[0].task, task);
    let task = scene.change(&task, |spec| spec.concurrency = own(2)).await;
    assert_eq!(scene.claimed(9).await, runs[1..2]);
    let rival = scene.task("b").await;
    let rival = scene.queued(&rival).await;
    scene.change(&task, |spec| (spec.concurrency, spec.priority) = (None, 7)).await;
    assert_eq!(scene.claimed(9).await, [runs[2], rival.id]);
}

pub async fn a_paused_task_goes_on_with_its_queue_and_a_deleted_one_does_not(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let runs = scene.queued_many(&task, 3).await;
    let claims = scene.claims(1).await;
    scene.change(&task, |spec| spec.status = TaskStatus::Paused).await;
    assert_eq!(scene.claimed(1).await, runs[1..2]);
    assert!(scene.store().delete_task(&scene.session, task.id, None).await.unwrap());
    assert_eq!(scene.claimed(9).await, []);
    scene.store().release(&scene.session, vec![runs[1]]).await.unwrap();
    assert_eq!(scene.claimed(9).await, []);
    let answer = scene.step(scene.claim_edge(&claims[0].run, 2)).await;
    assert!(matches!(answer, crate::store::EdgeAnswer::Stale(_)), "{answer:?}");
    assert_eq!(scene.store().deleted_with_open_runs().await.unwrap(), [task.id]);
}

pub async fn whoever_waits_for_work_is_woken_when_there_is_some(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let hints = scene.store().hints();
    let woken = || is_ready(hints.ready.notified());
    let task = scene.task_with("a", |spec| spec.concurrency = own(1)).await;
    while woken() {}
    scene.queued_many(&task, 2).await;
    assert!(woken());
    assert!(!woken());
    let begun = scene.start_one().await;
    while woken() {}
    scene.happens(&begun, RunEvent::Succeeded).await;
    assert!(woken(), "a place is free");
    let claims = scene.claims(1).await;
    assert!(!woken(), "whoever claims has just looked");
    scene.store().release(&scene.session, vec![claims[0].run.id]).await.unwrap();
    assert!(woken());
}
