//! The contract between the engine and whatever remembers for it.
//!
//! Domain operations in batches, not keys and values: each mutating call carries a session, is one
//! transaction, and is durable before it answers. Losing a race is a value, never an error. No reader or waiter
//! is told of a write before it is durable; the queue may give a run out a little earlier, since its start is a
//! write of its own that is never durable without the one before.

use crate::error::Error;
use crate::hints::Hints;
pub use crate::history::{HistoryStore, Pruned, Quarantined, StoreStats};
use async_trait::async_trait;
use jiff::Timestamp;
use punctual_model::Usage;
use punctual_model::event::Event;
use punctual_model::overlap::Unfinished;
use punctual_model::restart::RestartCount;
use punctual_model::{
    CancelWhy, Outcome, Run, RunEvent, RunId, RunStateName, Task, TaskId, TaskProgress, TaskSpec, TaskStatus,
    TaskType, Timing,
};
use serde_json::Value;
use std::sync::Arc;

/// Everything that remembers, as one object.
pub trait Store: SessionStore + TaskStore + RunStore + HistoryStore + std::fmt::Debug {}

impl<T: SessionStore + TaskStore + RunStore + HistoryStore + std::fmt::Debug> Store for T {}

/// The right to write. A later session fences off all earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who holds it.
    pub node: String,
    /// Rises with each session and is never reused; every attempt is made under one.
    pub epoch: u64,
    /// No id up to this one may be given out again.
    pub id_floor: u64,
}

/// Who may write.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Opens a session with an epoch above all earlier ones, durably, and fences those off.
    async fn open_session(&self, node: &str) -> Result<Session, Error>;

    /// Ends a session; its later writes are [`Error::Fenced`]. Twice is harmless.
    async fn close_session(&self, session: &Session) -> Result<(), Error>;
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No task with this id, nor with this type and name.
    Absent,
    /// Exactly this revision.
    Revision(u64),
}

/// A task to be stored.
#[derive(Debug, Clone)]
pub struct PutTask {
    /// The whole task, with the revision it shall have: 1, or the expected one plus 1.
    pub task: Arc<Task>,
    /// What must be there now.
    pub expect: Expect,
    /// Raises the checkpoint to this moment in the same commit; never lowers it.
    pub raise_checkpoint: Option<Timestamp>,
}

/// What became of a write of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum PutAnswer {
    /// It is stored.
    Stored(StoredTask),
    /// Another revision was there.
    Conflict(StoredTask),
    /// Another task of the same type has that name.
    NameTaken(TaskId),
    /// There is no such task, or no more.
    Gone,
}

/// A task with what its runs have moved.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTask {
    /// The current definition.
    pub task: Arc<Task>,
    /// What moves without a new revision.
    pub progress: TaskProgress,
}

impl StoredTask {
    /// Whether it is what this definition says, but for having been paused by the engine for its failures.
    #[must_use]
    pub fn is_only_paused(&self, spec: &TaskSpec) -> bool {
        let paused = TaskSpec { status: TaskStatus::Paused, ..spec.clone() };
        self.progress.paused_after.is_some() && self.task.spec == paused
    }
}

/// A task as far as a start has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTiming {
    /// The task.
    pub id: TaskId,
    /// Its current revision.
    pub revision: u64,
    /// Whether its dues are acted on.
    pub status: TaskStatus,
    /// What decides its dues.
    pub timing: Arc<Timing>,
    /// Where its dues begin: its checkpoint, or its creation if it has none.
    pub checkpoint: Timestamp,
}

/// Which tasks to list, in ascending order of id.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only of this type; none means all.
    pub kind: Option<TaskType>,
    /// Only with this name.
    pub name: Option<String>,
    /// Only in this status.
    pub status: Option<TaskStatus>,
    /// Only those with all of these labels.
    pub labels: Vec<(String, String)>,
    /// Only ids above this one.
    pub after: Option<TaskId>,
    /// At most so many; at least 1.
    pub limit: usize,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins (`after`), if there may be one.
    pub next: Option<C>,
}

/// Definitions and what moves beside them.
#[async_trait]
pub trait TaskStore: Send + Sync {
    /// Stores a task, a revision and, where asked, its checkpoint, if what is expected is there.
    async fn put_task(&self, session: &Session, put: PutTask) -> Result<PutAnswer, Error>;

    /// The current definition; none if there never was one or it was deleted.
    async fn task(&self, id: TaskId) -> Result<Option<StoredTask>, Error>;

    /// [`Self::task`] for whoever goes on to write because of it and tells nobody before that: it need not be durable
    /// yet, since what is written later never is without it. Saves the wait for a sync.
    async fn task_ahead(&self, id: TaskId) -> Result<Option<StoredTask>, Error> {
        self.task(id).await
    }

    /// [`Self::task_ahead`] for several, in the order asked for. One that cannot be read costs only itself.
    async fn tasks_ahead(&self, ids: Vec<TaskId>) -> Vec<Result<Option<StoredTask>, Error>> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(self.task_ahead(id).await);
        }
        found
    }

    /// A revision of a task, also of a deleted one; readable as long as a run refers to it.
    async fn task_revision(&self, id: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error>;

    /// The task of this type with this name.
    async fn task_by_name(&self, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error>;

    /// [`Self::task_by_name`], as [`Self::task_ahead`].
    async fn task_by_name_ahead(&self, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error> {
        self.task_by_name(kind, name).await
    }

    /// Tasks by filter, ascending by id. Deleted ones are not listed.
    async fn tasks(&self, filter: &TaskFilter) -> Result<Page<StoredTask, TaskId>, Error>;

    /// As many tasks with ids above `after`, ascending by id, as far as a start has to know them: of most their
    /// definitions are not read, so a definition that cannot be read is found when it is needed. Deleted ones and
    /// those of which nothing can be read are left out.
    async fn timings(&self, after: Option<TaskId>, limit: usize)
    -> Result<Page<StoredTiming, TaskId>, Error>;

    /// Puts a tombstone in the task's place: its name is free, its id never used again, its waiting runs are
    /// claimed no more (end them with [`RunStore::cancel_waiting`]). `false` if it was not there at that
    /// revision (any, if none is given).
    async fn delete_task(&self, session: &Session, id: TaskId, revision: Option<u64>) -> Result<bool, Error>;

    /// Tasks that are deleted and still have unfinished runs: what a crash in the middle of a delete leaves.
    async fn deleted_with_open_runs(&self) -> Result<Vec<TaskId>, Error>;
}

/// The dues of one task that were looked at together: their records and the new checkpoint, in one commit.
#[derive(Debug, Clone)]
pub struct Materialise {
    /// Whose dues.
    pub task: TaskId,
    /// The revision they were derived from; the task must be active at it.
    pub revision: u64,
    /// The checkpoint they were derived from.
    pub seen_checkpoint: Option<Timestamp>,
    /// Every due up to here has its record after this.
    pub checkpoint: Timestamp,
    /// Runs (`Queued`, `Scheduled`), and records that are born terminal (`Skipped`, `Missed`).
    pub births: Vec<Run>,
    /// Unfinished runs that end so that a birth can take their place.
    pub replaces: Vec<RunId>,
    /// How many workers are set aside for the births.
    pub reserved: usize,
}

/// What became of a [`Materialise`].
#[derive(Debug, Clone, PartialEq)]
pub enum Materialised {
    /// All of it is stored.
    Stored {
        /// The births as stored, in order; those in `Starting` are claimed for the caller's reservation.
        births: Vec<Run>,
        /// The replaced runs: `Canceled` if they waited, `Stopping` if they are at work.
        replaced: Vec<Run>,
    },
    /// The task has changed, is not active any more, or its checkpoint has moved: derive again from this.
    Stale(Option<StoredTask>),
}

/// What became of a request for a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// It is accepted: `Scheduled`, `Queued`, or `Starting` if it is claimed for the caller's reservation.
    Accepted(Run),
    /// The same idempotency key was used before; this is the run it got.
    Existing(Run),
    /// The task does not exist any more.
    TaskGone,
}

/// A run taken from the queue, with the definition that is current now. A reservation in memory: written only
/// by the `Claimed` edge, given back by [`RunStore::release`].
#[derive(Debug, Clone)]
pub struct Claim {
    /// The run; still `Queued` in the record.
    pub run: Run,
    /// The current definition.
    pub task: Arc<Task>,
}

/// What the queue gave.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// The claims, in order of priority, fairly between tasks, oldest first within one.
    pub claims: Vec<Claim>,
    /// When the next waiting run becomes ready by time, if any waits for a time.
    pub next_ready: Option<Timestamp>,
}

/// The attempt that an edge is about: nothing older and nothing newer takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The attempt that was read.
    pub attempt: u32,
    /// The epoch that was read.
    pub epoch: u64,
}

impl Fence {
    /// The attempt that this record shows.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self { attempt: run.life.attempt, epoch: run.life.epoch }
    }
}

/// One step in a run's life, conditional on what was read.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Whose life.
    pub run: RunId,
    /// The attempt it is about.
    pub fence: Fence,
    /// What happened.
    pub event: RunEvent,
    /// When it happened.
    pub at: Timestamp,
    /// What else the record learns by it.
    pub patch: Patch,
}

/// Fields that change together with an edge; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// The revision that a `Claimed` attempt uses: `Stale` unless it is the current one.
    pub revision: Option<u64>,
    /// How the attempt ended.
    pub outcome: Option<Outcome>,
    /// The restart tracker's counters.
    pub restarts: Option<RestartCount>,
    /// What the work wants to find again.
    pub saved: Option<Value>,
    /// What the executor has to find again; ignored by the edge that ends the run.
    pub local: Option<Value>,
    /// What is worth telling.
    pub events: Vec<Event>,
}

/// What became of an edge.
#[derive(Debug, Clone, PartialEq)]
pub enum EdgeAnswer {
    /// It is durable; the record as it is now.
    Applied(Run),
    /// The record is not what was read (or the definition is not the current one); as it is now.
    Stale(Run),
    /// There is no such run.
    Unknown,
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, PartialEq)]
pub enum CancelAnswer {
    /// It waited, and has ended.
    Ended(Run),
    /// It is at work; the intent is durable and the attempt has to be stopped.
    Stopping(Run),
    /// It had ended already.
    AlreadyEnded(Run),
    /// There is no such run.
    Unknown,
}

/// Something worth remembering that waits for the next durable write of the same run; lost with the process.
#[derive(Debug, Clone)]
pub struct SoftNote {
    /// Whose.
    pub run: RunId,
    /// The attempt it is about; ignored if the record shows another.
    pub fence: Fence,
    /// The attempt is known to have started.
    pub started: bool,
    /// What is worth telling.
    pub events: Vec<Event>,
    /// What the work wants to find again.
    pub saved: Option<Value>,
    /// What it takes of the machine; never written.
    pub usage: Option<Usage>,
}

/// Which runs to list. By default newest id first.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this task; none means all tasks.
    pub task: Option<TaskId>,
    /// Only in one of these states; empty means all.
    pub states: Vec<RunStateName>,
    /// Only with a logical time at or after this.
    pub from: Option<Timestamp>,
    /// Only with a logical time before this.
    pub until: Option<Timestamp>,
    /// Oldest id first instead.
    pub oldest_first: bool,
    /// Only ids beyond this one in the direction of the listing.
    pub after: Option<RunId>,
    /// At most so many; at least 1.
    pub limit: usize,
}

/// The durable queue and the life of runs.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Stores the records of dues with their checkpoints; each entry is all or nothing, in one commit for all.
    /// Of an entry's births that are ready, up to `reserved` become `Starting` at once, as [`Self::claim`] would
    /// choose them (limits, order); such a birth's edge is durable with the birth itself.
    async fn materialise(
        &self,
        session: &Session,
        dues: Vec<Materialise>,
    ) -> Result<Vec<Materialised>, Error>;

    /// Accepts manual, retried and resumed runs, with their idempotency keys in the same commit. Of those that are
    /// ready, up to `reserved` become `Starting` at once, as in [`Self::materialise`].
    async fn enqueue(
        &self,
        session: &Session,
        runs: Vec<Run>,
        reserved: usize,
    ) -> Result<Vec<Enqueued>, Error>;

    /// Takes up to `max` ready runs, honouring limits, priority and fairness. Waiting runs hold no place.
    async fn claim(&self, session: &Session, max: usize) -> Result<Claims, Error>;

    /// Gives claims back that were not written.
    async fn release(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error>;

    /// Writes steps of runs' lives. Several for one run are judged in order. A run's end moves its task's
    /// progress in the same commit, and pauses the task there if it is one failure in a row too many: a revision of
    /// its own, which the run tells as an event. Where its task says so, a bad end, and the first good one after it,
    /// is followed by a run that tells of it ([`Run::follow_up`]), born in the same commit: exactly one, whatever dies
    /// when, since a run ends once. Such a run counts for no limit and no progress, and is followed by none.
    ///
    /// `Claimed` needs a claim that is still held and this session's epoch; if it is `Stale` the claim stays
    /// until it is released. `Adopted` needs this session's epoch. `Due` is always `Stale`: that a time has come
    /// is seen by readers and never written. A record that grew too large loses its events first, then its
    /// result, then its saved state: an end never fails for its size.
    async fn transition(&self, session: &Session, edges: Vec<Edge>) -> Result<Vec<EdgeAnswer>, Error>;

    /// Writes the wish to end runs: waiting ones end at once, those at work are `Stopping`. Twice is harmless.
    async fn cancel(
        &self,
        session: &Session,
        runs: Vec<(RunId, CancelWhy)>,
    ) -> Result<Vec<CancelAnswer>, Error>;

    /// Ends up to `max` waiting runs of a task and answers them; none means none is left.
    async fn cancel_waiting(
        &self,
        session: &Session,
        task: TaskId,
        why: CancelWhy,
        max: usize,
    ) -> Result<Vec<Run>, Error>;

    /// Remembers what is not worth a write of its own. Never waits.
    fn note(&self, notes: Vec<SoftNote>);

    /// A run, with what was noted of it.
    async fn run(&self, id: RunId) -> Result<Option<Run>, Error>;

    /// The run that this idempotency key of a task stands for, if the key is kept still.
    async fn run_of_key(&self, task: TaskId, key: &str) -> Result<Option<Run>, Error>;

    /// Runs by filter.
    async fn runs(&self, filter: &RunFilter) -> Result<Page<Run, RunId>, Error>;

    /// The unfinished runs of a task (not its forced ones) for the overlap decision; of the waiting ones the
    /// oldest few dozen by name.
    async fn unfinished(&self, task: TaskId) -> Result<Unfinished, Error>;

    /// Runs at work (`Starting`, `Running`, `Stopping`), ascending by id, under an epoch older than the given
    /// one: what an earlier session left.
    async fn begun_before(&self, epoch: u64, after: Option<RunId>, limit: usize) -> Result<Vec<Run>, Error>;

    /// Up to `limit` runs, ascending by id, that had begun and then ended in other hands than those of an attempt, such
    /// as canceled while they waited for their next one: whoever lives an attempt tells its hooks before it writes an
    /// end, and of these ends nobody has said yet that they were [`Self::told`]. They stay for that across restarts, and
    /// retention lets them be.
    async fn untold(&self, limit: usize) -> Result<Vec<RunId>, Error>;

    /// The hooks of these have heard of the end. Twice is harmless, and so are runs that nobody had to be told of.
    async fn told(&self, session: &Session, runs: Vec<RunId>) -> Result<(), Error>;

    /// Wake-ups: hints to look, nothing to rely on.
    fn hints(&self) -> Hints;
}
