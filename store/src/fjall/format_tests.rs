//! Stores of earlier formats go on as if they had always been of this one.

use super::conformance_tests::{embedded, options};
use super::open::open;
use crate::conformance::Scene;
use crate::ledger::{Change, OpenKey, OpenMark, Tables as _};
use fjall::PersistMode;
use punctual_model::{RunEvent, RunId};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

/// Makes of a store what an earlier build would have written: an entry in the open index for each run at work.
fn turn_into_format_1(path: &Path) {
    let opened = open(path, &options()).unwrap();
    let (core, view) = (&opened.core, opened.core.view());
    let mut batch = core.batch(opened.sequence + 1, opened.sequence, 0);
    view.crews(&mut |crew, runs| {
        core.add(&mut batch, &Change::Crew(crew, None)).unwrap();
        for run in runs.into_iter().filter_map(|run| view.run(run).unwrap()) {
            if run.state().is_at_work() {
                let mark = Some(OpenMark { at_work: true, begun: true });
                core.add(&mut batch, &Change::Open(OpenKey::of(&run), mark)).unwrap();
            }
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    drop(view);
    batch.durability(Some(PersistMode::SyncData)).commit().unwrap();
    drop(opened);
    fs::write(path.join("FORMAT"), "punctual data directory\nformat 1\n").unwrap();
}

/// Which runs the crews name, and how many entries of runs at work the open index has.
fn stored(path: &Path) -> (Vec<RunId>, usize) {
    let opened = open(path, &options()).unwrap();
    let (mut named, mut marks) = (Vec::new(), 0);
    let view = opened.core.view();
    view.crews(&mut |_, runs| {
        named.extend(runs);
        ControlFlow::Continue(())
    })
    .unwrap();
    view.open(None, &mut |_, mark| {
        marks += usize::from(mark.at_work);
        ControlFlow::Continue(())
    })
    .unwrap();
    named.sort_unstable();
    (named, marks)
}

#[tokio::test]
async fn runs_at_work_in_a_store_of_format_1_are_taken_up_and_end() {
    let mut subject = embedded();
    let mut scene = Scene::new(&mut subject).await;
    let (task, other) = (scene.task("a").await, scene.task("b").await);
    let drafts = vec![scene.draft_run(&task), scene.draft_run(&task), scene.draft_run(&other)];
    let runs = scene.enqueue_all(drafts, 3).await;
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    let waiting = scene.queued(&other).await;
    subject.crash();
    assert_eq!(stored(&subject.path()), (ids.clone(), 0));
    turn_into_format_1(&subject.path());

    subject.open();
    assert_eq!(stored_format(&subject.path()), "punctual data directory\nformat 2\n");
    let scene = Scene::new(&mut subject).await;
    let epoch = scene.session.epoch;
    let begun = scene.store().begun_before(epoch, None, 10).await.unwrap();
    assert_eq!(begun.iter().map(|run| run.id).collect::<Vec<_>>(), ids);
    let adopted = scene.happens(&begun[0], RunEvent::Adopted { epoch }).await;
    scene.happens(&adopted, RunEvent::Succeeded).await;
    assert_eq!(scene.claimed(10).await, [waiting.id]);
    subject.crash();
    // All in one crew: the one that has ended stays in it until the others have.
    assert_eq!(stored(&subject.path()), (ids.clone(), 0));

    subject.open();
    let mut scene = Scene::new(&mut subject).await;
    let epoch = scene.session.epoch;
    let begun = scene.store().begun_before(epoch, None, 10).await.unwrap();
    assert_eq!(begun.iter().map(|run| run.id).collect::<Vec<_>>(), ids[1..]);
    for run in &begun {
        let adopted = scene.happens(run, RunEvent::Adopted { epoch }).await;
        scene.happens(&adopted, RunEvent::Succeeded).await;
    }
    scene.reopen().await;
    assert!(scene.store().begun_before(u64::MAX, None, 10).await.unwrap().is_empty());
    subject.crash();
    assert_eq!(stored(&subject.path()), (Vec::new(), 0));
}

fn stored_format(path: &Path) -> String {
    fs::read_to_string(path.join("FORMAT")).unwrap()
}
