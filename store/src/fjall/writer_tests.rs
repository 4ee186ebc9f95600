//! Grouping, failing, and going: what the writer thread does around the ledger's decisions.

use super::embedded::FjallStore;
use super::options::{FreeSpace, Options};
use super::seal::Seal;
use super::writer::BATCH_BYTES;
use crate::error::Error;
use crate::store::*;
use jiff::Timestamp;
use punctual_clock::{Clock, VirtualClock};
use punctual_model::event::EventLog;
use punctual_model::restart::RestartCount;
use punctual_model::*;
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

struct Bench {
    _folder: TempDir,
    path: PathBuf,
    clock: VirtualClock,
    store: Arc<FjallStore>,
    session: Session,
}

fn open(path: &Path, clock: &VirtualClock, free_space: FreeSpace) -> Arc<FjallStore> {
    let options = Options { free_space, ..Options::default() };
    Arc::new(FjallStore::open(path, Arc::new(clock.clone()), &options).unwrap())
}

/// A store with task 1.
async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("data"), VirtualClock::new(NOW));
    let store = open(&path, &clock, FreeSpace::Bytes(0));
    let session = store.open_session("node").await.unwrap();
    let put = PutTask { task: Arc::new(task(1)), expect: Expect::Absent, raise_checkpoint: None };
    store.put_task(&session, put).await.unwrap();
    Bench { _folder: folder, path, clock, store, session }
}

fn task(id: u64) -> Task {
    Task {
        id: TaskId::new(id).unwrap(),
        kind: TaskType::default(),
        revision: 1,
        created_at: NOW,
        updated_at: NOW,
        owner: Owner::Local,
        metadata: serde_json::Map::new(),
        spec: TaskSpec::new(format!("task {id}"), Work::handler("h")),
    }
}

fn run(id: u64) -> Run {
    Run {
        id: RunId::new(id).unwrap(),
        task: TaskId::new(1).unwrap(),
        revision: 1,
        trigger: Trigger::Manual,
        scheduled_for: NOW,
        run_at: NOW,
        accepted_at: NOW,
        life: Life::born(RunState::Queued),
        started_at: None,
        finished_at: None,
        forced: false,
        params: Value::Null,
        idempotency_key: None,
        trace: None,
        usage: None,
        restarts: RestartCount::default(),
        outcome: None,
        saved: Value::Null,
        local: Value::Null,
        events: EventLog::default(),
    }
}

impl Bench {
    async fn enqueue(&self, id: u64) -> Result<Vec<Enqueued>, Error> {
        self.store.enqueue(&self.session, vec![run(id)], 0).await
    }

    /// Makes the database fail from the next write on, as it does after an error of the disk.
    fn break_database(&self) {
        // It panics on a key that is too long while it holds the lock of its journal.
        let runs = &self.store.shared.core.keyspaces.runs;
        catch_unwind(AssertUnwindSafe(|| runs.insert(vec![0; 70_000], []))).unwrap_err();
    }

    fn sealed(&self) -> (u64, bool) {
        let mark = Seal::open(&self.path.join("seal")).unwrap().unwrap().mark();
        (mark.sequence, mark.clean)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_shares_a_sync_and_nobody_is_answered_before_it() {
    let bench = Arc::new(bench().await);
    let before = bench.store.stats();
    let callers: Vec<_> = (0..2_000)
        .map(|n| {
            let bench = bench.clone();
            tokio::spawn(async move {
                bench.enqueue(100 + n).await.unwrap();
                // The commit that an answer belongs to is counted before the answer is given.
                bench.store.stats().sequence
            })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap() > before.sequence);
    }
    let after = bench.store.stats();
    assert_eq!(after.requests - before.requests, 2_000);
    assert_eq!(after.commits - before.commits, after.sequence - before.sequence);
    assert!(after.commits - before.commits < 1_000, "{} commits", after.commits - before.commits);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_records_do_not_make_a_commit_large() {
    const CALLERS: u64 = 400;
    const SIZE: usize = 60_000;
    let bench = Arc::new(bench().await);
    let before = bench.store.stats();
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let bench = bench.clone();
            tokio::spawn(async move {
                let params = Value::String("p".repeat(SIZE));
                let run = Run { params, ..run(100 + n) };
                bench.store.enqueue(&bench.session, vec![run], 0).await.unwrap();
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let commits = bench.store.stats().commits - before.commits;
    let least = CALLERS as usize * SIZE / (BATCH_BYTES + SIZE);
    assert!(commits as usize >= least, "{commits} commits of {CALLERS} runs, at least {least}");
}

#[tokio::test]
async fn what_changes_nothing_costs_no_sync() {
    let bench = bench().await;
    let before = bench.store.stats();
    let edge = Edge {
        run: RunId::new(5).unwrap(),
        fence: Fence { attempt: 0, epoch: 0 },
        event: RunEvent::Failed,
        at: NOW,
        patch: Patch::default(),
    };
    assert_eq!(bench.store.transition(&bench.session, vec![edge]).await, Ok(vec![EdgeAnswer::Unknown]));
    assert_eq!(bench.store.stats().sequence, before.sequence);
}

#[tokio::test]
async fn the_first_error_of_the_database_is_the_end_for_every_writer() {
    let bench = bench().await;
    bench.enqueue(100).await.unwrap();
    let sequence = bench.store.stats().sequence;
    bench.break_database();
    for _ in 0..3 {
        assert!(matches!(bench.enqueue(101).await, Err(Error::Failed { .. })));
    }
    let claims = bench.store.claim(&bench.session, 1).await;
    assert!(matches!(claims, Err(Error::Failed { .. })), "{claims:?}");
    assert!(matches!(bench.store.close_session(&bench.session).await, Err(Error::Failed { .. })));
    // Whoever waits for work is woken to hear of it; readers go on.
    bench.store.hints().ready.notified().await;
    assert!(bench.store.run(RunId::new(100).unwrap()).await.unwrap().is_some());
    assert_eq!(bench.store.run(RunId::new(101).unwrap()).await, Ok(None));
    assert_eq!(bench.store.stats().sequence, sequence);
    // What was acknowledged is there again, and the stop was none in order.
    let Bench { _folder, path, clock, store, .. } = bench;
    drop(store);
    assert!(!Seal::open(&path.join("seal")).unwrap().unwrap().mark().clean);
    let store = open(&path, &clock, FreeSpace::Bytes(0));
    assert!(store.run(RunId::new(100).unwrap()).await.unwrap().is_some());
    assert_eq!(store.stats().sequence, sequence);
}

/// Three runs are more than the writer syncs by itself.
fn three(first: u64) -> Vec<Run> {
    (first..first + 3).map(run).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::await_holding_lock, reason = "it is what holds the sync up")]
async fn during_a_sync_the_next_batch_is_judged_and_nobody_hears_of_either() {
    let bench = Arc::new(bench().await);
    let journal = bench.store.shared.journal.lock().unwrap();
    let before = bench.store.stats().sequence;
    let ask = |first| {
        let bench = bench.clone();
        tokio::spawn(async move { bench.store.enqueue(&bench.session, three(first), 0).await })
    };
    // The second builds on the first; a claim comes after both, and gives them out.
    let first = ask(100);
    while bench.store.stats().waiting < 3 {
        tokio::task::yield_now().await;
    }
    let second = ask(103);
    while bench.store.stats().waiting < 6 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.store.claim(&bench.session, 10).await.unwrap().claims.len(), 6);
    let reader = {
        let bench = bench.clone();
        tokio::spawn(async move { bench.store.run(RunId::new(104).unwrap()).await })
    };
    let listing = {
        let bench = bench.clone();
        tokio::spawn(async move { bench.store.runs(&RunFilter { limit: 10, ..RunFilter::default() }).await })
    };
    // Another claim has gone through the writer meanwhile: who was going to be answered early would have been.
    assert_eq!(bench.store.claim(&bench.session, 10).await.unwrap().claims.len(), 0);
    assert!(!first.is_finished() && !second.is_finished() && !reader.is_finished() && !listing.is_finished());
    assert_eq!(bench.store.stats().sequence, before);
    drop(journal);
    assert_eq!(first.await.unwrap().unwrap().len(), 3);
    assert_eq!(second.await.unwrap().unwrap().len(), 3);
    assert!(reader.await.unwrap().unwrap().is_some());
    assert_eq!(listing.await.unwrap().unwrap().items.len(), 6);
    assert_eq!(bench.store.stats().sequence, before + 2);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::await_holding_lock, reason = "it is what holds the sync up")]
async fn a_sync_that_fails_is_the_end_for_all_that_was_written_and_for_who_has_read_it() {
    for together in [false, true] {
        let bench = Arc::new(bench().await);
        bench.enqueue(99).await.unwrap();
        let sequence = bench.store.stats().sequence;
        let mut journal = bench.store.shared.journal.lock().unwrap();
        let ask = |runs: Vec<Run>| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.store.enqueue(&bench.session, runs, 0).await })
        };
        let mut asked = vec![ask(if together { three(100) } else { vec![run(100)] })];
        let patience = |asked: u64| {
            let bench = bench.clone();
            async move {
                while bench.store.stats().waiting < 1 + asked {
                    tokio::task::yield_now().await;
                }
            }
        };
        patience(if together { 3 } else { 1 }).await;
        if together {
            asked.push(ask(three(103)));
            patience(6).await;
        }
        let reader = {
            let bench = bench.clone();
            tokio::spawn(async move { bench.store.run(RunId::new(100).unwrap()).await })
        };
        journal.break_down();
        drop(journal);
        for asked in asked {
            let answer = asked.await.unwrap();
            assert!(matches!(answer, Err(Error::Failed { .. })), "{answer:?}");
        }
        let read = reader.await.unwrap();
        assert!(matches!(read, Err(Error::Failed { .. })), "{read:?}");
        assert!(matches!(bench.enqueue(110).await, Err(Error::Failed { .. })));
        assert_eq!(bench.store.stats().sequence, sequence);
        let Ok(Bench { _folder, path, clock, store, .. }) = Arc::try_unwrap(bench) else { panic!("shared") };
        drop(store);
        let mark = Seal::open(&path.join("seal")).unwrap().unwrap().mark();
        assert!(!mark.clean && mark.sequence <= sequence, "{mark:?}");
        let store = open(&path, &clock, FreeSpace::Bytes(0));
        assert!(store.run(RunId::new(99).unwrap()).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_writer_answers_everybody_who_waits() {
    let bench = Arc::new(bench().await);
    // A decision that panics leaves the lock of the state in memory poisoned.
    catch_unwind(AssertUnwindSafe(|| {
        let _ledger = bench.store.shared.ledger().unwrap();
        panic!("in the middle of a decision");
    }))
    .unwrap_err();
    let callers: Vec<_> = (0..100)
        .map(|n| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.enqueue(100 + n).await })
        })
        .collect();
    for caller in callers {
        assert!(matches!(caller.await.unwrap(), Err(Error::Failed { .. })));
    }
}

#[tokio::test]
async fn a_nearly_full_disk_takes_no_new_work_and_still_ends_what_has_begun() {
    let bench = bench().await;
    bench.store.enqueue(&bench.session, vec![run(100)], 1).await.unwrap();
    let Bench { _folder, path, clock, store, session } = bench;
    drop(store);
    let store = open(&path, &clock, FreeSpace::Bytes(u64::MAX));
    let session = Session { epoch: store.open_session("node").await.unwrap().epoch, ..session };
    let full = |answer: Result<(), Error>| assert!(matches!(answer, Err(Error::Full { .. })), "{answer:?}");
    full(store.enqueue(&session, vec![run(101)], 0).await.map(drop));
    full(store.materialise(&session, Vec::new()).await.map(drop));
    let put = PutTask { task: Arc::new(task(2)), expect: Expect::Absent, raise_checkpoint: None };
    full(store.put_task(&session, put).await.map(drop));
    let begun = store.run(RunId::new(100).unwrap()).await.unwrap().unwrap();
    let edge = Edge {
        run: begun.id,
        fence: Fence::of(&begun),
        event: RunEvent::Succeeded,
        at: NOW,
        patch: Patch::default(),
    };
    let answer = store.transition(&session, vec![edge]).await.unwrap();
    assert!(matches!(&answer[..], [EdgeAnswer::Applied(_)]), "{answer:?}");
}

#[tokio::test]
async fn a_busy_writer_seals_when_a_second_has_passed_and_a_clean_stop_says_so() {
    let bench = bench().await;
    let sequence = bench.store.stats().sequence;
    // It looks at the time after its answers, so it may be a round behind, but not two.
    for id in 100..103 {
        bench.clock.advance_now(Duration::from_secs(1));
        bench.enqueue(id).await.unwrap();
    }
    let (sealed, clean) = bench.sealed();
    assert!(sealed > sequence && !clean, "{sealed} of {sequence}");
    let Bench { _folder, path, store, .. } = bench;
    drop(store);
    let mark = Seal::open(&path.join("seal")).unwrap().unwrap().mark();
    assert_eq!((mark.sequence, mark.clean), (sequence + 3, true));
}

#[tokio::test]
async fn an_idle_writer_seals_without_being_asked() {
    let bench = bench().await;
    let clock = punctual_clock::SystemClock::new().unwrap();
    let patience = clock.monotonic() + Duration::from_secs(30);
    // The clock of the store stands still; only the writer's own patience passes.
    while bench.sealed().0 < bench.store.stats().sequence {
        assert!(clock.monotonic() < patience);
        clock.sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_dropped_lets_go_of_its_directory_at_once() {
    let Bench { _folder, path, clock, mut store, mut session } = bench().await;
    for n in 1..=20 {
        store.enqueue(&session, vec![run(100 + n)], 0).await.unwrap();
        drop(store);
        store = open(&path, &clock, FreeSpace::Bytes(0));
        assert_eq!(store.stats().waiting, n);
        session = store.open_session("node").await.unwrap();
    }
}
