//! What the handlers translate to: the rooms below, and whether writes are still taken.

use crate::token::Token;
use jiff::Timestamp;
use punctual_clock::Clock;
use punctual_coordinator::{Coordinator, Tasks};
use punctual_executor::{Outputs, Pool};
use punctual_scheduler::Scheduler;
use punctual_store::Store;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// What an API is built over.
#[derive(Clone)]
pub struct Parts {
    /// Owns tasks and runs: everything that is written goes there.
    pub coordinator: Coordinator,
    /// For its statistics.
    pub scheduler: Scheduler,
    /// For its figures.
    pub store: Arc<dyn Store>,
    /// For its figures; dangling where the program runs an executor of its own. Held weakly, since an engine
    /// that is dropped ends.
    pub executor: Weak<Pool>,
    /// What runs have written.
    pub outputs: Outputs,
    /// The engine's clock: all waiting here is done on it.
    pub clock: Arc<dyn Clock>,
    /// Zone of tasks that name none, for health.
    pub default_zone: String,
    /// Where time zones come from, for health.
    pub zone_source: String,
    /// What TCP callers have to show; without it nobody gets in by TCP.
    pub token: Option<Token>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("default_zone", &self.default_zone).finish_non_exhaustive()
    }
}

/// The API of one engine. Clones are the same.
#[derive(Debug, Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    tasks: Tasks,
    stopping: AtomicBool,
    started: Timestamp,
}

impl Api {
    /// The API over these rooms. It shows the tasks of the type `system`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (tasks, started) = (parts.coordinator.tasks(), parts.clock.now());
        Self { inner: Arc::new(Inner { parts, tasks, stopping: AtomicBool::new(false), started }) }
    }

    /// From here on everything that would change something is refused as unavailable; reading goes on. The first
    /// step of a stop.
    pub fn refuse_writes(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// When it was built.
    pub(crate) fn started(&self) -> Timestamp {
        self.inner.started
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.parts.clock
    }
}
