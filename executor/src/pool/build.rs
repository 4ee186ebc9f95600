//! Setting up a pool.

use super::{Pool, listen};
use crate::collector;
use crate::counters::Counting;
use crate::driver::Driver;
use crate::engine::{Drivers, Engine};
use crate::hook::MakeHook;
use crate::output::Outputs;
use crate::registry::Registry;
use crate::seats::{Limits, Seats};
use punctual_clock::{Chance, Clock};
use punctual_store::{Session, Store};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// What a pool is made of.
pub struct PoolBuilder {
    store: Arc<dyn Store>,
    session: Session,
    clock: Arc<dyn Clock>,
    chance: Option<Arc<Chance>>,
    drivers: Drivers,
    hooks: Vec<Arc<dyn MakeHook>>,
    outputs: Outputs,
    limits: Limits,
}

impl PoolBuilder {
    pub(super) fn new(store: Arc<dyn Store>, session: Session, clock: Arc<dyn Clock>) -> Self {
        let (chance, drivers, outputs, limits) =
            (None, BTreeMap::new(), Outputs::in_memory(), Limits::default());
        Self { store, session, clock, chance, drivers, hooks: Vec::new(), outputs, limits }
    }

    /// Adds a driver, in place of an earlier one of the same name. By default there is none.
    #[must_use]
    pub fn driver(mut self, driver: impl Driver + 'static) -> Self {
        self.drivers.insert(driver.name(), Arc::new(driver));
        self
    }

    /// Adds a driver that others hold as well.
    #[must_use]
    pub fn shared_driver(mut self, driver: Arc<dyn Driver>) -> Self {
        self.drivers.insert(driver.name(), driver);
        self
    }

    /// Adds what makes hooks, behind those that are there. By default there are none.
    #[must_use]
    pub fn hook(mut self, maker: Arc<dyn MakeHook>) -> Self {
        self.hooks.push(maker);
        self
    }

    /// Where output goes; by default to memory.
    #[must_use]
    pub fn outputs(mut self, outputs: Outputs) -> Self {
        self.outputs = outputs;
        self
    }

    /// Where jitter comes from; by default from the system's entropy.
    #[must_use]
    pub fn chance(mut self, chance: Arc<Chance>) -> Self {
        self.chance = Some(chance);
        self
    }

    /// How many attempts may be at work at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets it up, with its claimer still asleep until [`Pool::start`].
    ///
    /// # Panics
    /// Outside a tokio runtime: it starts tasks.
    #[must_use]
    pub fn build(self) -> Pool {
        let hints = self.store.hints();
        let wake = Arc::new(Notify::new());
        let (ends, received) = mpsc::unbounded_channel();
        let engine = Arc::new(Engine::new(
            (self.store, self.session),
            (self.clock, self.chance.unwrap_or_else(|| Arc::new(Chance::from_os()))),
            (self.drivers, self.hooks),
            self.outputs,
            Arc::new(Seats::new(self.limits, Arc::clone(&wake))),
            Arc::new(Registry::default()),
            Counting::default(),
            ends,
            wake,
        ));
        engine.spawn("the collector", collector::run(Arc::clone(&engine), received));
        engine.spawn("the listener", listen::run(Arc::clone(&engine), hints.changed));
        Pool::over(engine, hints.ready)
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("session", &self.session)
            .field("drivers", &self.drivers.keys())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
