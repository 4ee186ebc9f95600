//! The committed state as the ledger reads it, and the changes that it wants, as keys and bytes.

use super::definitions::Definitions;
use super::in_order::InOrder;
use super::key;
use super::keyspaces::Keyspaces;
use crate::error::Error;
use crate::ledger::{Change, Defined, Head, Meta, OpenKey, OpenMark, Quarantine, Tables};
use crate::record::{self, Unreadable};
use fjall::{Database, Guard, Keyspace, OwnedWriteBatch, Readable, Snapshot, UserValue};
use punctual_model::{Run, RunId, Task, TaskId, TaskType};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// The key of the record about the store.
const META: &[u8] = b"meta";
/// The key of the number of the last commit: eight bytes.
pub(super) const SEQUENCE: &[u8] = b"sequence";

/// The key of the number of the last commit that was synced when this one was written: eight bytes. A batch has it if
/// that was not the one before. Only the journals are asked for it.
pub(super) const SYNCED: &[u8] = b"synced";

/// The open database with everything that decoding needs.
pub(super) struct Core {
    pub(super) database: Database,
    pub(super) keyspaces: Keyspaces,
    pub(super) quarantine: Quarantine,
    pub(super) definitions: Definitions,
}

/// The state at one moment. Cheap to make; not to be kept, since the database keeps for it what was deleted
/// since.
pub(super) struct View<'a> {
    core: &'a Core,
    snapshot: Snapshot,
}

impl Core {
    /// What is committed now.
    pub(super) fn view(&self) -> View<'_> {
        View { core: self, snapshot: self.database.snapshot() }
    }

    /// The number of the last commit; 0 before the first.
    pub(super) fn sequence(&self) -> Result<u64, Error> {
        match self.keyspaces.meta.get(SEQUENCE).map_err(failed)? {
            None => Ok(0),
            Some(value) => key::number(&value).ok_or_else(|| Error::Failed {
                reason: "the number of the last commit cannot be read".to_owned(),
            }),
        }
    }

    /// A batch that carries its number, and that of the last one that is synced.
    pub(super) fn batch(&self, sequence: u64, synced: u64, changes: usize) -> OwnedWriteBatch {
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), changes + 2);
        batch.insert(&self.keyspaces.meta, SEQUENCE, sequence.to_be_bytes());
        if synced + 1 < sequence {
            batch.insert(&self.keyspaces.meta, SYNCED, synced.to_be_bytes());
        }
        batch
    }

    /// Adds a change to a batch.
    pub(super) fn add(&self, batch: &mut OwnedWriteBatch, change: &Change<'_>) -> Result<(), Error> {
        let at = &self.keyspaces;
        let mut put = |keyspace: &Keyspace, key: &[u8], value: Option<&[u8]>| match value {
            Some(value) => batch.insert(keyspace, key, value),
            None => batch.remove(keyspace, key),
        };
        match change {
            Change::Meta(meta) => put(&at.meta, META, Some(&record::encode_meta(*meta))),
            Change::Run(id, run) => put(&at.runs, &id.to_key(), run.map(record::encode_run).as_deref()),
            Change::Head(task, head) => put(&at.heads, &task.to_key(), Some(&record::encode_head(head))),
            Change::Definition(task, revision, definition) => {
                let value = definition.map(|task| record::encode_task(task)).transpose();
                let value = value.map_err(|error| Error::Failed { reason: error.to_string() })?;
                put(&at.definitions, &key::pair(task.get(), *revision), value.as_deref());
            }
            Change::Name(kind, name, task) => {
                put(&at.names, &key::name(kind, name), task.map(TaskId::to_key).as_ref().map(|key| &key[..]));
            }
            Change::Key(task, text, run) => {
                let value = run.map(RunId::to_key);
                put(&at.keys, &key::idempotency(*task, text), value.as_ref().map(|key| &key[..]));
            }
            Change::Open(open, mark) => {
                put(&at.open, &key::open(*open), mark.map(key::mark).as_ref().map(|mark| &mark[..]));
            }
            Change::OfTask(task, run, there) => {
                put(&at.of_task, &key::pair(task.get(), run.get()), there.then_some(&[][..]));
            }
            Change::Crew(crew, runs) => {
                put(&at.meta, &key::crew(*crew), runs.map(key::runs).as_deref());
            }
        }
        Ok(())
    }

    /// A batch with this change is durable.
    pub(super) fn took(&self, change: &Change<'_>) {
        match change {
            Change::Definition(_, _, Some(definition)) => self.definitions.keep(definition),
            Change::Definition(task, revision, None) => self.definitions.forget(*task, *revision),
            _ => {}
        }
    }
}

/// The database does not answer.
pub(super) fn failed(error: fjall::Error) -> Error {
    Error::Failed { reason: error.to_string() }
}

impl View<'_> {
    /// Looks at what is committed by now.
    pub(super) fn refresh(&mut self) {
        self.snapshot = self.core.database.snapshot();
    }

    /// Reads one record; what cannot be decoded goes into the quarantine.
    fn get<T>(
        &self,
        kind: &'static str,
        keyspace: &Keyspace,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.lookup(keyspace, key)? else { return Ok(None) };
        decode(&value).map(Some).map_err(|error| self.core.quarantine.report(kind, key, error))
    }

    /// Hands on what a scan finds until it is enough; entries that cannot be decoded go into the quarantine.
    fn scan<T>(
        &self,
        kind: &'static str,
        entries: impl Iterator<Item = Guard>,
        decode: impl Fn(&[u8], &[u8]) -> Result<T, Unreadable>,
        visit: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for entry in entries {
            let (key, value) = entry.into_inner().map_err(failed)?;
            match decode(&key, &value) {
                Ok(item) => {
                    if visit(item).is_break() {
                        break;
                    }
                }
                Err(error) => {
                    self.core.quarantine.report(kind, &key, error);
                }
            }
        }
        Ok(())
    }

    /// The bytes of one record.
    pub(super) fn lookup(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<UserValue>, Error> {
        self.snapshot.get(keyspace, key).map_err(failed)
    }

    /// All entries from this key on.
    pub(super) fn from(&self, keyspace: &Keyspace, key: &[u8]) -> fjall::Iter {
        self.snapshot.range(keyspace, key..)
    }

    /// The definition in this entry.
    fn decode_definition(
        &self,
        task: TaskId,
        revision: u64,
        key: &[u8],
        value: &[u8],
    ) -> Result<Arc<Task>, Error> {
        let found = record::decode_task(value).and_then(|found| {
            // Damage could make it another one's.
            if (found.id, found.revision) == (task, revision) { Ok(Arc::new(found)) } else { Err(bad_key()) }
        });
        found.map_err(|error| self.core.quarantine.report("definition", key, error))
    }

    fn ids(&self, keyspace: &Keyspace) -> Result<Option<u64>, Error> {
        let Some(last) = self.snapshot.last_key_value(keyspace) else { return Ok(None) };
        Ok(key::number(&last.key().map_err(failed)?))
    }
}

fn bad_key() -> Unreadable {
    Unreadable::Content("its key is not one of ours".to_owned())
}

impl Tables for View<'_> {
    fn meta(&self) -> Result<Option<Meta>, Error> {
        self.get("meta", &self.core.keyspaces.meta, META, record::decode_meta)
    }

    fn run(&self, id: RunId) -> Result<Option<Run>, Error> {
        self.get("run", &self.core.keyspaces.runs, &id.to_key(), |value| record::decode_run(id, value))
    }

    fn head(&self, task: TaskId) -> Result<Option<Head>, Error> {
        self.get("head", &self.core.keyspaces.heads, &task.to_key(), record::decode_head)
    }

    fn definition(&self, task: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        if let Some(found) = self.core.definitions.get(task, revision) {
            return Ok(Some(found));
        }
        let key = key::pair(task.get(), revision);
        let Some(value) = self.lookup(&self.core.keyspaces.definitions, &key)? else { return Ok(None) };
        let found = self.decode_definition(task, revision, &key, &value)?;
        self.core.definitions.keep(&found);
        Ok(Some(found))
    }

    fn name(&self, kind: &TaskType, name: &str) -> Result<Option<TaskId>, Error> {
        let key = key::name(kind, name);
        self.get("name", &self.core.keyspaces.names, &key, |value| {
            key::number(value).and_then(TaskId::new).ok_or_else(bad_key)
        })
    }

    fn key(&self, task: TaskId, text: &str) -> Result<Option<RunId>, Error> {
        let key = key::idempotency(task, text);
        self.get("idempotency key", &self.core.keyspaces.keys, &key, |value| {
            key::number(value).and_then(RunId::new).ok_or_else(bad_key)
        })
    }

    fn heads(
        &self,
        after: Option<TaskId>,
        visit: &mut dyn FnMut(TaskId, Head) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_key()));
        let entries = self.snapshot.range(&self.core.keyspaces.heads, (from, Bound::Unbounded));
        let decode = |key: &[u8], value: &[u8]| {
            let task = key::number(key).and_then(TaskId::new).ok_or_else(bad_key)?;
            Ok((task, record::decode_head(value)?))
        };
        self.scan("head", entries, decode, &mut |(task, head)| visit(task, head))
    }

    fn rising_definitions(&self) -> Box<dyn FnMut(TaskId, u64) -> Defined + '_> {
        let mut definitions = InOrder::of(self, &self.core.keyspaces.definitions);
        Box::new(move |task, revision| {
            let key = key::pair(task.get(), revision);
            let Some(value) = definitions.read(&key)? else { return Ok(None) };
            self.decode_definition(task, revision, &key, &value).map(Some)
        })
    }

    fn rising_heads(&self) -> Box<dyn FnMut(TaskId) -> Result<Option<Head>, Error> + '_> {
        let mut heads = InOrder::of(self, &self.core.keyspaces.heads);
        Box::new(move |task| {
            let key = task.to_key();
            let Some(value) = heads.read(&key)? else { return Ok(None) };
            let head = record::decode_head(&value);
            head.map(Some).map_err(|error| self.core.quarantine.report("head", &key, error))
        })
    }

    fn open(
        &self,
        from: Option<OpenKey>,
        visit: &mut dyn FnMut(OpenKey, OpenMark) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let from = from.map_or(Bound::Unbounded, |from| Bound::Included(key::open(from)));
        let entries = self.snapshot.range(&self.core.keyspaces.open, (from, Bound::Unbounded));
        let decode =
            |key: &[u8], value: &[u8]| key::read_open(key).zip(key::read_mark(value)).ok_or_else(bad_key);
        self.scan("open run", entries, decode, &mut |(key, mark)| visit(key, mark))
    }

    fn crews(&self, visit: &mut dyn FnMut(u64, Vec<RunId>) -> ControlFlow<()>) -> Result<(), Error> {
        let (first, last) = (key::crew(0), key::crew(u64::MAX));
        let entries = self.snapshot.range(&self.core.keyspaces.meta, first..=last);
        let decode =
            |key: &[u8], value: &[u8]| key::read_crew(key).zip(key::read_runs(value)).ok_or_else(bad_key);
        self.scan("crew", entries, decode, &mut |(crew, runs)| visit(crew, runs))
    }

    fn runs(
        &self,
        after: Option<RunId>,
        newest_first: bool,
        visit: &mut dyn FnMut(Run) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let after = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_key()));
        let bounds = if newest_first { (Bound::Unbounded, after) } else { (after, Bound::Unbounded) };
        let entries = self.snapshot.range(&self.core.keyspaces.runs, bounds);
        let decode = |key: &[u8], value: &[u8]| {
            record::decode_run(key::number(key).and_then(RunId::new).ok_or_else(bad_key)?, value)
        };
        if newest_first {
            self.scan("run", entries.rev(), decode, visit)
        } else {
            self.scan("run", entries, decode, visit)
        }
    }

    fn runs_of(
        &self,
        task: TaskId,
        after: Option<RunId>,
        newest_first: bool,
        visit: &mut dyn FnMut(RunId) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let first = Bound::Included(key::pair(task.get(), 0));
        let last = Bound::Included(key::pair(task.get(), u64::MAX));
        let after = after.map(|after| Bound::Excluded(key::pair(task.get(), after.get())));
        let bounds =
            if newest_first { (first, after.unwrap_or(last)) } else { (after.unwrap_or(first), last) };
        let entries = self.snapshot.range(&self.core.keyspaces.of_task, bounds);
        let decode = |key: &[u8], _: &[u8]| key::second(key).and_then(RunId::new).ok_or_else(bad_key);
        if newest_first {
            self.scan("run of a task", entries.rev(), decode, visit)
        } else {
            self.scan("run of a task", entries, decode, visit)
        }
    }

    fn last_ids(&self) -> Result<(Option<TaskId>, Option<RunId>), Error> {
        let at = &self.core.keyspaces;
        Ok((self.ids(&at.heads)?.and_then(TaskId::new), self.ids(&at.runs)?.and_then(RunId::new)))
    }
}
