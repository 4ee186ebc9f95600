//! What an embedded store holds in memory beside its tables: the queue, the runs at work, the session. Rebuilt
//! from the tables at open; changed only by what is durable, except for claims and the places they take.

use super::batch::{Batch, Effect, SessionState};
use super::crews::Crews;
use super::fresh::FreshRuns;
use super::heads::KnownHeads;
use super::read::{absent, view};
use super::tables::{HeadStatus, Meta, OpenKey, Tables, kind_name};
use crate::error::Error;
use crate::queue::{FRONT, Item, Queue};
use crate::store::{Claim, Claims, Session, SoftNote, StoreStats};
use crate::tally::{self, Tallies};
use jiff::Timestamp;
use punctual_clock::IdSequence;
use punctual_model::overlap::Unfinished;
use punctual_model::{Run, RunEvent, RunId, Task, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// A task is reported as overgrown when it keeps this many records more than it may, so that pruning is done
/// in batches and not after each run.
const SLACK: u64 = 25;

/// The state in memory of one open store.
#[derive(Debug)]
pub struct Ledger {
    pub(super) queue: Queue,
    /// Runs at work, with what was noted of them; as many as there are workers.
    pub(super) at_work: BTreeMap<RunId, Arc<Run>>,
    /// How the tables know them.
    pub(super) crews: Crews,
    /// Entries of runs at work in the open index, as format 1 has them; the first session makes crews of them.
    pub(super) of_format_1: Vec<OpenKey>,
    /// Runs that are claimed, as their records are: their start is judged by these.
    pub(super) claimed: BTreeMap<RunId, Arc<Run>>,
    /// Runs that wait, as they were written lately.
    fresh: FreshRuns,
    /// Heads that were needed lately, as they are in the tables.
    pub(super) heads: KnownHeads,
    pub(super) session: SessionState,
    pub(super) meta: Meta,
    /// The highest id seen in any record.
    pub(super) highest_id: u64,
    /// Ids of the runs that come of others.
    pub(super) ids: IdSequence,
    /// Where pruning of a task goes on, while it is not through.
    pub(super) prune_cursors: BTreeMap<TaskId, RunId>,
    /// Notes for runs that the batch in judgement is about: they must not be overwritten by it.
    late_notes: Vec<SoftNote>,
    pub(super) judged: BTreeSet<RunId>,
    overgrown: BTreeSet<TaskId>,
    /// Ended runs whose hooks are to be told.
    pub(super) untold: BTreeMap<RunId, OpenKey>,
    commits: u64,
    requests: u64,
    tallies: Tallies,
}

/// A run that is ready, and its definition.
type Claimable = (Arc<Run>, Arc<Task>);

/// What to do once a batch is durable.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Runs may be ready to be claimed, or to be waited for.
    pub ready: bool,
    /// Runs that ended, or shall stop, by another hand than the one that runs them.
    pub changed: Vec<RunId>,
}

impl Ledger {
    /// The state over empty tables.
    #[must_use]
    pub fn empty(now: Timestamp) -> Self {
        Self {
            queue: Queue::new(now),
            at_work: BTreeMap::new(),
            crews: Crews::default(),
            of_format_1: Vec::new(),
            claimed: BTreeMap::new(),
            fresh: FreshRuns::default(),
            heads: KnownHeads::default(),
            session: SessionState { epoch: 0, closed: true },
            meta: Meta::default(),
            highest_id: 0,
            ids: IdSequence::of_store(),
            prune_cursors: BTreeMap::new(),
            late_notes: Vec::new(),
            judged: BTreeSet::new(),
            overgrown: BTreeSet::new(),
            untold: BTreeMap::new(),
            commits: 0,
            requests: 0,
            tallies: Tallies::default(),
        }
    }

    /// Whether this session may write.
    pub(super) fn check(&self, batch: &Batch, session: &Session) -> Result<(), Error> {
        let state = batch.session.unwrap_or(self.session);
        let current = state.epoch == session.epoch && !state.closed;
        if current { Ok(()) } else { Err(Error::Fenced { epoch: session.epoch }) }
    }

    /// Takes over what a batch has changed, once it is durable. Must be called for each batch, also for one
    /// without changes, before the next is judged.
    ///
    /// # Errors
    /// [`Error::Failed`] if the tables do not answer.
    pub fn settle<T: Tables>(&mut self, batch: Batch, tables: &T) -> Result<Settled, Error> {
        self.requests += batch.requests;
        self.commits += u64::from(!batch.is_empty());
        let Batch { meta, runs, heads, effects, session, prune_cursors, grown, .. } = batch;
        self.meta = meta.unwrap_or(self.meta);
        if let Some(session) = session {
            self.session = session;
            // Whoever held claims is fenced off and cannot give them back.
            self.queue.release_all();
            self.claimed.clear();
        }
        for (task, cursor) in prune_cursors {
            match cursor {
                Some(run) => self.prune_cursors.insert(task, run),
                None => self.prune_cursors.remove(&task),
            };
        }
        let head = |task: TaskId| heads.get(&task).and_then(|known| known.head.as_ref());
        let mut changed = Vec::new();
        for effect in effects {
            match effect {
                Effect::Waits(key, mark) => {
                    let Some(head) = head(key.lane.task) else { continue };
                    self.queue.add(key.lane, Item::of(key, mark.begun), &head.digest);
                    if head.status == HeadStatus::Deleted {
                        self.queue.close(key.lane.task);
                    }
                }
                Effect::Gone(key) => self.queue.remove(key.lane, (key.ready, key.run)),
                Effect::Admitted(lane, run) => self.queue.admitted(lane, run),
                Effect::Begun(run) => self.queue.begun(run),
                Effect::Ended(task, run) => self.queue.ended(task, run),
                Effect::Updated(task) => {
                    if let Some(head) = head(task) {
                        self.queue.update(task, &head.digest);
                    }
                }
                Effect::Closed(task) => self.queue.close(task),
                Effect::Changed(run) => changed.push(run),
                Effect::Untold(key) => drop(self.untold.insert(key.run, key)),
                Effect::Told(run) => drop(self.untold.remove(&run)),
                Effect::Missed(count) => self.tallies.missed_dues += count,
                Effect::Counts(task, step) => {
                    // A head that cannot be read costs the type's name, never the count.
                    let kind = head(task).and_then(|head| {
                        let of_definition = || {
                            let definition = tables.definition(task, head.revision).ok().flatten();
                            definition.map(|task| kind_name(task.kind.as_str()))
                        };
                        head.digest.kind.clone().or_else(of_definition)
                    });
                    self.tallies.of(kind.as_deref().unwrap_or(tally::OTHER)).count(step);
                }
            }
        }
        for (id, run) in runs {
            self.claimed.remove(&id);
            match run {
                Some(run) if run.state().is_at_work() => {
                    self.fresh.take(id);
                    self.at_work.insert(id, run);
                }
                Some(run) if run.state().is_waiting() => {
                    self.at_work.remove(&id);
                    self.fresh.keep(run);
                }
                Some(_) | None => {
                    self.at_work.remove(&id);
                    self.fresh.take(id);
                }
            }
        }
        for (id, known) in &heads {
            let Some(head) = known.head.as_ref().filter(|_| known.written) else { continue };
            let bound = u64::from(head.digest.retention.runs) + SLACK;
            if head.kept_runs.max(head.kept_marks) <= bound {
                self.overgrown.remove(id);
            } else if grown.contains(id) {
                self.overgrown.insert(*id);
            }
        }
        for (id, known) in heads {
            self.heads.keep(id, known.head);
        }
        self.judged.clear();
        let late = std::mem::take(&mut self.late_notes);
        self.note(late);
        self.feed(tables)?;
        Ok(Settled { ready: self.queue.take_stirred(), changed })
    }

    /// Takes ready runs from the queue; writes nothing. Called between batches, never between a judgement and
    /// its settlement.
    ///
    /// # Errors
    /// [`Error::Fenced`], or [`Error::Failed`] if the tables do not answer.
    pub fn claim<T: Tables>(
        &mut self,
        session: &Session,
        max: usize,
        tables: &T,
        now: Timestamp,
    ) -> Result<Claims, Error> {
        self.check(&Batch::new(), session)?;
        let mut claims = Vec::new();
        while claims.len() < max {
            self.feed(tables)?;
            let Some((_, item)) = self.queue.claim(now) else { break };
            match self.claimable(tables, item)? {
                Some((run, task)) => {
                    claims.push(Claim { run: view(Run::clone(&run), now), task });
                    self.claimed.insert(run.id, run);
                }
                None => self.queue.discard(item.run),
            }
        }
        self.feed(tables)?;
        // Whatever the claims moved, the caller has just looked at.
        self.queue.take_stirred();
        Ok(Claims { claims, next_ready: self.queue.next_ready() })
    }

    /// The claimed run and its definition; none if either cannot be read or does not fit the queue. It is left
    /// alone then until the store is opened again.
    fn claimable<T: Tables>(&mut self, tables: &T, item: Item) -> Result<Option<Claimable>, Error> {
        let run = match self.fresh.take(item.run) {
            Some(run) => run,
            None => match absent(tables.run(item.run))?.filter(|run| run.state().is_waiting()) {
                Some(run) => Arc::new(run),
                None => return Ok(None),
            },
        };
        let revision = match self.heads.revision(run.task) {
            Some(revision) => revision,
            None => {
                let Some(head) = absent(tables.head(run.task))? else { return Ok(None) };
                let revision = head.revision;
                self.heads.keep(run.task, Some(head));
                revision
            }
        };
        let task = absent(tables.definition(run.task, revision))?;
        Ok(task.map(|task| (run, task)))
    }

    /// Gives claims back that were not written; unknown ones are ignored. True if somebody may claim them now.
    ///
    /// # Errors
    /// [`Error::Fenced`].
    pub fn release(&mut self, session: &Session, runs: &[RunId]) -> Result<bool, Error> {
        self.check(&Batch::new(), session)?;
        for run in runs {
            self.queue.release(*run);
            self.claimed.remove(run);
        }
        Ok(self.queue.take_stirred())
    }

    /// Fills lanes from the open index.
    fn feed<T: Tables>(&mut self, tables: &T) -> Result<(), Error> {
        while let Some((lane, (ready, run))) = self.queue.hungry() {
            let edge = OpenKey { lane, ready, run };
            let (mut items, mut exhausted) = (Vec::with_capacity(FRONT), true);
            tables.open(Some(edge), &mut |key, mark| {
                if key.lane != lane {
                    return ControlFlow::Break(());
                }
                if key == edge || mark.at_work || self.queue.is_busy(lane.task, key.run) {
                    return ControlFlow::Continue(());
                }
                if items.len() == FRONT {
                    exhausted = false;
                    return ControlFlow::Break(());
                }
                items.push(Item::of(key, mark.begun));
                ControlFlow::Continue(())
            })?;
            self.queue.refill(lane, items, exhausted);
        }
        Ok(())
    }

    /// Remembers what is not worth a write of its own: it is written with the run's next edge.
    pub fn note(&mut self, notes: Vec<SoftNote>) {
        for note in notes {
            if self.judged.contains(&note.run) {
                self.late_notes.push(note);
                continue;
            }
            let Some(run) = self.at_work.get_mut(&note.run).map(Arc::make_mut) else { continue };
            if note.fence.attempt != run.life.attempt || note.fence.epoch != run.life.epoch {
                continue;
            }
            if note.started
                && let Ok(life) = run.life.apply(RunEvent::Started)
            {
                run.life = life;
            }
            for event in note.events {
                run.events.push(event);
            }
            if let Some(saved) = note.saved {
                run.saved = saved;
            }
            run.usage = note.usage.or(run.usage);
        }
    }

    /// A committed record as readers see it: with what was noted of it, and a time that has come.
    #[must_use]
    pub fn shown(&self, run: Run, now: Timestamp) -> Run {
        match self.at_work.get(&run.id) {
            Some(noted) if run.state().is_at_work() => Run::clone(noted),
            Some(_) | None => view(run, now),
        }
    }

    /// As [`crate::RunStore::unfinished`].
    #[must_use]
    pub fn unfinished(&self, task: TaskId) -> Unfinished {
        self.queue.unfinished(task)
    }

    /// As [`crate::RunStore::begun_before`].
    #[must_use]
    pub fn begun_before(&self, epoch: u64, after: Option<RunId>, limit: usize) -> Vec<Run> {
        let all = self.at_work.values().filter(|run| run.life.epoch < epoch);
        all.filter(|run| Some(run.id) > after).take(limit).map(|run| Run::clone(run)).collect()
    }

    /// As [`crate::RunStore::untold`].
    #[must_use]
    pub fn untold(&self, limit: usize) -> Vec<RunId> {
        self.untold.keys().copied().take(limit).collect()
    }

    /// The runs at work, ascending by id, with what was noted of them.
    pub fn at_work(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.at_work.values().map(|run| &**run)
    }

    /// As [`crate::TaskStore::deleted_with_open_runs`].
    #[must_use]
    pub fn deleted_with_open_runs(&self) -> Vec<TaskId> {
        self.queue.closed()
    }

    /// As [`crate::HistoryStore::overgrown`].
    pub fn take_overgrown(&mut self, max: usize) -> Vec<TaskId> {
        let tasks: Vec<_> = self.overgrown.iter().copied().take(max).collect();
        for task in &tasks {
            self.overgrown.remove(task);
        }
        tasks
    }

    /// A batch took so long to become durable.
    pub fn committed(&mut self, took: Duration) {
        self.tallies.commit.observe(took);
    }

    /// As [`crate::HistoryStore::tallies`].
    #[must_use]
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Figures; the sequence number is that of whoever commits.
    #[must_use]
    pub fn stats(&self, sequence: u64) -> StoreStats {
        StoreStats {
            waiting: self.queue.waiting(),
            at_work: self.at_work.len() as u64,
            commits: self.commits,
            requests: self.requests,
            sequence,
        }
    }
}
