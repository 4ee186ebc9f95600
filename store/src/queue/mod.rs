//! The ready-queue of the embedded stores: which waiting run goes next.
//!
//! A pure data structure without I/O and clock, driven by the ledger. It holds a lane for each task and kind
//! of run, knows every limit and what of it is in use, and orders the lanes that may go by priority and, within
//! one, round robin. What waits deep in a lane is only counted; the ledger refills lanes from the open index.

mod key;
mod lane;
mod limits;
#[cfg(test)]
mod tests;

pub(crate) use lane::{FRONT, Item, ItemKey};

use crate::ledger::{Digest, Lane, LaneKind};
use jiff::Timestamp;
use key::{Place, SharedKey};
use lane::Position;
use limits::{BusyRun, Stage, TaskQueue};
use punctual_model::overlap::Unfinished;
use punctual_model::{RunId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Waiting runs that [`Queue::unfinished`] lists by name.
const LISTED: usize = 64;

#[derive(Debug)]
pub(crate) struct Queue {
    tasks: BTreeMap<TaskId, TaskQueue>,
    keys: BTreeMap<Arc<str>, SharedKey>,
    /// Lanes that may go now.
    ready: BTreeSet<Place>,
    /// Lanes whose first run is not ready yet.
    timers: BTreeSet<(Timestamp, Lane)>,
    /// Lanes that wait, but hold nothing in memory.
    hungry: BTreeSet<Lane>,
    claimed: BTreeMap<RunId, TaskId>,
    waiting: u64,
    next_turn: u64,
    now: Timestamp,
    stirred: bool,
}

impl Queue {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            tasks: BTreeMap::new(),
            keys: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            hungry: BTreeSet::new(),
            claimed: BTreeMap::new(),
            waiting: 0,
            next_turn: 0,
            now,
            stirred: false,
        }
    }

    /// Runs whose record waits, claimed ones included.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Whether claimable work, or an earlier time to look again, may have appeared since this was last asked.
    pub(crate) fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// Adds a waiting run. `digest` counts only if its task has no other unfinished run.
    pub(crate) fn add(&mut self, lane: Lane, item: Item, digest: &Digest) {
        self.waiting += 1;
        self.put(lane, item, digest);
    }

    fn put(&mut self, lane: Lane, item: Item, digest: &Digest) {
        let task = self.tasks.entry(lane.task).or_insert_with(|| TaskQueue::new(digest));
        let queue = task.lane_or_new(lane.kind);
        let before = queue.head().copied();
        queue.insert(item);
        if queue.head() != before.as_ref() || queue.is_hungry() {
            self.refresh(lane.task);
        }
    }

    /// Takes out a run that does not wait any more without having been started.
    pub(crate) fn remove(&mut self, lane: Lane, key: ItemKey) {
        let Some(task) = self.tasks.get_mut(&lane.task) else { return };
        if self.claimed.remove(&key.1).is_some() {
            self.waiting -= 1;
            self.end_busy(lane.task, key.1);
        } else if task.lane_mut(lane.kind).is_some_and(|queue| queue.remove(key)) {
            self.waiting -= 1;
            self.refresh(lane.task);
        }
    }

    /// A run that was at work when the store was opened.
    pub(crate) fn restore(&mut self, lane: Lane, run: RunId, digest: &Digest) {
        self.set_busy(lane, run, Stage::AtWork, digest);
    }

    /// Whether a new run that is ready may start at once without passing a waiting one by: no lane of its
    /// priority or a higher one may go, and every limit has a place, which it then has.
    pub(crate) fn admit(&mut self, lane: Lane, run: RunId, digest: &Digest, now: Timestamp) -> bool {
        self.advance(now);
        let fresh;
        let task = match self.tasks.get(&lane.task) {
            Some(task) => task,
            None => {
                fresh = TaskQueue::new(digest);
                &fresh
            }
        };
        let limits = task.limits();
        let full = |shared: &crate::ledger::SharedLimit| {
            self.keys.get(&shared.key).is_some_and(|key| key.busy >= shared.limit)
        };
        if task.closed
            || task.holds(lane.kind, now)
            || task.has_ready(lane.kind, now)
            || (lane.kind.is_limited() && limits.shared.as_ref().is_some_and(full))
            || self.ready.first().is_some_and(|first| first.class <= task.class())
        {
            return false;
        }
        self.set_busy(lane, run, Stage::Admitted, digest);
        true
    }

    /// The start of an admitted run is durable.
    pub(crate) fn admitted(&mut self, lane: Lane, run: RunId) {
        if let Some(task) = self.tasks.get_mut(&lane.task) {
            task.set_busy(run, BusyRun { kind: lane.kind, stage: Stage::AtWork });
        }
    }

    /// Takes the next run that may go; it counts against its limits from now on.
    pub(crate) fn claim(&mut self, now: Timestamp) -> Option<(Lane, Item)> {
        self.advance(now);
        loop {
            let Place { lane, .. } = *self.ready.first()?;
            let head = self.tasks.get(&lane.task)?.lane(lane.kind)?.head()?;
            if head.ready > now {
                // The wall clock went back.
                self.refresh(lane.task);
                continue;
            }
            self.displace(lane);
            let item = self.tasks.get_mut(&lane.task)?.lane_mut(lane.kind)?.pop()?;
            let task = self.tasks.get_mut(&lane.task)?;
            task.set_busy(item.run, BusyRun { kind: lane.kind, stage: Stage::Claimed(item) });
            self.claimed.insert(item.run, lane.task);
            self.count_key(lane, 1);
            self.refresh(lane.task);
            return Some((lane, item));
        }
    }

    /// Whether this run is claimed and not yet started.
    pub(crate) fn is_claimed(&self, run: RunId) -> bool {
        self.claimed.contains_key(&run)
    }

    /// Gives a claim back, to where it was.
    pub(crate) fn release(&mut self, run: RunId) {
        let Some(id) = self.claimed.remove(&run) else { return };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(BusyRun { kind, stage: Stage::Claimed(item) }) = task.busy_run(run) else { return };
        task.lane_or_new(kind).insert(item);
        self.end_busy(id, run);
    }

    /// Gives all claims back.
    pub(crate) fn release_all(&mut self) {
        while let Some((run, _)) = self.claimed.first_key_value() {
            self.release(*run);
        }
    }

    /// Gives up a claim on a run that cannot be read: it waits no more.
    pub(crate) fn discard(&mut self, run: RunId) {
        if let Some(task) = self.claimed.remove(&run) {
            self.waiting -= 1;
            self.end_busy(task, run);
        }
    }

    /// The start of a claimed run is durable.
    pub(crate) fn begun(&mut self, run: RunId) {
        let Some(id) = self.claimed.remove(&run) else { return };
        self.waiting -= 1;
        if let Some(task) = self.tasks.get_mut(&id)
            && let Some(busy) = task.busy_run(run)
        {
            task.set_busy(run, BusyRun { stage: Stage::AtWork, ..busy });
        }
    }

    /// A run is not at work any more; its places are free.
    pub(crate) fn ended(&mut self, task: TaskId, run: RunId) {
        self.end_busy(task, run);
    }

    /// A definition changed: what it says holds from now on, also for what is at work.
    pub(crate) fn update(&mut self, id: TaskId, digest: &Digest) {
        let Some(task) = self.tasks.get(&id) else { return };
        let busy = task.busy_count();
        for kind in LaneKind::ALL {
            self.displace(Lane { task: id, kind });
        }
        let counted = Lane { task: id, kind: LaneKind::Regular };
        self.count_key(counted, -i64::from(busy));
        if let Some(task) = self.tasks.get_mut(&id) {
            task.set_limits(digest);
        }
        self.count_key(counted, i64::from(busy));
        self.refresh(id);
    }

    /// A task was deleted: nothing of it is given out any more.
    pub(crate) fn close(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.closed = true;
            self.refresh(id);
        }
    }

    /// When the next lane becomes ready by time.
    pub(crate) fn next_ready(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A lane that has to be refilled, and the key after which its next runs are.
    pub(crate) fn hungry(&self) -> Option<(Lane, ItemKey)> {
        let lane = *self.hungry.first()?;
        Some((lane, self.tasks.get(&lane.task)?.lane(lane.kind)?.low()?))
    }

    /// Whether this run counts against its limits already: a refill leaves it out.
    pub(crate) fn is_busy(&self, task: TaskId, run: RunId) -> bool {
        self.tasks.get(&task).is_some_and(|task| task.busy_run(run).is_some())
    }

    /// Answers [`Self::hungry`]: up to [`FRONT`] waiting runs in order; `exhausted` if there are no more.
    pub(crate) fn refill(&mut self, lane: Lane, items: Vec<Item>, exhausted: bool) {
        self.hungry.remove(&lane);
        let Some(task) = self.tasks.get_mut(&lane.task) else { return };
        if let Some(queue) = task.lane_mut(lane.kind) {
            let before = queue.len();
            queue.refill(items, exhausted);
            // The index is the truth.
            self.waiting = (self.waiting + queue.len()).saturating_sub(before);
        }
        self.refresh(lane.task);
    }

    /// From where on the open index holds waiting runs of this lane.
    pub(crate) fn low(&self, lane: Lane) -> Option<ItemKey> {
        let task = self.tasks.get(&lane.task)?;
        let claimed = task.busy().filter_map(|(_, busy)| match busy.stage {
            Stage::Claimed(item) if busy.kind == lane.kind => Some(item.key()),
            Stage::Claimed(_) | Stage::Admitted | Stage::AtWork => None,
        });
        claimed.chain(task.lane(lane.kind).and_then(lane::LaneQueue::low)).min()
    }

    /// Tasks that were deleted and have unfinished runs.
    pub(crate) fn closed(&self) -> Vec<TaskId> {
        self.tasks.iter().filter(|(_, task)| task.closed).map(|(id, _)| *id).collect()
    }

    /// The unfinished runs of a task, without its forced ones and those that tell of others. Oldest first, by id.
    pub(crate) fn unfinished(&self, id: TaskId) -> Unfinished {
        let Some(task) = self.tasks.get(&id) else { return Unfinished::default() };
        let (mut begun, mut waiting, mut total) = (Vec::new(), Vec::new(), 0);
        for (run, busy) in task.busy() {
            if matches!(busy.kind, LaneKind::Forced | LaneKind::FollowUp) {
                continue;
            }
            match busy.stage {
                Stage::Admitted => {}
                Stage::AtWork => begun.push(run),
                Stage::Claimed(item) if item.begun => begun.push(run),
                Stage::Claimed(_) => {
                    waiting.push(run);
                    total += 1;
                }
            }
        }
        for queue in [LaneKind::Regular, LaneKind::CatchUp].into_iter().filter_map(|kind| task.lane(kind)) {
            let between = begun.len();
            begun.extend(queue.between());
            total += queue.len().saturating_sub((begun.len() - between) as u64);
            waiting.extend(queue.front().filter(|item| !item.begun).map(|item| item.run));
        }
        begun.sort_unstable();
        waiting.sort_unstable();
        waiting.truncate(LISTED);
        let more_waiting = total.saturating_sub(waiting.len() as u64);
        Unfinished { begun, waiting, more_waiting }
    }

    /// Moves on to this moment.
    fn advance(&mut self, now: Timestamp) {
        self.now = now;
        while let Some((at, lane)) = self.timers.first().copied() {
            if at > now {
                return;
            }
            self.timers.remove(&(at, lane));
            if let Some(queue) = self.tasks.get_mut(&lane.task).and_then(|task| task.lane_mut(lane.kind)) {
                queue.position = Position::Out;
            }
            self.refresh(lane.task);
        }
    }

    fn set_busy(&mut self, lane: Lane, run: RunId, stage: Stage, digest: &Digest) {
        let task = self.tasks.entry(lane.task).or_insert_with(|| TaskQueue::new(digest));
        if task.set_busy(run, BusyRun { kind: lane.kind, stage }) {
            self.count_key(lane, 1);
        }
        self.refresh(lane.task);
    }

    fn end_busy(&mut self, id: TaskId, run: RunId) {
        if let Some(busy) = self.tasks.get_mut(&id).and_then(|task| task.end_busy(run)) {
            self.count_key(Lane { task: id, kind: busy.kind }, -1);
        }
        self.refresh(id);
    }

    /// Changes how many runs are at work under the key of the task of this lane.
    fn count_key(&mut self, lane: Lane, by: i64) {
        let shared = self.tasks.get(&lane.task).and_then(|task| task.limits().shared.as_ref());
        let Some(shared) = shared.filter(|_| lane.kind.is_limited()) else { return };
        let key = self.keys.entry(Arc::clone(&shared.key)).or_default();
        key.busy = u32::try_from(i64::from(key.busy) + by).unwrap_or(0);
        let name = Arc::clone(&shared.key);
        self.balance(&name);
    }

    fn balance(&mut self, name: &Arc<str>) {
        if let Some(key) = self.keys.get_mut(name) {
            self.stirred |= key.balance(&mut self.ready);
            if key.is_unused() {
                self.keys.remove(name);
            }
        }
    }

    /// Puts each lane of a task where it belongs now, and forgets the task if nothing is left of it.
    fn refresh(&mut self, id: TaskId) {
        for kind in LaneKind::ALL {
            let lane = Lane { task: id, kind };
            let Some(task) = self.tasks.get(&id) else { return };
            let Some(queue) = task.lane(kind) else { continue };
            let hungry = queue.is_hungry();
            let position = match queue.head() {
                None => Position::Out,
                Some(_) if task.closed => Position::Out,
                Some(head) if head.ready > self.now => Position::Timer(head.ready),
                Some(_) if task.holds(kind, self.now) => Position::Held,
                Some(_) if kind.is_limited() && task.limits().shared.is_some() => Position::Keyed,
                Some(_) => Position::Ready,
            };
            if hungry {
                self.hungry.insert(lane);
            } else {
                self.hungry.remove(&lane);
            }
            if position != queue.position {
                self.displace(lane);
                self.place(lane, position);
            }
            if let Some(task) = self.tasks.get_mut(&id) {
                task.tidy(kind);
            }
        }
        if self.tasks.get(&id).is_some_and(TaskQueue::is_idle) {
            self.tasks.remove(&id);
        }
    }

    fn place(&mut self, lane: Lane, position: Position) {
        let Some(task) = self.tasks.get_mut(&lane.task) else { return };
        let class = task.class();
        let shared = task.limits().shared.clone();
        let Some(queue) = task.lane_mut(lane.kind) else { return };
        queue.position = position;
        if queue.turn == 0 && matches!(position, Position::Held | Position::Keyed | Position::Ready) {
            self.next_turn += 1;
            queue.turn = self.next_turn;
        }
        let place = Place { class, turn: queue.turn, lane };
        match position {
            Position::Out | Position::Held => {}
            Position::Timer(at) => {
                self.timers.insert((at, lane));
                self.stirred = true;
            }
            Position::Ready => {
                self.ready.insert(place);
                self.stirred = true;
            }
            Position::Keyed => {
                if let Some(shared) = shared {
                    self.keys.entry(Arc::clone(&shared.key)).or_default().enter(place, shared.limit);
                    self.balance(&shared.key);
                }
            }
        }
    }

    /// Takes a lane out of wherever it is kept. It keeps its turn only while it is held back.
    fn displace(&mut self, lane: Lane) {
        let Some(task) = self.tasks.get_mut(&lane.task) else { return };
        let class = task.class();
        let shared = task.limits().shared.clone();
        let Some(queue) = task.lane_mut(lane.kind) else { return };
        let place = Place { class, turn: queue.turn, lane };
        match std::mem::replace(&mut queue.position, Position::Out) {
            Position::Out => queue.turn = 0,
            Position::Held => {}
            Position::Timer(at) => {
                queue.turn = 0;
                self.timers.remove(&(at, lane));
            }
            Position::Ready => {
                self.ready.remove(&place);
            }
            Position::Keyed => {
                if let Some(shared) = shared
                    && let Some(key) = self.keys.get_mut(&shared.key)
                {
                    key.leave(place, shared.limit);
                    self.balance(&shared.key);
                }
            }
        }
    }
}
