//! The seam between the rules and an embedded database: what the ledger reads, and what it wants written.
//!
//! [`Tables`] is the *committed* state, typed; [`Change`] is one write. The ledger lays the changes of the
//! batch it is judging over the tables itself, so an implementation only reads what is committed and, later,
//! writes all changes of a batch in one commit. It knows no rule, and no rule knows a key or a byte.

use crate::error::Error;
use crate::store::Quarantined;
use jiff::Timestamp;
use punctual_model::task::Retention;
use punctual_model::{
    Overlap, Run, RunId, Task, TaskId, TaskProgress, TaskSpec, TaskStatus, TaskType, Timing, Trigger,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The definition that a head names; none if it is not there.
pub type Defined = Result<Option<Arc<Task>>, Error>;

/// The committed state of an embedded store. Synchronous; called from the writer and from readers.
///
/// Each read either answers, or fails for one of two reasons. [`Error::Unreadable`]: this one record cannot be
/// decoded; the implementation has put it into its [`Quarantine`] already and the ledger goes on as if it were
/// absent. [`Error::Failed`]: the database itself does not answer; nothing goes on.
///
/// Scans call `visit` in ascending order (descending where `newest_first`) until it breaks or the range ends.
/// They leave unreadable entries out, after putting them into the quarantine. They must seek to where they
/// begin, and never walk there from the head of the keyspace: that range is full of what was deleted.
pub trait Tables {
    /// The one record about the store itself.
    fn meta(&self) -> Result<Option<Meta>, Error>;

    /// A run by its id.
    fn run(&self, id: RunId) -> Result<Option<Run>, Error>;

    /// The small record of a task; also of a deleted one.
    fn head(&self, task: TaskId) -> Result<Option<Head>, Error>;

    /// One revision of a definition. Asked for with each claim: an implementation that has to decode keeps
    /// the ones last used.
    fn definition(&self, task: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error>;

    /// Who has this name among the tasks of this type, whose name is never empty here.
    fn name(&self, kind: &TaskType, name: &str) -> Result<Option<TaskId>, Error>;

    /// Which run has this idempotency key of this task.
    fn key(&self, task: TaskId, key: &str) -> Result<Option<RunId>, Error>;

    /// Heads with ids above `after`, ascending.
    fn heads(
        &self,
        after: Option<TaskId>,
        visit: &mut dyn FnMut(TaskId, Head) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// Reads definitions whose keys rise from one to the next. An implementation whose lookups cost more than reading
    /// on reads on.
    fn rising_definitions(&self) -> Box<dyn FnMut(TaskId, u64) -> Defined + '_> {
        Box::new(|task, revision| self.definition(task, revision))
    }

    /// Reads heads whose ids rise from one to the next, as [`Self::rising_definitions`].
    fn rising_heads(&self) -> Box<dyn FnMut(TaskId) -> Result<Option<Head>, Error> + '_> {
        Box::new(|task| self.head(task))
    }

    /// Entries of the open index from this key on (inclusive; none means from the beginning), ascending,
    /// through all later lanes.
    fn open(
        &self,
        from: Option<OpenKey>,
        visit: &mut dyn FnMut(OpenKey, OpenMark) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// All crews, by their numbers: runs that began together, of which some may be at work still.
    fn crews(&self, visit: &mut dyn FnMut(u64, Vec<RunId>) -> ControlFlow<()>) -> Result<(), Error>;

    /// Runs beyond `after` in the direction of the scan (exclusive; none means from its beginning).
    fn runs(
        &self,
        after: Option<RunId>,
        newest_first: bool,
        visit: &mut dyn FnMut(Run) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// Ids of the runs of one task, as [`Self::runs`].
    fn runs_of(
        &self,
        task: TaskId,
        after: Option<RunId>,
        newest_first: bool,
        visit: &mut dyn FnMut(RunId) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// The highest ids there are, as far as their keys tell.
    fn last_ids(&self) -> Result<(Option<TaskId>, Option<RunId>), Error>;
}

/// One write. All changes of a batch go into one atomic, synced commit; there is at most one per key in a
/// batch, so their order is free. `None` deletes.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// The record about the store itself.
    Meta(Meta),
    /// A run.
    Run(RunId, Option<&'a Run>),
    /// The head of a task; heads are never deleted, so that ids are never used again.
    Head(TaskId, &'a Head),
    /// One revision of a definition.
    Definition(TaskId, u64, Option<&'a Arc<Task>>),
    /// Who has a name.
    Name(&'a TaskType, &'a str, Option<TaskId>),
    /// Which run has an idempotency key.
    Key(TaskId, &'a str, Option<RunId>),
    /// An entry of the open index.
    Open(OpenKey, Option<OpenMark>),
    /// An entry of the index of runs by task; `false` deletes it.
    OfTask(TaskId, RunId, bool),
    /// Runs that began together.
    Crew(u64, Option<&'a [RunId]>),
}

/// What is remembered of the store itself. The sequence number of commits belongs to whoever commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    /// The last epoch that was given out.
    pub epoch: u64,
    /// No id up to this one may be given out again; besides those that are still to be seen.
    pub id_floor: u64,
}

/// The small record of a task: everything that a due or the end of a run has to read and write, so that
/// neither parses a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The current revision.
    pub revision: u64,
    /// The oldest revision that may still be stored.
    pub oldest_revision: u64,
    /// Whether dues are acted on.
    pub status: HeadStatus,
    /// What the queue has to know of the current definition.
    pub digest: Digest,
    /// What its runs have moved.
    pub progress: TaskProgress,
    /// Records of ended runs that are kept.
    pub kept_runs: u64,
    /// Records kept apart from these: dues that did not become runs (Skipped, Missed), and follow-ups.
    pub kept_marks: u64,
    /// No record of this task has an id below this one: pruning starts here.
    pub history_from: Option<RunId>,
}

/// Whether a task is there, and its dues acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadStatus {
    /// Its dues become runs.
    Active,
    /// It has no dues.
    Paused,
    /// It is gone; only its history is left.
    Deleted,
}

impl From<TaskStatus> for HeadStatus {
    fn from(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Active => Self::Active,
            TaskStatus::Paused => Self::Paused,
        }
    }
}

/// What the queue, retention, the counts and a start have to know of a definition. Written in the same commit as that,
/// and derived from it by [`Digest::of`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The overlap policy is another one than `allow`: at most one unforced run at work.
    pub serial: bool,
    /// The task's own concurrency limit, which holds for forced runs, too.
    pub own_limit: Option<u32>,
    /// The concurrency key shared with other tasks, and this task's limit under it.
    pub shared: Option<SharedLimit>,
    /// How many caught-up runs may be at work at once; at least 1.
    pub catch_up_rate: u32,
    /// Higher goes first.
    pub priority: i8,
    /// How long history is kept.
    pub retention: Retention,
    /// After so many failures in a row the task is paused.
    pub pause_after: Option<u32>,
    /// A run that fails is followed by one that tells of it.
    pub on_failure: bool,
    /// A run that succeeds after one that did not is followed by one that tells of it.
    pub on_recovered: bool,
    /// What decides its dues; none in records of builds that did not keep it here. Then the definition tells.
    pub timing: Option<Arc<Timing>>,
    /// The name of its type, as for `timing`.
    pub kind: Option<Arc<str>>,
}

/// A limit that counts the runs of all tasks with the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLimit {
    /// The key.
    pub key: Arc<str>,
    /// A run of this task may start while fewer than this are at work under the key.
    pub limit: u32,
}

impl Digest {
    /// The digest of a definition.
    #[must_use]
    pub fn of(kind: &TaskType, spec: &TaskSpec) -> Self {
        let (own_limit, shared) = match &spec.concurrency {
            None => (None, None),
            Some(concurrency) => match &concurrency.key {
                None => (Some(concurrency.limit), None),
                Some(key) => (None, Some(SharedLimit { key: key.as_str().into(), limit: concurrency.limit })),
            },
        };
        Self {
            serial: spec.overlap != Overlap::Allow,
            own_limit,
            shared,
            catch_up_rate: spec.catch_up.rate.max(1),
            priority: spec.priority,
            pause_after: spec.pause_after_failures,
            on_failure: spec.on_failure.is_some(),
            on_recovered: spec.on_recovered.is_some(),
            retention: spec.retention,
            timing: Some(Arc::new(Timing::from(spec))),
            kind: Some(kind_name(kind.as_str())),
        }
    }
}

/// The name of a type; that of nearly all tasks is there once.
pub(crate) fn kind_name(kind: &str) -> Arc<str> {
    static SYSTEM: LazyLock<Arc<str>> = LazyLock::new(|| TaskType::SYSTEM.into());
    if kind == TaskType::SYSTEM { Arc::clone(&SYSTEM) } else { kind.into() }
}

/// Which of a task's lanes. The order is that of the index; it must never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LaneKind {
    /// Dues, and runs that somebody asked for.
    Regular = 0,
    /// Runs that pass the overlap policy by.
    Forced = 1,
    /// Dues of the past, which have a rate of their own and must not hold up the present ones.
    CatchUp = 2,
    /// Runs that tell of the ends of others. No limit of the task holds for them, and they count for none.
    FollowUp = 3,
    /// No lane of the queue, and none of its runs waits: they have ended, and their hooks may not have heard of it
    /// ([`crate::RunStore::untold`]).
    Untold = 4,
}

impl LaneKind {
    /// The lanes of the queue, in order.
    pub const ALL: [Self; 4] = [Self::Regular, Self::Forced, Self::CatchUp, Self::FollowUp];

    /// The one with this number in the index.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().chain([Self::Untold]).find(|kind| *kind as u8 == number)
    }

    /// Whether limits hold for its runs, and count them.
    #[must_use]
    pub fn is_limited(self) -> bool {
        self != Self::FollowUp
    }
}

/// A queue within the queue: the waiting runs of one task and kind, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The task.
    pub task: TaskId,
    /// Which of its lanes.
    pub kind: LaneKind,
}

impl Lane {
    /// The lane in which a run waits; the same for all its life.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let kind = match run.trigger {
            Trigger::OnFailure { .. } | Trigger::OnRecovered { .. } => LaneKind::FollowUp,
            _ if run.forced => LaneKind::Forced,
            Trigger::CatchUp => LaneKind::CatchUp,
            Trigger::Schedule | Trigger::Manual | Trigger::Retry { .. } | Trigger::Resume { .. } => {
                LaneKind::Regular
            }
        };
        Self { task: run.task, kind }
    }
}

/// Key of the open index, in the order (task, kind, ready, run). Every waiting run has exactly one entry,
/// whose key follows from its record ([`OpenKey::of`]); a run that ended has none, or one as long as its hooks are to
/// be told ([`OpenKey::untold`]). A run at work has none: it is in a crew ([`Change::Crew`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenKey {
    /// Where it waits, or would wait.
    pub lane: Lane,
    /// When it is ready; may lie anywhere in the range of [`Timestamp`].
    pub ready: Timestamp,
    /// The run.
    pub run: RunId,
}

impl OpenKey {
    /// The key of a run, as its record is now.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self { lane: Lane::of(run), ready: run.ready_at(), run: run.id }
    }

    /// The key of a run that has ended and whose hooks are to be told.
    #[must_use]
    pub fn untold(run: &Run) -> Self {
        let lane = Lane { task: run.task, kind: LaneKind::Untold };
        Self { lane, ready: run.ready_at(), run: run.id }
    }
}

/// What the open index tells of a run without its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenMark {
    /// It is at work; else it waits. Only a store of format 1 has such entries.
    pub at_work: bool,
    /// It has been started at least once.
    pub begun: bool,
}

impl OpenMark {
    /// The mark of an unfinished run, as its record is now.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self { at_work: run.state().is_at_work(), begun: run.life.attempt > 0 }
    }
}

/// Records that could not be read. Filled by an implementation of [`Tables`], read by whoever reports.
#[derive(Debug, Default)]
pub struct Quarantine {
    records: Mutex<BTreeMap<(String, String), String>>,
}

impl Quarantine {
    /// Most records that are listed: damage beyond it is no longer a matter of single records.
    pub const MAX: usize = 1_000;

    /// Sets a record aside and gives back the error to answer with.
    pub fn report(&self, kind: &'static str, key: &[u8], reason: impl std::fmt::Display) -> Error {
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let reason = reason.to_string();
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < Self::MAX && !records.contains_key(&(kind.to_owned(), hex.clone())) {
            tracing::error!(kind, key = hex, reason, "a stored record cannot be read and is set aside");
            records.insert((kind.to_owned(), hex), reason.clone());
        }
        Error::Unreadable { kind, reason }
    }

    /// What was set aside since the store was opened, by kind and key.
    #[must_use]
    pub fn list(&self) -> Vec<Quarantined> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let item = |((kind, key), reason): (&(String, String), &String)| Quarantined {
            kind: kind.clone(),
            key: key.clone(),
            reason: reason.clone(),
        };
        records.iter().map(item).collect()
    }
}
