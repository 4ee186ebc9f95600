//! What is counted of runs.
#![expect(missing_docs, reason = "the names are the sentences")]
#![expect(clippy::missing_panics_doc, reason = "panicking is how a test fails")]

use super::{Scene, Subject};
use crate::store::{CancelAnswer, EdgeAnswer};
use punctual_model::overlap::SkipWhy;
use punctual_model::state::{Missed, MissedWhy};
use punctual_model::{CancelWhy, Life, LostWhy, RunEvent, RunState, TaskType};
use std::collections::BTreeMap;
use std::time::Duration;

type Ends = BTreeMap<(String, String), u64>;

fn ends(scene: &Scene<'_>) -> Ends {
    let tallies = scene.store().tallies();
    let mut all = Ends::new();
    for (kind, tally) in tallies.types() {
        assert_eq!(kind, TaskType::SYSTEM);
        for (state, trigger, count) in tally.ended() {
            all.insert((state.to_string(), trigger.to_owned()), count);
        }
    }
    all
}

fn expect(all: &[(&str, &str, u64)]) -> Ends {
    all.iter().map(|(state, trigger, count)| (((*state).to_owned(), (*trigger).to_owned()), *count)).collect()
}

pub async fn b31_b02_each_end_of_a_run_counts_once_whoever_makes_it_and_however_often_it_is_told(
    subject: &mut dyn Subject,
) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    // By the hand that runs it, told twice.
    let run = scene.at_work(&task).await;
    assert_eq!((scene.store().stats().at_work, ends(&scene)), (1, Ends::new()));
    let edge = scene.edge(&run, RunEvent::Succeeded);
    scene.applied(edge.clone()).await;
    assert!(matches!(scene.step(edge).await, EdgeAnswer::Stale(_)));
    assert_eq!((scene.store().stats().at_work, ends(&scene)), (0, expect(&[("succeeded", "manual", 1)])));
    // Two edges of one run in one commit.
    let run = scene.at_work(&task).await;
    let edges = vec![scene.edge(&run, RunEvent::Failed), scene.edge(&run, RunEvent::Succeeded)];
    scene.store().transition(&scene.session, edges).await.unwrap();
    // By another hand, while it waits and while it is at work.
    let waiting = scene.queued(&task).await;
    assert!(matches!(scene.cancel(waiting.id).await, CancelAnswer::Ended(_)));
    assert!(matches!(scene.cancel(waiting.id).await, CancelAnswer::AlreadyEnded(_)));
    let run = scene.at_work(&task).await;
    assert!(matches!(scene.cancel(run.id).await, CancelAnswer::Stopping(_)));
    let canceled = RunEvent::Canceled { why: CancelWhy::Asked };
    let stopping = scene.read(run.id).await;
    scene.happens(&stopping, canceled).await;
    // Several attempts are one run; one that is lost is one too.
    let run = scene.at_work(&task).await;
    scene.happens(&run, RunEvent::Restarting { at: scene.now() }).await;
    let again = scene.start_one().await;
    scene.happens(&again, RunEvent::Lost { why: LostWhy::Vanished }).await;
    // Born at their end.
    let mut skipped = scene.draft_due(&task, scene.now());
    skipped.life = Life::born(RunState::Skipped { why: SkipWhy::QueueFull { waiting: 3 } });
    let mut missed = scene.draft_due(&task, scene.at(-60));
    let (from, to) = (scene.at(-600), scene.at(-60));
    let why = MissedWhy::PolicySkip;
    missed.life = Life::born(RunState::Missed(Missed { from, to, count: 10, at_least: false, why }));
    scene.due(&task, None, vec![missed.clone(), skipped.clone()]).await;
    // The same due once more is stale.
    scene.due(&task, None, vec![missed, skipped]).await;
    let all = expect(&[
        ("succeeded", "manual", 1),
        ("failed", "manual", 1),
        ("canceled", "manual", 2),
        ("lost", "manual", 1),
        ("skipped", "schedule", 1),
        ("missed", "schedule", 1),
    ]);
    assert_eq!(ends(&scene), all);
    let tallies = scene.store().tallies();
    assert_eq!(tallies.missed_dues, 10);
    let (_, tally) = tallies.types().next().unwrap();
    assert_eq!((tally.attempts, tally.start_delay.count()), (5, 4));
    assert_eq!(scene.store().stats().at_work, 0);
    // They are the open store's own.
    scene.reopen().await;
    assert_eq!(ends(&scene), Ends::new());
}

pub async fn delays_and_durations_are_those_of_the_records(subject: &mut dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let task = scene.task("a").await;
    scene.queued(&task).await;
    scene.advance(3);
    let run = scene.start_one().await;
    scene.advance(20);
    scene.happens(&run, RunEvent::Failed).await;
    let tallies = scene.store().tallies();
    let (_, tally) = tallies.types().next().unwrap();
    assert_eq!((tally.start_delay.count(), tally.start_delay.sum()), (1, Duration::from_secs(3)));
    let durations: Vec<_> =
        tally.duration().map(|(state, all)| (state.to_string(), all.count(), all.sum())).collect();
    assert_eq!(durations, [("failed".to_owned(), 1, Duration::from_secs(20))]);
}
