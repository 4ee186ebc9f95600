//! New runs: dues with their checkpoints, and runs that somebody asked for. Of those that are ready some start
//! at once, if the caller has workers for them and the queue finds nobody who comes first.

use super::batch::{Effect, KnownHead};
use super::judge::Court;
use super::progress;
use super::read::{self, absent, view};
use super::size;
use super::tables::{HeadStatus, Lane, Tables};
use crate::error::Error;
use crate::store::{Enqueued, Materialise, Materialised, Session};
use punctual_model::{CancelWhy, Life, Run, RunEvent, RunState};
use std::sync::Arc;

impl<T: Tables> Court<'_, T> {
    pub(super) fn materialise(
        &mut self,
        session: &Session,
        dues: Vec<Materialise>,
    ) -> Result<Vec<Materialised>, Error> {
        dues.iter().flat_map(|due| &due.births).try_for_each(size::check_run)?;
        self.read_heads(&dues)?;
        dues.into_iter().map(|due| self.materialise_one(session, due)).collect()
    }

    /// Reads the heads of many tasks that are not known yet in the order in which they lie.
    fn read_heads(&mut self, dues: &[Materialise]) -> Result<(), Error> {
        let mut missing: Vec<_> = dues.iter().map(|due| due.task).collect();
        missing.retain(|task| !self.batch.heads.contains_key(task) && !self.ledger.heads.has(*task));
        if missing.len() < read::MANY {
            return Ok(());
        }
        missing.sort_unstable();
        missing.dedup();
        let mut read = self.tables.rising_heads();
        for task in missing {
            match read(task) {
                Ok(head) => drop(self.batch.heads.insert(task, KnownHead { head, written: false })),
                // Whoever asks for it by itself is told.
                Err(Error::Unreadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn materialise_one(&mut self, session: &Session, due: Materialise) -> Result<Materialised, Error> {
        let Some(mut head) = absent(self.head(due.task).map(|head| head.cloned()))? else {
            return Ok(Materialised::Stale(None));
        };
        if head.status != HeadStatus::Active
            || head.revision != due.revision
            || head.progress.checkpoint != due.seen_checkpoint
        {
            return Ok(Materialised::Stale(self.stored(due.task)?));
        }
        head.progress.checkpoint = head.progress.checkpoint.max(Some(due.checkpoint));
        for birth in &due.births {
            progress::count_due(&mut head, birth);
        }
        self.batch.put_head(due.task, head);
        let mut replaced = Vec::new();
        for id in due.replaces {
            if let Some(run) = self.run(id)?.filter(|run| run.task == due.task && !run.state().is_terminal())
            {
                replaced.push(self.wish_end(&run, CancelWhy::Replaced)?);
            }
        }
        let mut reserved = due.reserved;
        let births = due.births.into_iter().map(|birth| self.bear(session, birth, &mut reserved));
        Ok(Materialised::Stored { births: births.collect::<Result<_, _>>()?, replaced })
    }

    pub(super) fn enqueue(
        &mut self,
        session: &Session,
        runs: Vec<Run>,
        mut reserved: usize,
    ) -> Result<Vec<Enqueued>, Error> {
        runs.iter().try_for_each(size::check_run)?;
        runs.into_iter().map(|run| self.enqueue_one(session, run, &mut reserved)).collect()
    }

    fn enqueue_one(&mut self, session: &Session, run: Run, reserved: &mut usize) -> Result<Enqueued, Error> {
        let exists = absent(self.head(run.task).map(|head| head.map(|head| head.status)))?;
        if exists.is_none_or(|status| status == HeadStatus::Deleted) {
            return Ok(Enqueued::TaskGone);
        }
        if let Some(key) = &run.idempotency_key {
            if let Some(id) = self.key(run.task, key)?
                && let Some(existing) = self.run(id)?
            {
                return Ok(Enqueued::Existing(view(Run::clone(&existing), self.now)));
            }
            self.batch.keys.insert((run.task, key.clone()), Some(run.id));
        }
        self.bear(session, run, reserved).map(Enqueued::Accepted)
    }

    /// Stores a new run; at once `Starting` if it is ready, a worker is reserved for it, and it would be the
    /// next to be claimed.
    fn bear(&mut self, session: &Session, mut run: Run, reserved: &mut usize) -> Result<Run, Error> {
        if run.state().is_at_work() {
            // Only the queue makes a run begin.
            run.life = Life::born(RunState::Queued);
        }
        let lane = Lane::of(&run);
        let head = absent(self.head(run.task).map(|head| head.cloned()))?;
        if let Some(head) = head
            && *reserved > 0
            && run.state().is_waiting()
            && run.ready_at() <= self.now
            && !self.batch.crowded.contains(&lane)
            && self.ledger.queue.admit(lane, run.id, &head.digest, self.now)
        {
            *reserved -= 1;
            run = view(run, self.now);
            // From Queued this is always legal.
            if run.apply(RunEvent::Claimed { epoch: session.epoch }, self.now).is_ok() {
                run.revision = head.revision;
            }
        }
        self.put_run(None, Arc::new(run.clone()))?;
        Ok(view(run, self.now))
    }

    /// Ends a waiting run, or writes the intent to end one at work; whoever runs it is told after the sync.
    pub(super) fn wish_end(&mut self, run: &Run, why: CancelWhy) -> Result<Run, Error> {
        let mut after = run.clone();
        let wished = if run.state().is_waiting() {
            after.apply(RunEvent::Canceled { why }, self.now)
        } else {
            let event = RunEvent::StopAsked { why: why.into(), at: self.now };
            let stopping = punctual_model::event::EventKind::Stopping { why: why.into() };
            after.events.push(punctual_model::event::Event { at: self.now, kind: stopping });
            after.apply(event, self.now)
        };
        if wished.is_err() {
            // It is being stopped already, for whatever reason came first.
            return Ok(run.clone());
        }
        size::fit(&mut after, self.now);
        self.put_run(Some(run), Arc::new(after.clone()))?;
        if after.state().is_terminal() && run.life.ends_untold(RunEvent::Canceled { why }) {
            self.batch.owe(&after);
        } else {
            self.batch.effects.push(Effect::Changed(run.id));
        }
        Ok(after)
    }
}
