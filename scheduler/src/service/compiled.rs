//! A task's definition as far as time goes, compiled and shared by all tasks with an equal one.

use super::Error;
use crate::catch_up::Times;
use crate::schedule::{ScheduleCache, Spread, Timeline, Zone};
use punctual_model::{TaskId, Timing};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Below this many entries looking for dead ones is not worth it.
const SWEEP_FROM: usize = 1_024;

/// All that the timetable needs to move a task on.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) timeline: Arc<Timeline>,
    pub(super) spread: Spread,
    pub(super) grace: Duration,
}

impl Compiled {
    pub(super) fn times(&self, task: TaskId) -> Times<'_> {
        Times::new(task, &self.timeline, self.spread)
    }
}

/// Compiles tasks.
#[derive(Debug)]
pub(super) struct Compiler {
    cache: ScheduleCache,
    default_zone: Zone,
    known: Mutex<Known>,
}

/// What is in use, by what it was compiled from: most tasks are like another one, and looking that up costs a fraction
/// of compiling. Those that mean the same and say it otherwise share their timelines, which are the larger part.
#[derive(Debug, Default)]
struct Known {
    in_use: HashMap<Timing, Weak<Compiled>>,
    sweep_at: usize,
}

impl Compiler {
    pub(super) fn new(default_zone: Zone) -> Self {
        Self { cache: ScheduleCache::new(), default_zone, known: Mutex::default() }
    }

    pub(super) fn compile(&self, timing: &Timing) -> Result<Arc<Compiled>, Error> {
        if let Some(same) = self.lock().in_use.get(timing).and_then(Weak::upgrade) {
            return Ok(same);
        }
        let spread = Spread::from(timing);
        spread.check()?;
        let zone = match &timing.timezone {
            Some(name) => self.cache.zone(name)?,
            None => self.default_zone.clone(),
        };
        let timeline = self.cache.compile(&timing.schedules, &zone)?;
        Ok(self.share(timing, Compiled { timeline, spread, grace: timing.grace }))
    }

    /// For a task whose definition cannot be compiled: it has no dues.
    pub(super) fn nothing(&self) -> Result<Arc<Compiled>, Error> {
        self.compile(&Timing::default())
    }

    fn share(&self, timing: &Timing, compiled: Compiled) -> Arc<Compiled> {
        let mut known = self.lock();
        // Somebody else may have been faster.
        if let Some(same) = known.in_use.get(timing).and_then(Weak::upgrade) {
            return same;
        }
        if known.in_use.len() >= known.sweep_at {
            known.in_use.retain(|_, compiled| compiled.strong_count() > 0);
            known.sweep_at = SWEEP_FROM.max(known.in_use.len() * 2);
        }
        let compiled = Arc::new(compiled);
        known.in_use.insert(timing.clone(), Arc::downgrade(&compiled));
        compiled
    }

    /// A panic elsewhere leaves the map whole: it only gains entries that are complete.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
