//! When a task is due, by an account of its own: cron by looking at every minute of the simulated time with the
//! matcher of the scheduler's brute-force tests, intervals by plain arithmetic, jitter by the formula that is part
//! of the stored contract. Shares no code with the scheduler.

use crate::spec::Spec;
use crate::wall::Wall;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use punctual::model::schedule::{Cron, Every, Schedule};
use punctual::model::{Task, TaskId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The stretch of real time that a simulation may reach, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// 0001-01-01T00:00Z, from which intervals without an anchor count.
const ANCHOR: i64 = -62_135_596_800;

/// The laid-out minutes of a zone are the same for every seed with the same reach: made once a process.
static WALLS: Mutex<BTreeMap<(String, Reach), Arc<Wall>>> = Mutex::new(BTreeMap::new());

pub(crate) struct Oracle {
    reach: Reach,
    /// The structure behind each cron text that was made up.
    specs: BTreeMap<String, Spec>,
}

impl Oracle {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, specs: BTreeMap::new() }
    }

    /// Remembers what a text means.
    pub(crate) fn learn(&mut self, spec: Spec) -> String {
        let text = spec.text();
        self.specs.insert(text.clone(), spec);
        text
    }

    /// All dues within reach, in seconds, rising.
    pub(crate) fn dues(&self, task: &Task) -> Vec<i64> {
        let zone = task.spec.timezone.as_deref().unwrap_or("UTC");
        let mut all = Vec::new();
        for schedule in &task.spec.schedules {
            match schedule {
                Schedule::Cron(cron) => all.extend(self.cron(cron, zone)),
                Schedule::Every(every) => all.extend(self.every(every)),
                Schedule::At(at) => all.push(at.as_second()),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn cron(&self, cron: &Cron, zone: &str) -> Vec<i64> {
        let spec = self.specs.get(&cron.expr).expect("every expression was made here");
        wall(zone, self.reach).firings(spec, cron.dst_gap, cron.dst_overlap)
    }

    fn every(&self, every: &Every) -> Vec<i64> {
        let step = i64::try_from(every.interval.as_secs()).expect("an interval of this century");
        let anchor = every.anchor.map_or(ANCHOR, |anchor| anchor.as_second());
        let first = anchor + (self.reach.from - anchor).div_euclid(step) * step;
        (0..)
            .map(|n| first + n * step)
            .skip_while(|at| *at <= self.reach.from)
            .take_while(|at| *at <= self.reach.until)
            .collect()
    }
}

fn wall(zone: &str, reach: Reach) -> Arc<Wall> {
    let key = (zone.to_owned(), reach);
    let known = || WALLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(wall) = known().get(&key) {
        return Arc::clone(wall);
    }
    let tz = TimeZone::get(zone).expect("a zone that is there");
    let radius = (reach.until - reach.from) / 120 * 60;
    let wall = Arc::new(Wall::new(&tz, reach.from + radius, radius, 60));
    known().insert(key, Arc::clone(&wall));
    wall
}

/// When the run of a due may start.
pub(crate) fn run_at(task: &Task, due: Timestamp) -> Timestamp {
    let share = |hash: u64, window: Duration| match u64::try_from(window.as_millis()) {
        Ok(window @ 1..) => i64::try_from(hash % window).expect("a window below ten years"),
        _ => 0,
    };
    let id = TaskId::get(task.id);
    let jitter = share(mix(mix(id) ^ due.as_millisecond() as u64), task.spec.jitter);
    let splay = share(mix(id ^ u64::from_be_bytes(*b"\0\0\0splay")), task.spec.splay);
    let offset = i64::try_from(task.spec.offset.as_millis()).expect("an offset below ten years");
    Timestamp::from_millisecond(due.as_millisecond() + offset + jitter + splay)
        .expect("a time in this century")
}

/// SplitMix64.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
