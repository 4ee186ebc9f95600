//! What a batch has changed so far, laid over the committed tables, and what the queue will learn of it.

use super::tables::{Change, Head, HeadStatus, Lane, Meta, OpenKey, OpenMark};
use crate::tally::Step;
use jiff::Timestamp;
use punctual_faults::{Defect, seeded};
use punctual_model::{Run, RunId, RunState, RunStateName, Task, TaskId, TaskType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Requests that are judged together and become durable together. Nobody but the requests after it in the same
/// batch sees any of it before [`super::Ledger::settle`].
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) meta: Option<Meta>,
    /// Shared with whoever is told of them: a record is large, and moving it about costs more than judging it.
    pub(super) runs: BTreeMap<RunId, Option<Arc<Run>>>,
    /// Also those only read: a head is read once a batch.
    pub(super) heads: BTreeMap<TaskId, KnownHead>,
    pub(super) definitions: BTreeMap<(TaskId, u64), Option<Arc<Task>>>,
    pub(super) names: BTreeMap<(TaskType, String), Option<TaskId>>,
    pub(super) keys: BTreeMap<(TaskId, String), Option<RunId>>,
    pub(super) open: BTreeMap<OpenKey, Option<OpenMark>>,
    pub(super) of_task: BTreeMap<(TaskId, RunId), bool>,
    /// Runs that began together; none removes the record.
    pub(super) crews: BTreeMap<u64, Option<Vec<RunId>>>,
    /// The one that is being filled.
    pub(super) crew: Option<u64>,
    pub(super) effects: Vec<Effect>,
    /// Tasks whose kept history has grown.
    pub(super) grown: BTreeSet<TaskId>,
    /// Lanes that got ready runs in this batch, which the queue does not see yet.
    pub(super) crowded: BTreeSet<Lane>,
    pub(super) prune_cursors: BTreeMap<TaskId, Option<RunId>>,
    pub(super) session: Option<SessionState>,
    pub(super) requests: u64,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct KnownHead {
    pub(super) head: Option<Head>,
    pub(super) written: bool,
}

/// Which session may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionState {
    pub(super) epoch: u64,
    pub(super) closed: bool,
}

/// What the queue and the listeners learn after the sync, in the order of judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// A run waits.
    Waits(OpenKey, OpenMark),
    /// A run that waited has ended.
    Gone(OpenKey),
    /// A new run is at work at once.
    Admitted(Lane, RunId),
    /// A claimed run is at work.
    Begun(RunId),
    /// A run is at work no more.
    Ended(TaskId, RunId),
    /// A definition changed.
    Updated(TaskId),
    /// A task was deleted.
    Closed(TaskId),
    /// A run ended, or shall stop, by another hand than the one that runs it.
    Changed(RunId),
    /// A run has ended, and its hooks are to be told.
    Untold(OpenKey),
    /// They were.
    Told(RunId),
    /// A step of a run's life that is counted.
    Counts(TaskId, Step),
    /// So many dues were missed.
    Missed(u64),
}

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to commit. Such a batch is settled all the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes().next().is_none()
    }

    /// The commits that the batch is written in: one, with everything. (Two, if a test wants to see that this is
    /// noticed: checkpoints after the runs that they stand for.)
    pub fn commits(&self) -> impl Iterator<Item = impl Iterator<Item = Change<'_>> + Clone> {
        let apart = seeded(Defect::CheckpointOutsideBatch);
        let is_second = |change: &Change<'_>| match change {
            Change::Head(id, _) => !self.definitions.keys().any(|(task, _)| task == id),
            _ => false,
        };
        let commits = (0..=usize::from(apart)).map(move |number| {
            self.changes().filter(move |change| !apart || is_second(change) == (number == 1))
        });
        commits.filter(|changes| changes.clone().next().is_some())
    }

    /// How large the records of its runs are together, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All writes, each key once.
    fn changes(&self) -> impl Iterator<Item = Change<'_>> + Clone {
        let meta = self.meta.iter().map(|meta| Change::Meta(*meta));
        let heads = self.heads.iter().filter(|(_, known)| known.written);
        let heads = heads.filter_map(|(id, known)| Some(Change::Head(*id, known.head.as_ref()?)));
        let definitions = self.definitions.iter();
        let definitions =
            definitions.map(|((id, revision), task)| Change::Definition(*id, *revision, task.as_ref()));
        let names = self.names.iter().map(|((kind, name), id)| Change::Name(kind, name, *id));
        let keys = self.keys.iter().map(|((task, key), run)| Change::Key(*task, key, *run));
        let runs = self.runs.iter().map(|(id, run)| Change::Run(*id, run.as_deref()));
        let open = self.open.iter().map(|(key, mark)| Change::Open(*key, *mark));
        let of_task = self.of_task.iter().map(|((task, run), there)| Change::OfTask(*task, *run, *there));
        let crews = self.crews.iter().map(|(crew, runs)| Change::Crew(*crew, runs.as_deref()));
        let of_runs = runs.chain(open).chain(of_task).chain(crews);
        meta.chain(heads).chain(definitions).chain(names).chain(keys).chain(of_runs)
    }

    pub(super) fn put_head(&mut self, id: TaskId, head: Head) {
        self.heads.insert(id, KnownHead { head: Some(head), written: true });
    }

    /// Writes a run and all that follows from the step from its record before: the open index, the index by
    /// task, the kept counts and the progress of its task, and what the queue learns.
    pub(super) fn put_run(&mut self, before: Option<&Run>, after: Arc<Run>) {
        let id = after.id;
        let was = before.filter(|run| !run.state().is_terminal());
        let is = (!after.state().is_terminal()).then_some(&*after);
        let waits = |run: &&Run| run.state().is_waiting();
        let (old_key, new_key) = (was.filter(waits).map(OpenKey::of), is.filter(waits).map(OpenKey::of));
        if let Some(key) = old_key.filter(|key| new_key != Some(*key)) {
            self.open.insert(key, None);
        }
        if let (Some(key), Some(run)) = (new_key, is) {
            self.open.insert(key, Some(OpenMark::of(run)));
        }
        if before.is_none() {
            self.of_task.insert((after.task, id), true);
            // Ids rise with time, but a run may be accepted later than one with a higher id was pruned.
            if let Some(KnownHead { head: Some(head), written }) = self.heads.get_mut(&after.task)
                && head.history_from.is_some_and(|from| id < from)
            {
                head.history_from = Some(id);
                *written = true;
            }
        }
        let begins = is.map(|run| run.state().is_at_work());
        match (was, old_key, begins) {
            (None, _, Some(true)) => self.effects.push(Effect::Admitted(Lane::of(&after), id)),
            (Some(_), Some(_), Some(true)) => self.effects.push(Effect::Begun(id)),
            (Some(_), Some(key), None | Some(false)) => self.effects.push(Effect::Gone(key)),
            (Some(_), None, None | Some(false)) => self.effects.push(Effect::Ended(after.task, id)),
            (None, _, None | Some(false)) | (Some(_), None, Some(true)) => {}
        }
        let since = |at: Option<Timestamp>, from| {
            // A clock that was set back makes no negative spans.
            at.map(|at| Duration::try_from(at.duration_since(from)).unwrap_or_default())
        };
        let at_work = |run: Option<&Run>| run.is_some_and(|run| run.state().is_at_work());
        if begins == Some(true) && before.is_none_or(|before| before.life.attempt != after.life.attempt) {
            let first = after.life.attempt == 1;
            let delay = if first { since(after.started_at, after.run_at) } else { None };
            self.effects.push(Effect::Counts(after.task, Step::Began(delay)));
        }
        if let (Some(key), Some(run), Some(false)) = (new_key, is, begins) {
            self.effects.push(Effect::Waits(key, OpenMark::of(run)));
        }
        if is.is_none()
            && (was.is_some() || before.is_none())
            && let Some(KnownHead { head: Some(head), written }) = self.heads.get_mut(&after.task)
        {
            super::progress::count_end(head, &after);
            *written = true;
            self.grown.insert(after.task);
        }
        if is.is_none() && (was.is_some() || before.is_none()) {
            // When a lost attempt ended is not known.
            let is_seen = at_work(was) && after.state().name() != RunStateName::Lost;
            let began = after.started_at.filter(|_| is_seen);
            let took = began.and_then(|began| since(after.finished_at, began));
            let step = Step::Ended(after.state().name(), after.trigger, took);
            self.effects.push(Effect::Counts(after.task, step));
            if let RunState::Missed(missed) = after.state() {
                self.effects.push(Effect::Missed(missed.count));
            }
        }
        self.bytes += super::size::of_run(&after);
        self.runs.insert(id, Some(after));
    }

    /// Marks a run that has ended: its hooks are to be told.
    pub(super) fn owe(&mut self, ended: &Run) {
        let key = OpenKey::untold(ended);
        self.open.insert(key, Some(OpenMark::of(ended)));
        self.effects.extend([Effect::Untold(key), Effect::Changed(ended.id)]);
    }

    /// Takes that mark away.
    pub(super) fn told(&mut self, key: OpenKey) {
        self.open.insert(key, None);
        self.effects.push(Effect::Told(key.run));
    }

    /// Removes what is left of a run that ended.
    pub(super) fn drop_run(&mut self, run: &Run) {
        self.runs.insert(run.id, None);
        self.of_task.insert((run.task, run.id), false);
        if let Some(KnownHead { head: Some(head), written }) = self.heads.get_mut(&run.task) {
            super::progress::discount(head, run);
            *written = true;
        }
    }

    pub(super) fn is_deleted(&self, task: TaskId) -> bool {
        let head = self.heads.get(&task).and_then(|known| known.head.as_ref());
        head.is_some_and(|head| head.status == HeadStatus::Deleted)
    }
}
