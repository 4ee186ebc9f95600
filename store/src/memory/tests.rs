//! The memory store passes the suite, and any shrunken history.

use super::MemoryStore;
use crate::conformance::{Subject, model};
use crate::store::{SessionStore, Store};
use async_trait::async_trait;
use jiff::Timestamp;
use proptest::prelude::*;
use punctual_clock::VirtualClock;
use punctual_model::{RunId, TaskId};
use std::sync::Arc;

const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

struct Memory {
    store: Arc<MemoryStore>,
    clock: VirtualClock,
}

fn memory() -> Memory {
    let clock = VirtualClock::new(START);
    Memory { store: Arc::new(MemoryStore::new(Arc::new(clock.clone()))), clock }
}

#[async_trait]
impl Subject for Memory {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    async fn reopen(&mut self) {
        self.store = Arc::new(self.store.crash());
    }

    async fn damage_run(&mut self, run: RunId) {
        self.store.damage_run(run);
    }

    async fn damage_task(&mut self, task: TaskId) {
        self.store.damage_task(task);
    }

    async fn damage_definition(&mut self, task: TaskId) {
        self.store.damage_definition(task);
    }

    fn many(&self) -> usize {
        10_000
    }
}

crate::conformance!(async { memory() });

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_shrunken_history_keeps_the_invariants(
        ops in proptest::collection::vec(any::<[u16; 4]>(), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(model::play(&mut memory(), &ops));
    }
}

#[tokio::test]
async fn a_recording_store_crashes_at_any_commit_and_the_old_one_is_dead() {
    let clock = Arc::new(VirtualClock::new(START));
    let store = MemoryStore::recording(clock);
    for _ in 0..3 {
        store.open_session("n").await.unwrap();
    }
    let later = store.crash_at(2);
    assert!(store.open_session("n").await.is_err());
    assert_eq!(later.open_session("n").await.unwrap().epoch, 3);
    let first = later.crash_at(0);
    assert_eq!(first.open_session("n").await.unwrap().epoch, 1);
}
