//! A task's definition as far as time goes, compiled and shared by all tasks with an equal one.

use super::Error;
use crate::catch_up::Times;
use crate::schedule::{ScheduleCache, Spread, Timeline, Zone};
use jiff::SignedDuration;
use punctual_model::{Task, TaskId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
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

/// Timelines are shared already, so the address of one that is in use stands for it.
type Key = (usize, SignedDuration, Duration, Duration, Duration);

/// Compiles tasks.
#[derive(Debug)]
pub(super) struct Compiler {
    cache: ScheduleCache,
    default_zone: Zone,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    in_use: HashMap<Key, Weak<Compiled>>,
    sweep_at: usize,
}

impl Compiler {
    pub(super) fn new(default_zone: Zone) -> Self {
        Self { cache: ScheduleCache::new(), default_zone, known: Mutex::default() }
    }

    pub(super) fn compile(&self, task: &Task) -> Result<Arc<Compiled>, Error> {
        let spec = &task.spec;
        let spread = Spread { offset: spec.offset, jitter: spec.jitter, splay: spec.splay };
        spread.check()?;
        let zone = match &spec.timezone {
            Some(name) => self.cache.zone(name)?,
            None => self.default_zone.clone(),
        };
        let timeline = self.cache.compile(&spec.schedules, &zone)?;
        Ok(self.share(Compiled { timeline, spread, grace: spec.grace }))
    }

    /// For a task whose definition cannot be compiled: it has no dues.
    pub(super) fn nothing(&self) -> Result<Arc<Compiled>, Error> {
        let timeline = self.cache.compile(&[], &self.default_zone)?;
        Ok(self.share(Compiled { timeline, spread: Spread::default(), grace: Duration::ZERO }))
    }

    fn share(&self, compiled: Compiled) -> Arc<Compiled> {
        let Compiled { timeline, spread, grace } = &compiled;
        let address = Arc::as_ptr(timeline).addr();
        let key = (address, spread.offset, spread.jitter, spread.splay, *grace);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is alive keeps its timeline alive, and with it the address.
        if let Some(same) = known.in_use.get(&key).and_then(Weak::upgrade) {
            return same;
        }
        if known.in_use.len() >= known.sweep_at {
            known.in_use.retain(|_, compiled| compiled.strong_count() > 0);
            known.sweep_at = SWEEP_FROM.max(known.in_use.len() * 2);
        }
        let compiled = Arc::new(compiled);
        known.in_use.insert(key, Arc::downgrade(&compiled));
        compiled
    }
}
