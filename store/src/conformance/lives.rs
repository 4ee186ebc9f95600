//! The steps of runs' lives, by the hand that runs them and by others.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::{CancelAnswer, EdgeAnswer, Fence, RunFilter, SoftNote};
use punctual_model::event::{Event, EventKind};
use punctual_model::outcome::FailureKind;
use punctual_model::restart::RestartCount;
use punctual_model::task::Concurrency;
use punctual_model::{
    CancelWhy, Exit, Failure, Life, LostWhy, Outcome, Run, RunEvent, RunId, RunState, RunStateName, StopWhy,
};
use serde_json::json;

fn message(scene: &Scene<'_>, text: &str) -> Event {
    let kind = EventKind::Message { source: "work".to_owned(), text: text.to_owned() };
    Event { at: scene.now(), kind }
}

pub async fn a_run_lives_from_its_acceptance_to_its_end(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let queued = scene.queued(&task).await;
    let accepted = scene.now();
    scene.advance(1);
    let claim = scene.claims(1).await.remove(0);
    let begun = scene.begin(&claim).await;
    assert_eq!(begun.state(), RunState::Starting);
    assert_eq!((begun.life.attempt, begun.life.epoch), (1, scene.session.epoch));
    assert_eq!((begun.accepted_at, begun.started_at), (accepted, Some(scene.now())));
    scene.advance(1);
    let mut edge = scene.edge(&begun, RunEvent::Succeeded);
    edge.patch.outcome = Some(Outcome { exit: Some(Exit::Code(0)), ..Outcome::success() });
    edge.patch.restarts = Some(RestartCount { count: 2, window_start: Some(accepted), first_start: None });
    edge.patch.saved = Some(json!({"at": 3}));
    edge.patch.events = vec![message(&scene, "done")];
    let ended = scene.applied(edge.clone()).await;
    let expect = Run {
        finished_at: Some(scene.now()),
        outcome: edge.patch.outcome,
        restarts: RestartCount { count: 2, window_start: Some(accepted), first_start: None },
        saved: json!({"at": 3}),
        life: Life { state: RunState::Succeeded, ..begun.life },
        events: ended.events.clone(),
        ..begun
    };
    assert_eq!(ended, expect);
    assert_eq!(ended.events.iter().cloned().collect::<Vec<_>>(), edge.patch.events);
    scene.reopen().await;
    assert_eq!(scene.read(queued.id).await, expect);
    let stats = scene.store().stats();
    assert_eq!((stats.waiting, stats.at_work), (0, 0));
}

pub async fn an_edge_with_another_attempt_or_epoch_is_stale(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let run = scene.at_work(&task).await;
    let good = scene.edge(&run, RunEvent::Succeeded);
    for (attempt, epoch) in [(0, 1), (2, 1), (1, 0), (1, 2)] {
        let epoch = run.life.epoch + epoch - 1;
        let edge = crate::store::Edge { fence: Fence { attempt, epoch }, ..good.clone() };
        assert_eq!(scene.step(edge).await, EdgeAnswer::Stale(run.clone()));
    }
    let unknown = crate::store::Edge { run: RunId::new(5).unwrap(), ..good.clone() };
    assert_eq!(scene.step(unknown).await, EdgeAnswer::Unknown);
    assert_eq!(
        scene.step(scene.edge(&run, RunEvent::Due { now: scene.now() })).await,
        EdgeAnswer::Stale(run)
    );
    scene.applied(good).await;
}

pub async fn a_run_begins_only_when_claimed_at_the_current_revision_under_the_current_session(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let run = scene.queued(&task).await;
    let stale = EdgeAnswer::Stale(run.clone());
    assert_eq!(scene.step(scene.claim_edge(&run, 1)).await, stale, "nobody claimed it");
    scene.claims(1).await;
    let mut foreign = scene.claim_edge(&run, 1);
    foreign.event = RunEvent::Claimed { epoch: scene.session.epoch + 1 };
    assert_eq!(scene.step(foreign).await, stale);
    assert_eq!(scene.step(scene.edge(&run, RunEvent::Claimed { epoch: scene.session.epoch })).await, stale);
    scene.change(&task, |spec| spec.priority = 1).await;
    assert_eq!(scene.step(scene.claim_edge(&run, 1)).await, stale);
    let begun = scene.applied(scene.claim_edge(&run, 2)).await;
    assert_eq!(begun.revision, 2);
}

pub async fn several_edges_of_one_run_are_judged_in_order(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let run = scene.queued(&task).await;
    scene.claims(1).await;
    let claim = scene.claim_edge(&run, 1);
    let begun = Fence { attempt: 1, epoch: scene.session.epoch };
    let mut end = scene.edge(&run, RunEvent::Succeeded);
    end.fence = begun;
    let mut late = scene.edge(&run, RunEvent::Failed);
    late.fence = begun;
    let edges = vec![claim.clone(), claim, end, late];
    let answers = scene.store().transition(&scene.session, edges).await.unwrap();
    let states: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            EdgeAnswer::Applied(run) => (true, run.state().name()),
            EdgeAnswer::Stale(run) => (false, run.state().name()),
            EdgeAnswer::Unknown => panic!("it is known"),
        })
        .collect();
    use RunStateName::{Starting, Succeeded};
    assert_eq!(states, [(true, Starting), (false, Starting), (true, Succeeded), (false, Succeeded)]);
    let stats = scene.store().stats();
    assert_eq!((stats.waiting, stats.at_work), (0, 0));
}

pub async fn a_terminal_record_never_changes(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let ended = scene.ended(&task).await;
    let epoch = scene.session.epoch;
    for event in [
        RunEvent::Claimed { epoch },
        RunEvent::Started,
        RunEvent::StopAsked { why: StopWhy::Cancel, at: scene.now() },
        RunEvent::Succeeded,
        RunEvent::Failed,
        RunEvent::TimedOut,
        RunEvent::Restarting { at: scene.now() },
        RunEvent::Canceled { why: CancelWhy::Asked },
        RunEvent::Interrupted,
        RunEvent::Lost { why: LostWhy::NodeDied },
        RunEvent::Adopted { epoch: epoch + 1 },
    ] {
        assert_eq!(
            scene.step(scene.edge(&ended, event)).await,
            EdgeAnswer::Stale(ended.clone()),
            "{event:?}"
        );
    }
    assert_eq!(scene.cancel(ended.id).await, CancelAnswer::AlreadyEnded(ended.clone()));
    assert_eq!(scene.read(ended.id).await, ended);
}

pub async fn ts26_canceling_a_run_for_later_marks_exactly_that_run(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let mut later = Vec::new();
    for _ in 0..3 {
        let mut run = scene.draft_run(&task);
        run.life = Life::born(RunState::Scheduled { at: scene.at(60) });
        later.push(run);
    }
    let runs = scene.enqueue_all(later, 0).await;
    let CancelAnswer::Ended(ended) = scene.cancel(runs[1].id).await else { panic!("it waited") };
    assert_eq!(ended.state(), RunState::Canceled { why: CancelWhy::Asked });
    assert_eq!(ended.finished_at, Some(scene.now()));
    let canceled = RunFilter { states: vec![RunStateName::Canceled], limit: 9, ..RunFilter::default() };
    assert_eq!(scene.list(canceled).await, [runs[1].id]);
    scene.advance(60);
    assert_eq!(scene.claimed(9).await, [runs[0].id, runs[2].id]);
    assert_eq!(scene.cancel(RunId::new(3).unwrap()).await, CancelAnswer::Unknown);
}

pub async fn xt04_a_canceled_run_ends_as_canceled_from_every_state_and_never_comes_back(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task =
        scene.task_with("a", |spec| spec.concurrency = Some(Concurrency { limit: 2, key: None })).await;
    let starting = scene.at_work(&task).await;
    let running = scene.at_work(&task).await;
    let running = scene.happens(&running, RunEvent::Started).await;
    let queued = scene.queued(&task).await;
    let mut later = scene.draft_run(&task);
    later.life = Life::born(RunState::Scheduled { at: scene.at(60) });
    let later = scene.enqueue_all(vec![later], 0).await.remove(0);
    for run in [&queued, &later] {
        assert!(matches!(scene.cancel(run.id).await, CancelAnswer::Ended(_)));
        assert!(matches!(scene.cancel(run.id).await, CancelAnswer::AlreadyEnded(_)));
    }
    for run in [&starting, &running] {
        let CancelAnswer::Stopping(stopping) = scene.cancel(run.id).await else { panic!("it was at work") };
        assert_eq!(stopping.state(), RunState::Stopping { why: StopWhy::Cancel, since: scene.now() });
        scene.advance(1);
        assert_eq!(scene.cancel(run.id).await, CancelAnswer::Stopping(stopping), "twice is harmless");
    }
    scene.reopen().await;
    assert_eq!(scene.claimed(9).await, []);
    for run in [starting.id, running.id] {
        let stopping = scene.read(run).await;
        assert!(matches!(stopping.state(), RunState::Stopping { why: StopWhy::Cancel, .. }));
        // Whatever the work's own end is.
        let event = if run == starting.id { RunEvent::Succeeded } else { RunEvent::Failed };
        scene.happens(&stopping, event).await;
    }
    scene.reopen().await;
    for run in [starting.id, running.id, queued.id, later.id] {
        assert_eq!(scene.read(run).await.state(), RunState::Canceled { why: CancelWhy::Asked });
    }
    scene.advance(60);
    assert_eq!(scene.claimed(9).await, []);
    let progress = scene.store().task(task.id).await.unwrap().unwrap().progress;
    assert_eq!((progress.latest_success, progress.latest_failure), (None, None));
    assert_eq!(progress.last_status, Some(RunStateName::Canceled));
}

pub async fn the_waiting_runs_of_a_task_are_canceled_page_by_page(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let one = Some(Concurrency { limit: 1, key: None });
    let task = scene.task_with("a", |spec| spec.concurrency = one).await;
    let other = scene.task("b").await;
    let begun = scene.at_work(&task).await;
    let mut expect = scene.queued_many(&task, 250).await;
    let forced = Run { forced: true, ..scene.draft_run(&task) };
    expect.push(scene.enqueue_all(vec![forced], 0).await[0].id);
    let mut later = scene.draft_run(&task);
    later.life = Life::born(RunState::Scheduled { at: scene.at(60) });
    expect.push(scene.enqueue_all(vec![later], 0).await[0].id);
    let bystander = scene.queued(&other).await;
    let mut ended = Vec::new();
    loop {
        let page = scene.store();
        let page = page.cancel_waiting(&scene.session, task.id, CancelWhy::Deleted, 100).await.unwrap();
        assert!(page.len() <= 100);
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|run| run.state() == RunState::Canceled { why: CancelWhy::Deleted }));
        ended.extend(page.iter().map(|run| run.id));
    }
    ended.sort_unstable();
    expect.sort_unstable();
    assert_eq!(ended, expect);
    assert_eq!(scene.read(begun.id).await, begun);
    assert_eq!(scene.claimed(9).await, [bystander.id]);
    let stats = scene.store().stats();
    assert_eq!((stats.waiting, stats.at_work), (1, 1));
}

pub async fn ts09_the_end_of_a_run_moves_the_progress_of_its_task_forward_and_never_back(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let (early, late) = (scene.at(-100), scene.at(-50));
    let dues = vec![scene.draft_due(&task, early), scene.draft_due(&task, late)];
    scene.due(&task, None, dues).await;
    let started = scene.start(2).await;
    scene.ends(&started[1], RunEvent::Succeeded, Outcome::success()).await;
    let progress = || async { scene.store().task(task.id).await.unwrap().unwrap().progress };
    let after = progress().await;
    assert_eq!(after.latest_scheduled, Some(late));
    assert_eq!((after.latest_completed, after.latest_success), (Some(late), Some(late)));
    assert_eq!((after.last_status, after.last_error), (Some(RunStateName::Succeeded), None));
    scene.advance(5);
    let failure = Outcome::failed(Failure::new(FailureKind::Work, "no such table"));
    scene.ends(&started[0], RunEvent::Failed, failure).await;
    let after = progress().await;
    assert_eq!((after.latest_completed, after.latest_success), (Some(late), Some(late)));
    assert_eq!(after.latest_failure, Some(early));
    assert_eq!(after.last_status, Some(RunStateName::Failed));
    assert_eq!(after.last_error.as_deref(), Some("no such table"));
    assert_eq!(after.last_finished_at, Some(scene.now()));
}

pub async fn a_restarted_run_waits_for_its_time_and_keeps_its_count_of_attempts(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let run = scene.at_work(&task).await;
    let at = scene.at(30);
    let failure = Outcome::failed(Failure::new(FailureKind::Work, "again"));
    let waits = scene.ends(&run, RunEvent::Restarting { at }, failure.clone()).await;
    assert_eq!(waits.state(), RunState::Scheduled { at });
    assert_eq!((waits.life.attempt, waits.outcome.as_ref()), (1, Some(&failure)));
    assert_eq!(scene.store().unfinished(task.id).await.unwrap().begun, [run.id]);
    scene.reopen().await;
    assert_eq!(scene.store().unfinished(task.id).await.unwrap().begun, [run.id]);
    let claims = scene.store().claim(&scene.session, 9).await.unwrap();
    assert_eq!((claims.claims.len(), claims.next_ready), (0, Some(at)));
    scene.advance(30);
    let again = scene.start_one().await;
    assert_eq!((again.life.attempt, again.life.epoch), (2, scene.session.epoch));
    let answer = scene.step(scene.edge(&run, RunEvent::Succeeded)).await;
    assert_eq!(answer, EdgeAnswer::Stale(again), "the first attempt says nothing any more");
}

pub async fn an_interrupted_run_goes_back_to_the_head_of_its_queue(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let one = Some(Concurrency { limit: 1, key: None });
    let task = scene.task_with("a", |spec| spec.concurrency = one).await;
    let first = scene.at_work(&task).await;
    scene.advance(1);
    let second = scene.queued(&task).await;
    let back = scene.happens(&first, RunEvent::Interrupted).await;
    assert_eq!(back.state(), RunState::Queued);
    scene.reopen().await;
    assert_eq!(scene.claimed(9).await, [first.id]);
    scene.cancel(first.id).await;
    assert_eq!(scene.claimed(9).await, [second.id], "a canceled claim gives its place back");
    scene.store().release(&scene.session, vec![first.id]).await.unwrap();
    assert_eq!(scene.claimed(9).await, []);
}

pub async fn notes_are_seen_at_once_written_with_the_next_edge_and_lost_with_the_process(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let (kept, lost) = (scene.at_work(&task).await, scene.at_work(&task).await);
    let text = |run: &Run| run.events.iter().map(|event| event.kind.text()).collect::<Vec<_>>();
    for run in [&kept, &lost] {
        let (events, saved) = (vec![message(&scene, "half")], Some(json!(50)));
        let note = SoftNote { run: run.id, fence: Fence::of(run), started: true, events, saved, usage: None };
        let mut other = note.clone();
        other.fence.attempt += 1;
        scene.store().note(vec![note, other]);
    }
    let seen = scene.read(kept.id).await;
    assert_eq!((seen.state(), &seen.saved), (RunState::Running, &json!(50)));
    assert_eq!(text(&seen), ["work: half"]);
    let running = RunFilter { states: vec![RunStateName::Running], limit: 9, ..RunFilter::default() };
    assert_eq!(scene.list(running.clone()).await, [lost.id, kept.id]);
    assert_eq!(scene.list(RunFilter { oldest_first: true, ..running }).await, [kept.id, lost.id]);
    let stopping = scene.happens(&kept, RunEvent::StopAsked { why: StopWhy::Timeout, at: scene.now() }).await;
    assert_eq!((text(&stopping), &stopping.saved), (vec!["work: half".to_owned()], &json!(50)));
    scene.reopen().await;
    assert_eq!(scene.read(kept.id).await, stopping);
    assert_eq!(scene.read(lost.id).await, lost);
}

pub async fn a_run_that_grows_too_large_can_still_end(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let run = scene.at_work(&task).await;
    let mut edge = scene.edge(&run, RunEvent::Succeeded);
    edge.patch.outcome = Some(Outcome { result: Some("r".repeat(200_000).into()), ..Outcome::success() });
    edge.patch.events = (0..40).map(|_| message(&scene, &"e".repeat(1_000))).collect();
    let ended = scene.applied(edge).await;
    assert_eq!(ended.state(), RunState::Succeeded);
    assert!(ended.events.iter().any(|event| event.kind.text().contains("too large")));
    scene.reopen().await;
    assert_eq!(scene.read(run.id).await, ended);
}

pub async fn unfinished_runs_are_told_apart_by_whether_they_began(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let one = Some(Concurrency { limit: 1, key: None });
    let task = scene.task_with("a", |spec| spec.concurrency = one).await;
    assert!(scene.store().unfinished(task.id).await.unwrap().is_empty());
    let begun = scene.at_work(&task).await;
    let forced = Run { forced: true, ..scene.draft_run(&task) };
    scene.enqueue_all(vec![forced], 0).await;
    let waiting = scene.queued_many(&task, 200).await;
    for _ in 0..2 {
        let unfinished = scene.store().unfinished(task.id).await.unwrap();
        assert_eq!(unfinished.begun, [begun.id]);
        assert!(unfinished.waiting.len() >= 24);
        assert_eq!(unfinished.waiting[..], waiting[..unfinished.waiting.len()]);
        assert_eq!(unfinished.waiting.len() as u64 + unfinished.more_waiting, 200);
        scene.reopen().await;
    }
}

pub async fn ts14_ts16_runs_are_listed_by_task_state_and_time_from_either_end(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (a, b) = (scene.task("a").await, scene.task("b").await);
    let mut expect = Vec::new();
    for n in 0..6 {
        let task = if n % 2 == 0 { &a } else { &b };
        let at = scene.at(n * 60);
        let run = Run { scheduled_for: at, ..scene.draft_run(task) };
        expect.push(scene.enqueue_all(vec![run], 0).await.remove(0));
    }
    let id = |n: usize| expect[n].id;
    let all = RunFilter { limit: 100, ..RunFilter::default() };
    assert_eq!(scene.list(all.clone()).await, [5, 4, 3, 2, 1, 0].map(id));
    assert_eq!(scene.list(RunFilter { task: Some(b.id), ..all.clone() }).await, [5, 3, 1].map(id));
    let oldest = RunFilter { task: Some(a.id), oldest_first: true, ..all.clone() };
    assert_eq!(scene.list(oldest.clone()).await, [0, 2, 4].map(id));
    let page = scene.store().runs(&RunFilter { limit: 2, ..oldest.clone() }).await.unwrap();
    assert_eq!(page.items, [expect[0].clone(), expect[2].clone()]);
    assert_eq!(page.next, Some(id(2)));
    let page = scene.store().runs(&RunFilter { after: page.next, limit: 1, ..oldest }).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].id, page.next), (1, id(4), None));
    let (from, until) = (Some(expect[1].scheduled_for), Some(expect[4].scheduled_for));
    assert_eq!(scene.list(RunFilter { from, until, ..all.clone() }).await, [3, 2, 1].map(id));
    assert_eq!(scene.list(RunFilter { after: Some(id(2)), ..all.clone() }).await, [1, 0].map(id));
    let begun = scene.start_one().await;
    let of = |states| RunFilter { states, ..all.clone() };
    assert_eq!(scene.list(of(vec![RunStateName::Starting])).await, [begun.id]);
    assert_eq!(scene.list(of(vec![RunStateName::Queued])).await.len(), 5);
    assert_eq!(scene.list(of(vec![RunStateName::Failed])).await, []);
    let nobody = RunFilter { task: punctual_model::TaskId::new(9), ..all };
    assert_eq!(scene.list(nobody).await, []);
    assert_eq!(scene.store().run(RunId::new(9).unwrap()).await.unwrap(), None);
}

pub async fn hints_tell_of_runs_that_ended_by_another_hand(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    let begun = scene.at_work(&task).await;
    let waiting = scene.queued(&task).await;
    let page = scene.queued(&task).await;
    let mut changed = scene.store().hints().changed;
    scene.cancel(begun.id).await;
    scene.cancel(waiting.id).await;
    scene.cancel(waiting.id).await;
    scene.store().cancel_waiting(&scene.session, task.id, CancelWhy::Deleted, 9).await.unwrap();
    let stopping = scene.read(begun.id).await;
    scene.happens(&stopping, RunEvent::Succeeded).await;
    let mut told = Vec::new();
    while let Ok(run) = changed.try_recv() {
        told.push(run);
    }
    assert_eq!(told, [begun.id, waiting.id, page.id]);
}
