//! The behaviours that every store has, shown by the embedded one, with a real directory under each.

use super::embedded::FjallStore;
use super::key;
use super::open::open;
use super::options::{FreeSpace, Options};
use crate::conformance::Subject;
use crate::store::Store;
use async_trait::async_trait;
use fjall::{Keyspace, PersistMode};
use jiff::Timestamp;
use punctual_clock::VirtualClock;
use punctual_model::{RunId, TaskId};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

pub(super) struct Embedded {
    folder: TempDir,
    clock: VirtualClock,
    /// None only while it is reopened.
    store: Option<Arc<FjallStore>>,
}

pub(super) fn embedded() -> Embedded {
    let folder = tempfile::tempdir().unwrap();
    let clock = VirtualClock::new(Timestamp::constant(1_767_225_600, 0));
    let mut subject = Embedded { folder, clock, store: None };
    subject.open();
    subject
}

pub(super) fn options() -> Options {
    // How full the disk of a test machine is must not matter.
    Options { free_space: FreeSpace::Bytes(0), ..Options::default() }
}

impl Embedded {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn open(&mut self) {
        let store = FjallStore::open(self.path(), Arc::new(self.clock.clone()), &options()).unwrap();
        self.store = Some(Arc::new(store));
    }

    pub(super) fn crash(&mut self) {
        let store = Arc::into_inner(self.store.take().unwrap()).expect("somebody kept the store");
        store.crash();
    }

    /// Overwrites a record behind the back of a closed store.
    fn damage<const N: usize>(
        &mut self,
        key: [u8; N],
        keyspace: impl Fn(&super::keyspaces::Keyspaces) -> &Keyspace,
    ) {
        self.crash();
        let opened = open(&self.path(), &options()).unwrap();
        let keyspace = keyspace(&opened.core.keyspaces);
        assert!(keyspace.contains_key(key).unwrap());
        keyspace.insert(key, [1, 0xff]).unwrap();
        opened.core.database.persist(PersistMode::SyncAll).unwrap();
        drop(opened);
        self.open();
    }
}

#[async_trait]
impl Subject for Embedded {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    async fn reopen(&mut self) {
        self.crash();
        self.open();
    }

    async fn damage_run(&mut self, run: RunId) {
        self.damage(run.to_key(), |keyspaces| &keyspaces.runs);
    }

    async fn damage_task(&mut self, task: TaskId) {
        self.damage(task.to_key(), |keyspaces| &keyspaces.heads);
    }

    async fn damage_definition(&mut self, task: TaskId) {
        self.damage(key::pair(task.get(), 1), |keyspaces| &keyspaces.definitions);
    }

    fn many(&self) -> usize {
        20_000
    }
}

crate::conformance!(async { embedded() });
