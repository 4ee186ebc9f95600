//! Steps of runs' lives, each conditional on what was read, and the wish to end runs.

use super::judge::Court;
use super::progress::{follow_up, one_too_many};
use super::read::{absent, view};
use super::size;
use super::tables::{HeadStatus, Lane, LaneKind, OpenKey, Tables};
use crate::error::Error;
use crate::store::{CancelAnswer, Edge, EdgeAnswer, Fence, Session};
use jiff::Timestamp;
use punctual_faults::{Defect, seeded};
use punctual_model::event::{Event, EventKind};
use punctual_model::{CancelWhy, Run, RunEvent, RunId, RunState, TaskId};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::Arc;

impl<T: Tables> Court<'_, T> {
    pub(super) fn transition(
        &mut self,
        session: &Session,
        edges: Vec<Edge>,
    ) -> Result<Vec<EdgeAnswer>, Error> {
        edges.into_iter().map(|edge| self.step(session, edge)).collect()
    }

    fn step(&mut self, session: &Session, edge: Edge) -> Result<EdgeAnswer, Error> {
        let Some(run) = self.run(edge.run)? else { return Ok(EdgeAnswer::Unknown) };
        let (edge_at, event) = (edge.at, edge.event);
        match self.stepped(session, &run, edge)? {
            Some(mut after) => {
                let ends = after.state().is_terminal() && !run.state().is_terminal();
                let follow_up = if ends { self.follow_up(&mut after)? } else { None };
                let failures = if ends { self.one_too_many(&after)? } else { None };
                if let Some(failures) = failures {
                    after.events.push(Event { at: edge_at, kind: EventKind::TaskPaused { failures } });
                }
                if follow_up.is_some() || failures.is_some() {
                    size::fit(&mut after, edge_at);
                }
                let task = after.task;
                let answer = view(after.clone(), self.now);
                let after = Arc::new(after);
                self.put_run(Some(&run), Arc::clone(&after))?;
                if ends && run.life.ends_untold(event) {
                    self.batch.owe(&after);
                }
                // In the same commit as the end that it is about, which happens once: so there is exactly one.
                if let Some(follow_up) = follow_up {
                    self.put_run(None, Arc::new(follow_up))?;
                }
                if let Some(failures) = failures {
                    self.pause(task, failures, edge_at)?;
                }
                Ok(EdgeAnswer::Applied(answer))
            }
            None => Ok(EdgeAnswer::Stale(view(Run::clone(&run), self.now))),
        }
    }

    fn one_too_many(&mut self, after: &Run) -> Result<Option<u32>, Error> {
        let head = absent(self.head(after.task).map(|head| head.cloned()))?;
        Ok(head.and_then(|head| one_too_many(&head, after)))
    }

    /// The run that tells of this end, if its task wants that; the ended run says so.
    fn follow_up(&mut self, after: &mut Run) -> Result<Option<Run>, Error> {
        let Some(head) = absent(self.head(after.task).map(|head| head.cloned()))? else { return Ok(None) };
        let Some((trigger, failures)) = follow_up(&head, after) else { return Ok(None) };
        let id = RunId::from(self.ledger.ids.next_at(self.now));
        let born = Run::follow_up(id, after, trigger, head.revision, failures, self.now);
        let kind =
            EventKind::Message { source: trigger.as_str().to_owned(), text: format!("told by the run {id}") };
        after.events.push(Event { at: self.now, kind });
        Ok(Some(born))
    }

    /// The record after the edge; none if it cannot be taken.
    fn stepped(&mut self, session: &Session, run: &Run, edge: Edge) -> Result<Option<Run>, Error> {
        if Fence::of(run) != edge.fence && !seeded(Defect::EpochUnchecked) {
            return Ok(None);
        }
        let mut after = run.clone();
        match edge.event {
            RunEvent::Claimed { epoch } => {
                if epoch != session.epoch || !self.may_begin(run, edge.patch.revision)? {
                    return Ok(None);
                }
                if let RunState::Scheduled { at } = after.state() {
                    // Its time had come when it was claimed, whatever the wall clock does since.
                    let now = edge.at.max(at);
                    if after.apply(RunEvent::Due { now }, now).is_err() {
                        return Ok(None);
                    }
                }
                after.revision = edge.patch.revision.unwrap_or(after.revision);
            }
            RunEvent::Adopted { epoch } if epoch != session.epoch => return Ok(None),
            // Time is never a write.
            RunEvent::Due { .. } => return Ok(None),
            RunEvent::Adopted { .. }
            | RunEvent::Started
            | RunEvent::Noted
            | RunEvent::StopAsked { .. }
            | RunEvent::Succeeded
            | RunEvent::Failed
            | RunEvent::TimedOut
            | RunEvent::Restarting { .. }
            | RunEvent::Canceled { .. }
            | RunEvent::Interrupted
            | RunEvent::Lost { .. } => {}
        }
        if after.apply(edge.event, edge.at).is_err() {
            return Ok(None);
        }
        let patch = edge.patch;
        if patch.outcome.is_some() {
            after.outcome = patch.outcome;
        }
        if let Some(restarts) = patch.restarts {
            after.restarts = restarts;
        }
        if let Some(saved) = patch.saved {
            after.saved = saved;
        }
        if let Some(local) = patch.local.filter(|_| !after.state().is_terminal()) {
            after.local = local;
        }
        for event in patch.events {
            after.events.push(event);
        }
        size::fit(&mut after, edge.at);
        Ok(Some(after))
    }

    /// Whether a claimed run may begin with this revision.
    fn may_begin(&mut self, run: &Run, revision: Option<u64>) -> Result<bool, Error> {
        if !self.ledger.queue.is_claimed(run.id) {
            return Ok(false);
        }
        let head = absent(self.head(run.task).map(|head| head.cloned()))?;
        Ok(head.is_some_and(|head| head.status != HeadStatus::Deleted && revision == Some(head.revision)))
    }

    pub(super) fn cancel(&mut self, runs: Vec<(RunId, CancelWhy)>) -> Result<Vec<CancelAnswer>, Error> {
        let mut answers = Vec::with_capacity(runs.len());
        for (id, why) in runs {
            answers.push(match self.run(id)? {
                None => CancelAnswer::Unknown,
                Some(run) if run.state().is_terminal() && seeded(Defect::TerminalOverwritten) => {
                    let mut after = Run::clone(&run);
                    after.life.state = RunState::Canceled { why };
                    self.put_run(Some(&run), Arc::new(after.clone()))?;
                    CancelAnswer::Ended(after)
                }
                Some(run) if run.state().is_terminal() => CancelAnswer::AlreadyEnded(Run::clone(&run)),
                Some(run) => {
                    let after = self.wish_end(&run, why)?;
                    if after.state().is_terminal() {
                        CancelAnswer::Ended(after)
                    } else {
                        CancelAnswer::Stopping(after)
                    }
                }
            });
        }
        Ok(answers)
    }

    pub(super) fn told(&mut self, runs: Vec<RunId>) {
        for key in runs.into_iter().filter_map(|run| self.ledger.untold.get(&run).copied()) {
            self.batch.told(key);
        }
    }

    /// Whether hooks of an ended run are to be told.
    pub(super) fn is_untold(&self, run: &Run) -> bool {
        match self.batch.open.get(&OpenKey::untold(run)) {
            Some(mark) => mark.is_some(),
            None => self.ledger.untold.contains_key(&run.id),
        }
    }

    pub(super) fn cancel_waiting(
        &mut self,
        task: TaskId,
        why: CancelWhy,
        max: usize,
    ) -> Result<Vec<Run>, Error> {
        let mut ended = Vec::new();
        for kind in LaneKind::ALL {
            for key in self.waiting_of(Lane { task, kind }, max - ended.len())? {
                // An entry whose run cannot be read stays behind; it can never be started either.
                if let Some(run) = self.run(key.run)?.filter(|run| run.state().is_waiting()) {
                    ended.push(self.wish_end(&run, why)?);
                }
            }
        }
        Ok(ended)
    }

    /// The first waiting runs of a lane, as the batch leaves it. The scan starts where the queue knows the
    /// first of them to be.
    fn waiting_of(&self, lane: Lane, max: usize) -> Result<Vec<OpenKey>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut keys = Vec::new();
        if let Some((ready, run)) = self.ledger.queue.low(lane) {
            self.tables.open(Some(OpenKey { lane, ready, run }), &mut |key, mark| {
                if key.lane != lane || keys.len() >= max {
                    return ControlFlow::Break(());
                }
                if !mark.at_work && !self.batch.open.contains_key(&key) {
                    keys.push(key);
                }
                ControlFlow::Continue(())
            })?;
        }
        let first = OpenKey { lane, ready: Timestamp::MIN, run: RunId::from(NonZeroU64::MIN) };
        let last = OpenKey { lane, ready: Timestamp::MAX, run: RunId::from(NonZeroU64::MAX) };
        let fresh = self.batch.open.range(first..=last);
        keys.extend(fresh.filter(|(_, mark)| mark.is_some_and(|mark| !mark.at_work)).map(|(key, _)| *key));
        keys.sort_unstable();
        keys.truncate(max);
        Ok(keys)
    }
}
