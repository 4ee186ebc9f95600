//! Runs that tell of the ends of others: born with the end, exactly one, in nobody's way.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::{EdgeAnswer, Expect, PutAnswer, RunFilter};
use punctual_model::hook::Call;
use punctual_model::task::Concurrency;
use punctual_model::{
    CancelWhy, LostWhy, Outcome, Overlap, Run, RunEvent, RunId, RunState, Task, TaskId, TaskSpec, Trigger,
};
use punctual_model::{Exit, Failure, FailureKind};
use std::collections::BTreeSet;

#[expect(clippy::unnecessary_wraps, reason = "as the definition has it")]
fn call() -> Option<Call> {
    Some(Call::Command(vec!["tell".to_owned()]))
}

fn tells(spec: &mut TaskSpec) {
    (spec.on_failure, spec.on_recovered) = (call(), call());
}

/// All follow-ups of a task, oldest first.
async fn follow_ups(scene: &Scene<'_>, task: TaskId) -> Vec<Run> {
    let filter = RunFilter { task: Some(task), oldest_first: true, limit: 1_000, ..RunFilter::default() };
    let all = scene.store().runs(&filter).await.unwrap().items;
    all.into_iter().filter(|run| run.trigger.follows().is_some()).collect()
}

/// A run by hand that has begun, whatever else waits.
async fn at_work(scene: &mut Scene<'_>, task: &Task) -> Run {
    let run = scene.queued(task).await;
    let mut claims = scene.claims(1_000).await;
    let place = claims.iter().position(|claim| claim.run.id == run.id).unwrap();
    let claim = claims.remove(place);
    let begun = scene.begin(&claim).await;
    let others: Vec<RunId> = claims.iter().map(|claim| claim.run.id).collect();
    scene.store().release(&scene.session, others).await.unwrap();
    begun
}

pub async fn each_bad_end_has_exactly_one_run_that_tells_of_it_and_the_first_good_one_after_it_too(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task_with("a", tells).await;
    let ends = [
        (RunEvent::Succeeded, None),
        (RunEvent::Failed, Some("on_failure")),
        (RunEvent::TimedOut, Some("on_failure")),
        (RunEvent::Canceled { why: CancelWhy::Asked }, None),
        (RunEvent::Succeeded, Some("on_recovered")),
        (RunEvent::Succeeded, None),
        (RunEvent::Lost { why: LostWhy::Vanished }, Some("on_failure")),
        (RunEvent::Succeeded, Some("on_recovered")),
    ];
    let mut told = Vec::new();
    for (n, (end, expected)) in ends.into_iter().enumerate() {
        scene.advance(1);
        let run = at_work(&mut scene, &task).await;
        let edge = scene.edge(&run, end);
        let EdgeAnswer::Applied(ended) = scene.step(edge.clone()).await else { panic!("end {n}") };
        // The same end once more is none, and neither is one after the process has died.
        assert!(matches!(scene.step(edge.clone()).await, EdgeAnswer::Stale(_)));
        if n % 3 == 1 {
            scene.reopen().await;
            assert!(matches!(scene.step(edge).await, EdgeAnswer::Stale(_)));
        }
        told.extend(expected.map(|trigger| (trigger, ended.id)));
        let born = follow_ups(&scene, task.id).await;
        let seen: Vec<_> =
            born.iter().map(|run| (run.trigger.as_str(), run.trigger.follows().unwrap())).collect();
        assert_eq!(seen, told, "after end {n}");
        assert!(born.iter().all(|run| run.state() == RunState::Queued && run.task == task.id));
        let ids: BTreeSet<_> = born.iter().map(|run| run.id).collect();
        assert_eq!(ids.len(), born.len());
        let says = ended.events.iter().last().map(|event| event.kind.text());
        if expected.is_some() {
            let last = born.last().unwrap();
            assert_eq!(says, Some(format!("{}: told by the run {}", last.trigger.as_str(), last.id)));
            assert_eq!(last.params["cause_run"], ended.id.to_string());
            assert_eq!(last.params["cause_state"], ended.state().name().as_str());
        }
    }
    let born = follow_ups(&scene, task.id).await;
    let failures: Vec<_> = born.iter().map(|run| run.params["cause_failures"].as_u64().unwrap()).collect();
    assert_eq!(failures, [1, 2, 2, 1, 1]);
}

pub async fn a_run_that_tells_of_another_moves_nothing_of_its_task_and_causes_no_other(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene
        .task_with("a", |spec| {
            tells(spec);
            spec.pause_after_failures = Some(2);
        })
        .await;
    let run = scene.at_work(&task).await;
    let failure = Failure::new(FailureKind::Work, "disk full");
    let outcome = Outcome { exit: Some(Exit::Code(3)), error: Some(failure), ..Outcome::default() };
    scene.ends(&run, RunEvent::Failed, outcome).await;
    let before = scene.store().task(task.id).await.unwrap().unwrap();
    assert!(before.progress.failing);
    scene.advance(5);
    let teller = scene.start_one().await;
    assert_eq!((teller.trigger, teller.run_at), (Trigger::OnFailure { of: run.id }, teller.accepted_at));
    assert_eq!(
        (&teller.params["cause_exit_code"], &teller.params["cause_error"]),
        (&3.into(), &"disk full".into())
    );
    scene.happens(&teller, RunEvent::Failed).await;
    let after = scene.store().task(task.id).await.unwrap().unwrap();
    assert_eq!(after, before, "neither its progress, nor its last error, nor a pause");
    assert!(scene.claims(10).await.is_empty());

    // A definition that says nothing any more has nobody told; a deleted task neither.
    let silent = scene.change(&task, |spec| (spec.on_failure, spec.on_recovered) = (None, None)).await;
    let run = scene.at_work(&silent).await;
    scene.happens(&run, RunEvent::Succeeded).await;
    assert_eq!(follow_ups(&scene, task.id).await.len(), 1);
    let other = scene.task_with("b", tells).await;
    let run = scene.at_work(&other).await;
    assert!(scene.store().delete_task(&scene.session, other.id, None).await.unwrap());
    scene.happens(&run, RunEvent::Failed).await;
    assert!(follow_ups(&scene, other.id).await.is_empty());
}

pub async fn no_limit_holds_up_a_run_that_tells_of_another_and_it_holds_up_none(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let limits: [fn(&mut TaskSpec); 3] = [
        |spec| spec.concurrency = Some(Concurrency { limit: 1, key: None }),
        |spec| spec.concurrency = Some(Concurrency { limit: 1, key: Some("db".to_owned()) }),
        |spec| spec.overlap = Overlap::QueueAll { max: 10 },
    ];
    for (n, limit) in limits.into_iter().enumerate() {
        let task = scene
            .task_with(&format!("t{n}"), |spec| {
                tells(spec);
                limit(spec);
            })
            .await;
        let run = scene.at_work(&task).await;
        let waiting = scene.queued(&task).await;
        scene.happens(&run, RunEvent::Failed).await;
        // The next run and what tells of the last one go at once, side by side.
        let begun = scene.start(10).await;
        let teller = begun.iter().find(|run| run.trigger.follows().is_some()).unwrap().clone();
        let next = begun.iter().find(|run| run.id == waiting.id).unwrap().clone();
        assert_eq!(begun.len(), 2);
        let unfinished = scene.store().unfinished(task.id).await.unwrap();
        assert_eq!((unfinished.begun, unfinished.waiting), (vec![next.id], vec![]));
        // Both are found again, and the limit still knows one of them.
        scene.reopen().await;
        let third = scene.queued(&task).await;
        assert!(scene.claims(10).await.is_empty());
        let teller = scene.happens(&teller, RunEvent::Adopted { epoch: scene.session.epoch }).await;
        scene.happens(&teller, RunEvent::Succeeded).await;
        assert!(scene.claims(10).await.is_empty(), "its end frees no place that it never had");
        let next = scene.happens(&next, RunEvent::Adopted { epoch: scene.session.epoch }).await;
        scene.happens(&next, RunEvent::Canceled { why: CancelWhy::Asked }).await;
        let third_begun = scene.start_one().await;
        assert_eq!(third_begun.id, third.id);
        scene.happens(&third_begun, RunEvent::Canceled { why: CancelWhy::Asked }).await;
    }
}

pub async fn runs_that_tell_of_others_are_kept_apart_and_end_with_their_task(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene
        .task_with("a", |spec| {
            tells(spec);
            spec.retention.runs = 2;
        })
        .await;
    let mut failed = Vec::new();
    for _ in 0..3 {
        scene.advance(1);
        let run = at_work(&mut scene, &task).await;
        failed.push(scene.happens(&run, RunEvent::Failed).await.id);
    }
    for at_once in [2, 1] {
        let begun = scene.start(10).await;
        assert_eq!(begun.len(), at_once, "two go at once");
        for teller in begun {
            scene.happens(&teller, RunEvent::Succeeded).await;
        }
    }
    let tellers: Vec<_> = follow_ups(&scene, task.id).await.iter().map(|run| run.id).collect();
    let gone = scene.store().prune(&scene.session, task.id, 100).await.unwrap().runs;
    let gone: BTreeSet<_> = gone.into_iter().collect();
    assert_eq!(gone, [failed[0], tellers[0]].into(), "two of each kind are kept");

    // One that waits when its task is deleted ends with it.
    let run = scene.at_work(&task).await;
    scene.happens(&run, RunEvent::Failed).await;
    assert!(scene.store().delete_task(&scene.session, task.id, None).await.unwrap());
    let ended = scene.store().cancel_waiting(&scene.session, task.id, CancelWhy::Deleted, 10).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].trigger, Trigger::OnFailure { of: run.id });
    let again = scene.draft("a", tells);
    assert!(matches!(scene.put(&again, Expect::Absent, None).await, PutAnswer::Stored(_)));
}
