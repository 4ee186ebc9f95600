//! What holds a task's lanes back, and what of it is in use.

use super::lane::{Item, LaneQueue, Position};
use crate::ledger::{Digest, LaneKind, SharedLimit};
use jiff::Timestamp;
use punctual_model::{CatchUp, RunId};
use std::collections::BTreeMap;

/// Most runs at once that tell of the ends of one task's runs. The task's own limits do not hold for them; but where
/// telling hangs, a task that fails every few seconds must not take all places of the node.
const TOLD_AT_ONCE: u32 = 2;

/// The current definition, as far as the queue is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) serial: bool,
    pub(super) own: Option<u32>,
    pub(super) shared: Option<SharedLimit>,
    pub(super) catch_up_rate: u32,
    pub(super) priority: i8,
}

/// What a task has that says nothing about it: shared by all of those, which are most.
static PLAIN: Limits =
    Limits { serial: false, own: None, shared: None, catch_up_rate: CatchUp::RATE, priority: 0 };

impl Limits {
    fn of(digest: &Digest) -> Option<Box<Self>> {
        let limits = Self {
            serial: digest.serial,
            own: digest.own_limit,
            shared: digest.shared.clone(),
            catch_up_rate: digest.catch_up_rate,
            priority: digest.priority,
        };
        (limits != PLAIN).then(|| Box::new(limits))
    }
}

/// A task with unfinished runs.
#[derive(Debug)]
pub(super) struct TaskQueue {
    limits: Option<Box<Limits>>,
    /// Deleted: nothing of it is given out any more.
    pub(super) closed: bool,
    busy: Option<Box<Busy>>,
    lanes: [Option<Box<LaneQueue>>; LaneKind::ALL.len()],
}

/// Runs that count against limits.
#[derive(Debug, Default)]
struct Busy {
    runs: BTreeMap<RunId, BusyRun>,
    by_kind: [u32; LaneKind::ALL.len()],
}

/// A run that counts against limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BusyRun {
    pub(super) kind: LaneKind,
    pub(super) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Admitted by a write that is not durable yet; nobody sees it.
    Admitted,
    /// Claimed in memory; its record still waits, as this item.
    Claimed(Item),
    /// At work.
    AtWork,
}

impl TaskQueue {
    pub(super) fn new(digest: &Digest) -> Self {
        Self {
            limits: Limits::of(digest),
            closed: false,
            busy: None,
            lanes: [const { None }; LaneKind::ALL.len()],
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        self.limits.as_deref().unwrap_or(&PLAIN)
    }

    pub(super) fn set_limits(&mut self, digest: &Digest) {
        self.limits = Limits::of(digest);
    }

    pub(super) fn class(&self) -> i16 {
        -i16::from(self.limits().priority)
    }

    pub(super) fn lane(&self, kind: LaneKind) -> Option<&LaneQueue> {
        self.lanes[kind as usize].as_deref()
    }

    pub(super) fn lane_mut(&mut self, kind: LaneKind) -> Option<&mut LaneQueue> {
        self.lanes[kind as usize].as_deref_mut()
    }

    pub(super) fn lane_or_new(&mut self, kind: LaneKind) -> &mut LaneQueue {
        self.lanes[kind as usize].get_or_insert_with(|| Box::new(LaneQueue::new()))
    }

    /// Lets go of a lane that holds nothing and is kept nowhere.
    pub(super) fn tidy(&mut self, kind: LaneKind) {
        let lane = &mut self.lanes[kind as usize];
        if lane.as_ref().is_some_and(|lane| lane.is_empty() && lane.position == Position::Out) {
            *lane = None;
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.busy.is_none() && self.lanes.iter().all(Option::is_none)
    }

    pub(super) fn busy(&self) -> impl Iterator<Item = (RunId, BusyRun)> {
        self.busy.iter().flat_map(|busy| busy.runs.iter().map(|(run, busy)| (*run, *busy)))
    }

    pub(super) fn busy_run(&self, run: RunId) -> Option<BusyRun> {
        self.busy.as_ref()?.runs.get(&run).copied()
    }

    /// How many are at work that count against limits: of all kinds but those that tell of the others.
    pub(super) fn busy_count(&self) -> u32 {
        let of = |busy: &Busy, kind: LaneKind| busy.by_kind[kind as usize];
        let counted = LaneKind::ALL.into_iter().filter(|kind| kind.is_limited());
        self.busy.as_ref().map_or(0, |busy| counted.map(|kind| of(busy, kind)).sum())
    }

    /// True if it was not busy before.
    pub(super) fn set_busy(&mut self, run: RunId, entry: BusyRun) -> bool {
        let busy = self.busy.get_or_insert_default();
        let new = busy.runs.insert(run, entry).is_none();
        if new {
            busy.by_kind[entry.kind as usize] += 1;
        }
        new
    }

    pub(super) fn end_busy(&mut self, run: RunId) -> Option<BusyRun> {
        let busy = self.busy.as_mut()?;
        let entry = busy.runs.remove(&run)?;
        busy.by_kind[entry.kind as usize] -= 1;
        if busy.runs.is_empty() {
            self.busy = None;
        }
        Some(entry)
    }

    /// Whether the task's own limits hold a lane of this kind back. Forced runs pass the overlap policy by;
    /// the concurrency limit holds for all. Under a policy that allows one run at a time, caught-up runs go
    /// before present ones, as they are older.
    pub(super) fn holds(&self, kind: LaneKind, now: Timestamp) -> bool {
        if !kind.is_limited() {
            let told = self.busy.as_ref().map_or(0, |busy| busy.by_kind[LaneKind::FollowUp as usize]);
            return kind == LaneKind::FollowUp && told >= TOLD_AT_ONCE;
        }
        let limits = self.limits();
        let by_kind = self.busy.as_ref().map_or(Default::default(), |busy| busy.by_kind);
        let [regular, _, catch_up, _] = by_kind;
        if limits.own.is_some_and(|own| self.busy_count() >= own) {
            return true;
        }
        let serial = limits.serial && regular + catch_up > 0;
        match kind {
            LaneKind::Forced | LaneKind::FollowUp | LaneKind::Untold => false,
            LaneKind::CatchUp => serial || catch_up >= limits.catch_up_rate,
            LaneKind::Regular => serial || (limits.serial && self.has_ready(LaneKind::CatchUp, now)),
        }
    }

    pub(super) fn has_ready(&self, kind: LaneKind, now: Timestamp) -> bool {
        self.lane(kind)
            .is_some_and(|lane| lane.is_hungry() || lane.head().is_some_and(|head| head.ready <= now))
    }
}
