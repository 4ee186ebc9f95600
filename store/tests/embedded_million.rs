//! A million waiting runs take little memory, come back quickly and in order, and hold nobody up.

mod node;

use node::{Node, Outcome, resident};
use punctual_clock::{Clock, SystemClock};
use punctual_store::{HistoryStore, RunStore};
use std::time::Duration;

/// In one lane; the index has the others in the same way.
const MANY: usize = 1_000_000;
/// The process may grow by this much from a tenth of them to all: a third of what their records alone would take. It
/// is 10 MiB on a quiet machine; on a busy one tables that wait for the disk stay in memory a little longer.
const GROWTH: u64 = 96 << 20;
/// A start with all of them, in a build without optimisation, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_waiting_runs_are_cheap_and_come_back() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("data");
    let clock = SystemClock::new()?;
    let node = Node::open(&path, &clock).await?;
    let mut oldest = Vec::new();
    let mut accepted = 0;
    let mut grow_to = async |count: usize| -> Outcome<u64> {
        while accepted < count {
            let runs = node.accept(2_000, 0).await?;
            accepted += runs.len();
            oldest.extend(runs.iter().map(|run| run.id).take(1_000 - oldest.len().min(1_000)));
        }
        Ok(resident())
    };
    let tenth = grow_to(MANY / 10).await?;
    let all = grow_to(MANY).await?;
    assert!(all.saturating_sub(tenth) < GROWTH, "from {} to {} MiB", tenth >> 20, all >> 20);
    assert_eq!(node.store.stats().waiting, MANY as u64);
    drop(node);

    let from = clock.monotonic();
    let node = Node::open(&path, &clock).await?;
    let taken = clock.monotonic() - from;
    assert!(taken < PATIENCE, "the start took {taken:?}");
    assert_eq!(node.store.stats().waiting, MANY as u64);
    let mut claimed = Vec::new();
    for _ in 0..10 {
        let claims = node.store.claim(&node.session, 100).await?.claims;
        let runs = claims.into_iter().map(|claim| claim.run).collect::<Vec<_>>();
        claimed.extend(runs.iter().map(|run| run.id));
        let runs = node.begin(&runs).await?;
        node.end(&runs).await?;
    }
    assert_eq!(claimed, oldest);
    assert!(resident().saturating_sub(tenth) < GROWTH, "{} MiB", resident() >> 20);
    Ok(())
}
