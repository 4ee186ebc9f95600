//! The state in memory, rebuilt from the tables when a store is opened.

use super::read::absent;
use super::state::Ledger;
use super::tables::{Digest, Head, HeadStatus, Lane, LaneKind, OpenKey, OpenMark, Tables};
use crate::error::Error;
use crate::queue::Item;
use jiff::Timestamp;
use punctual_model::{Run, RunId, TaskId, TaskSpec, TaskType, Work};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;
use std::sync::Arc;

impl Ledger {
    /// Rebuilds the state from the tables: one pass over the crews, a record for each run in them, and one pass over
    /// the open index. A record that cannot be read costs its own run only.
    ///
    /// # Errors
    /// [`Error::Failed`] if the tables do not answer.
    pub fn open<T: Tables>(tables: &T, now: Timestamp) -> Result<Self, Error> {
        let meta = absent(tables.meta())?.unwrap_or_default();
        let (task, run) = tables.last_ids()?;
        let highest_id = task.map_or(0, TaskId::get).max(run.map_or(0, RunId::get)).max(meta.id_floor);
        let mut ledger = Self::empty(now);
        ledger.meta = meta;
        ledger.session.epoch = meta.epoch;
        ledger.highest_id = highest_id;
        ledger.ids.raise_floor(highest_id);
        let (mut crews, mut heads) = (Vec::new(), BTreeMap::new());
        tables.crews(&mut |crew, runs| {
            crews.push((crew, runs));
            ControlFlow::Continue(())
        })?;
        for (crew, runs) in crews {
            ledger.recall(tables, crew, &runs, &mut heads)?;
        }
        let mut failed = None;
        let mut current: Option<(TaskId, Option<Head>)> = None;
        tables.open(None, &mut |key, mark| {
            let step = ledger.reopen(tables, key, mark, &mut current);
            step.map_or_else(
                |error| {
                    failed = Some(error);
                    ControlFlow::Break(())
                },
                ControlFlow::Continue,
            )
        })?;
        failed.map_or(Ok(()), Err)?;
        ledger.close_if_deleted(current);
        ledger.queue.take_stirred();
        Ok(ledger)
    }

    /// Takes up the runs of a crew that are at work still.
    fn recall<T: Tables>(
        &mut self,
        tables: &T,
        crew: u64,
        runs: &[RunId],
        heads: &mut BTreeMap<TaskId, Option<Head>>,
    ) -> Result<(), Error> {
        let (mut working, mut unreadable) = (Vec::new(), 0);
        for id in runs {
            match tables.run(*id) {
                Ok(Some(run)) if run.state().is_at_work() => {
                    let head = match heads.entry(run.task) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(place) => place.insert(absent(tables.head(run.task))?),
                    };
                    working.push(*id);
                    self.take_up(run, head.as_ref());
                }
                Ok(Some(_) | None) => {}
                Err(Error::Unreadable { .. }) => unreadable += 1,
                Err(error) => return Err(error),
            }
        }
        self.crews.restore(crew, &working, unreadable);
        Ok(())
    }

    /// What is at work has to be ended, or watched further, whatever became of its task's record.
    fn take_up(&mut self, run: Run, head: Option<&Head>) {
        let unlimited = || Digest::of(&TaskType::default(), &TaskSpec::new("", Work::shell("")));
        let digest = head.map_or_else(unlimited, |head| head.digest.clone());
        self.queue.restore(Lane::of(&run), run.id, &digest);
        if head.is_some_and(|head| head.status == HeadStatus::Deleted) {
            self.queue.close(run.task);
        }
        self.at_work.insert(run.id, Arc::new(run));
    }

    fn reopen<T: Tables>(
        &mut self,
        tables: &T,
        key: OpenKey,
        mark: OpenMark,
        current: &mut Option<(TaskId, Option<Head>)>,
    ) -> Result<(), Error> {
        if key.lane.kind == LaneKind::Untold {
            self.untold.insert(key.run, key);
            return Ok(());
        }
        let task = key.lane.task;
        if current.as_ref().is_none_or(|(id, _)| *id != task) {
            let next = (task, absent(tables.head(task))?);
            let done = current.replace(next);
            self.close_if_deleted(done);
        }
        let head = current.as_ref().and_then(|(_, head)| head.as_ref());
        if mark.at_work {
            if let Some(run) = absent(tables.run(key.run))?.filter(|run| run.state().is_at_work()) {
                self.take_up(run, head);
                self.of_format_1.push(key);
            }
        } else if let Some(head) = head {
            self.queue.add(key.lane, Item::of(key, mark.begun), &head.digest);
        }
        Ok(())
    }

    fn close_if_deleted(&mut self, task: Option<(TaskId, Option<Head>)>) {
        if let Some((id, Some(head))) = task
            && head.status == HeadStatus::Deleted
        {
            self.queue.close(id);
        }
    }
}
