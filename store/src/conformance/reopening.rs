//! What a later session finds, after a crash at any moment.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::error::Error;
use crate::store::{EdgeAnswer, Expect, PutTask, RunFilter};
use punctual_model::task::Concurrency;
use punctual_model::{CancelWhy, LostWhy, Run, RunEvent, RunId, RunState, StopWhy};
use std::sync::Arc;

fn own(limit: u32) -> Option<Concurrency> {
    Some(Concurrency { limit, key: None })
}

pub async fn a_later_session_fences_off_every_write_of_an_earlier_one(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let begun = scene.at_work(&task).await;
    let waiting = scene.queued(&task).await;
    scene.claims(1).await;
    let old = scene.session.clone();
    scene.session = scene.store().open_session("other").await.unwrap();
    assert!(scene.session.epoch > old.epoch);
    let commits = scene.store().stats().commits;
    let fenced = Error::Fenced { epoch: old.epoch };
    let put =
        PutTask { task: Arc::new(scene.draft("b", |_| ())), expect: Expect::Absent, raise_checkpoint: None };
    let (run, edge) = (scene.draft_run(&task), scene.edge(&begun, RunEvent::Succeeded));
    for closed in [false, true] {
        let store = scene.store();
        assert_eq!(store.put_task(&old, put.clone()).await, Err(fenced.clone()));
        assert_eq!(store.delete_task(&old, task.id, None).await, Err(fenced.clone()));
        assert_eq!(store.materialise(&old, vec![]).await, Err(fenced.clone()));
        assert_eq!(store.enqueue(&old, vec![run.clone()], 0).await, Err(fenced.clone()));
        assert_eq!(store.claim(&old, 1).await.map(|_| ()), Err(fenced.clone()));
        assert_eq!(store.release(&old, vec![waiting.id]).await, Err(fenced.clone()));
        assert_eq!(store.transition(&old, vec![edge.clone()]).await, Err(fenced.clone()));
        assert_eq!(store.cancel(&old, vec![(waiting.id, CancelWhy::Asked)]).await, Err(fenced.clone()));
        let cancel = store.cancel_waiting(&old, task.id, CancelWhy::Asked, 9).await;
        assert_eq!(cancel, Err(fenced.clone()));
        assert_eq!(store.prune(&old, task.id, 9).await, Err(fenced.clone()));
        // Ending the dead one twice ends nothing else.
        store.close_session(&old).await.unwrap();
        assert_eq!(store.stats().commits, commits, "nothing was written (closed: {closed})");
    }
    assert_eq!(scene.read(begun.id).await, begun);
    assert_eq!(scene.claimed(9).await, [waiting.id], "the claims of the dead one are free");
    scene.store().close_session(&scene.session).await.unwrap();
    let closed = scene.store().enqueue(&scene.session, vec![run], 0).await;
    assert_eq!(closed, Err(Error::Fenced { epoch: scene.session.epoch }));
}

pub async fn epochs_rise_with_each_session_and_ids_are_not_given_out_again(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.retention.runs = 0).await;
    let highest = scene.ended(&task).await.id;
    let mut epoch = scene.session.epoch;
    for round in 0..3 {
        if round == 1 {
            let pruned = scene.store().prune(&scene.session, task.id, 9).await.unwrap();
            assert_eq!(pruned.runs, [highest]);
        }
        scene.reopen().await;
        assert!(scene.session.epoch > epoch);
        assert!(scene.session.id_floor >= highest.get(), "{:?}", scene.session);
        assert_eq!(scene.session.node, "node");
        epoch = scene.session.epoch;
    }
}

pub async fn a_restart_at_any_step_of_a_life_finds_that_step(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let events = |scene: &Scene<'_>| {
        vec![
            RunEvent::Started,
            RunEvent::StopAsked { why: StopWhy::Timeout, at: scene.now() },
            RunEvent::Restarting { at: scene.at(10) },
        ]
    };
    let queued = scene.queued(&task).await;
    scene.reopen().await;
    assert_eq!(scene.read(queued.id).await, queued);
    let mut run = scene.start_one().await;
    for event in events(&scene) {
        scene.reopen().await;
        assert_eq!(scene.read(run.id).await, run);
        assert_eq!(scene.claimed(9).await, []);
        assert_eq!(scene.store().stats().at_work, 1);
        run = scene.happens(&run, event).await;
    }
    scene.reopen().await;
    assert_eq!(scene.read(run.id).await, run);
    assert_eq!(scene.store().stats().at_work, 0);
    scene.advance(10);
    let run = scene.start_one().await;
    let ended = scene.happens(&run, RunEvent::Succeeded).await;
    for _ in 0..2 {
        scene.reopen().await;
        assert_eq!(scene.read(run.id).await, ended);
        assert_eq!(scene.claimed(9).await, []);
        assert!(scene.store().unfinished(task.id).await.unwrap().is_empty());
    }
}

pub async fn claims_die_with_the_process_and_limits_do_not(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", |spec| spec.concurrency = own(2)).await;
    let key = Some(Concurrency { limit: 1, key: Some("db".to_owned()) });
    let shared = scene.task_with("b", |spec| spec.concurrency = key).await;
    let runs = scene.queued_many(&task, 4).await;
    let keyed = scene.queued_many(&shared, 2).await;
    assert_eq!(scene.claimed(9).await, [runs[0], keyed[0], runs[1]]);
    scene.reopen().await;
    let begun = scene.start(3).await;
    assert_eq!(begun.iter().map(|run| run.id).collect::<Vec<_>>(), [runs[0], keyed[0], runs[1]]);
    scene.reopen().await;
    assert_eq!(scene.claimed(9).await, []);
    scene.happens(&begun[0], RunEvent::Succeeded).await;
    scene.happens(&begun[1], RunEvent::Succeeded).await;
    let mut next = scene.claimed(9).await;
    next.sort_unstable();
    assert_eq!(next, [runs[2], keyed[1]]);
}

pub async fn what_an_earlier_session_left_at_work_can_be_adopted_or_lost(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(scene.at_work(&task).await);
    }
    scene.queued(&task).await;
    let ids = |runs: &[Run]| runs.iter().map(|run| run.id).collect::<Vec<_>>();
    assert!(scene.store().begun_before(scene.session.epoch, None, 9).await.unwrap().is_empty());
    scene.reopen().await;
    let epoch = scene.session.epoch;
    let store = scene.store();
    assert_eq!(store.begun_before(epoch, None, 9).await.unwrap(), runs);
    let page = store.begun_before(epoch, None, 3).await.unwrap();
    assert_eq!(ids(&page), ids(&runs[..3]));
    assert_eq!(ids(&store.begun_before(epoch, Some(page[2].id), 3).await.unwrap()), ids(&runs[3..]));
    drop(store);
    for wrong in [epoch - 1, epoch + 1] {
        let answer = scene.step(scene.edge(&runs[0], RunEvent::Adopted { epoch: wrong })).await;
        assert!(matches!(answer, EdgeAnswer::Stale(_)), "only under one's own epoch");
    }
    let adopted = scene.happens(&runs[0], RunEvent::Adopted { epoch }).await;
    assert_eq!((adopted.life.attempt, adopted.life.epoch), (1, epoch));
    let lost = scene.happens(&runs[1], RunEvent::Lost { why: LostWhy::NodeDied }).await;
    assert_eq!(lost.state(), RunState::Lost { why: LostWhy::NodeDied });
    let again = scene.happens(&runs[2], RunEvent::Restarting { at: scene.now() }).await;
    assert!(again.state().is_waiting());
    assert_eq!(ids(&scene.store().begun_before(epoch, None, 9).await.unwrap()), ids(&runs[3..]));
    let stale = scene.step(scene.edge(&runs[0], RunEvent::Succeeded)).await;
    assert_eq!(stale, EdgeAnswer::Stale(adopted.clone()), "who watched it before says nothing any more");
    scene.happens(&adopted, RunEvent::Succeeded).await;
    let progress = scene.store().task(task.id).await.unwrap().unwrap().progress;
    assert_eq!(progress.latest_failure, Some(runs[1].scheduled_for));
}

pub async fn a_long_queue_is_whole_and_in_order_after_a_restart(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let mut expect = scene.queued_many(&task, 500).await;
    let begun = scene.start(100).await;
    assert_eq!(begun.last().map(|run| run.id), Some(expect[99]));
    let gone: Vec<RunId> = expect.iter().copied().skip(150).step_by(50).collect();
    for run in &gone {
        scene.cancel(*run).await;
    }
    expect.drain(..100);
    expect.retain(|run| !gone.contains(run));
    scene.claims(70).await;
    scene.reopen().await;
    assert_eq!(scene.store().stats().waiting, expect.len() as u64);
    let mut order = Vec::new();
    loop {
        let page = scene.start(37).await;
        if page.is_empty() {
            break;
        }
        order.extend(page.iter().map(|run| run.id));
    }
    assert_eq!(order, expect);
    assert_eq!(scene.store().stats().waiting, 0);
}

pub async fn a_delete_cut_short_is_found_and_finished(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (task, other) = (scene.task("a").await, scene.task("b").await);
    let idle = scene.task("idle").await;
    let begun = scene.at_work(&task).await;
    scene.queued_many(&task, 3).await;
    let stays = scene.queued(&other).await;
    for id in [task.id, idle.id] {
        assert!(scene.store().delete_task(&scene.session, id, None).await.unwrap());
    }
    for _ in 0..2 {
        assert_eq!(scene.store().deleted_with_open_runs().await.unwrap(), [task.id]);
        scene.reopen().await;
    }
    assert_eq!(scene.claimed(9).await, [stays.id]);
    let ended = scene.store();
    let ended = ended.cancel_waiting(&scene.session, task.id, CancelWhy::Deleted, 9).await.unwrap();
    assert_eq!(ended.len(), 3);
    assert_eq!(scene.store().deleted_with_open_runs().await.unwrap(), [task.id]);
    // Nothing of a deleted task starts again, whatever its work does.
    let back = scene.happens(&begun, RunEvent::Interrupted).await;
    assert_eq!(scene.claimed(9).await, []);
    assert_eq!(scene.store().deleted_with_open_runs().await.unwrap(), [task.id]);
    scene.cancel(back.id).await;
    assert_eq!(scene.store().deleted_with_open_runs().await.unwrap(), []);
    let history = RunFilter { task: Some(task.id), limit: 9, ..RunFilter::default() };
    assert_eq!(scene.list(history).await.len(), 4);
}

/// TS29: a listing does not fail because of a broken record in it.
pub async fn a_run_that_cannot_be_read_is_set_aside_and_in_nobodys_way(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let begun = scene.at_work(&task).await;
    let broken_begun = scene.at_work(&task).await;
    let runs = scene.queued_many(&task, 3).await;
    for run in [broken_begun.id, runs[1]] {
        scene.subject().damage_run(run).await;
    }
    scene.reopen().await;
    let unreadable = scene.store().run(runs[1]).await;
    assert!(matches!(unreadable, Err(Error::Unreadable { .. })), "{unreadable:?}");
    let left = scene.store().begun_before(scene.session.epoch, None, 9).await.unwrap();
    assert_eq!(left, [begun]);
    assert_eq!(scene.claimed(9).await, [runs[0], runs[2]]);
    let history = RunFilter { task: Some(task.id), limit: 9, ..RunFilter::default() };
    assert_eq!(scene.list(history).await.len(), 3);
    let cancel = scene.cancel(runs[1]).await;
    assert_eq!(cancel, crate::store::CancelAnswer::Unknown);
    let quarantined = scene.store().quarantined();
    let hex = |run: RunId| run.to_string();
    for run in [broken_begun.id, runs[1]] {
        assert!(quarantined.iter().any(|record| record.key.ends_with(&hex(run))), "{quarantined:?}");
    }
}

pub async fn a_task_that_cannot_be_read_stops_nobody_else(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (broken, sound) = (scene.task("a").await, scene.task("b").await);
    let begun = scene.at_work(&broken).await;
    scene.queued(&broken).await;
    let waits = scene.queued(&sound).await;
    scene.subject().damage_task(broken.id).await;
    scene.reopen().await;
    assert!(matches!(scene.store().task(broken.id).await, Err(Error::Unreadable { .. })));
    assert_eq!(scene.claimed(9).await, [waits.id]);
    let filter = crate::store::TaskFilter { limit: 9, ..crate::store::TaskFilter::default() };
    let page = scene.store().tasks(&filter).await.unwrap();
    assert_eq!(page.items.iter().map(|stored| stored.task.id).collect::<Vec<_>>(), [sound.id]);
    // What was at work of it can still be ended.
    let left = scene.store().begun_before(scene.session.epoch, None, 9).await.unwrap();
    assert_eq!(left, [begun]);
    let lost = scene.happens(&left[0], RunEvent::Lost { why: LostWhy::NodeDied }).await;
    assert_eq!(scene.read(lost.id).await, lost);
    assert!(!scene.store().quarantined().is_empty());
}

/// I13: a start needs no definition, so a damaged one costs nobody anything before its own task is due or asked for.
pub async fn a_definition_that_cannot_be_read_is_found_when_it_is_needed(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (broken, sound) = (scene.task("a").await, scene.task("b").await);
    for task in [&broken, &sound] {
        scene.due(task, None, Vec::new()).await;
    }
    let waits = scene.queued(&broken).await;
    let other = scene.queued(&sound).await;
    scene.subject().damage_definition(broken.id).await;
    scene.reopen().await;
    let known = scene.store().timings(None, 9).await.unwrap();
    assert_eq!(known.items.iter().map(|stored| stored.id).collect::<Vec<_>>(), [broken.id, sound.id]);
    assert_eq!(scene.store().quarantined(), []);
    assert!(matches!(scene.store().task(broken.id).await, Err(Error::Unreadable { .. })));
    assert_eq!(scene.store().quarantined().len(), 1);
    let filter = crate::store::TaskFilter { limit: 9, ..crate::store::TaskFilter::default() };
    let listed = scene.store().tasks(&filter).await.unwrap().items;
    assert_eq!(listed.iter().map(|stored| stored.task.id).collect::<Vec<_>>(), [sound.id]);
    assert_eq!(scene.claimed(9).await, [other.id]);
    assert!(scene.read(waits.id).await.state().is_waiting());
}
