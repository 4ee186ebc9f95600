//! Setting an engine up: which store, which work, which clock.

use crate::engine::{Punctual, Rooms};
use crate::error::Error;
use crate::leavings::Leavings;
use punctual_clock::{Chance, Clock, IdGenerator, SystemClock};
use punctual_coordinator::{Coordinator, Parts};
#[cfg(feature = "http")]
use punctual_executor::client::Client;
use punctual_executor::drivers::handler::{HandlerDriver, Handlers};
#[cfg(feature = "http")]
use punctual_executor::drivers::http::HttpDriver;
use punctual_executor::drivers::process::{ProcessDriver, ProcessHome};
#[cfg(feature = "http")]
use punctual_executor::egress::Egress;
#[cfg(feature = "http")]
use punctual_executor::fetch::{FetchLimits, Fetcher};
use punctual_executor::hooks::{Means, WorkDirs, built_in};
use punctual_executor::{Driver, Executor, Limits, Outputs, Pool};
use punctual_scheduler::Scheduler;
use punctual_scheduler::schedule::Zone;
use punctual_store::fjall::{FjallStore, Options};
use punctual_store::{MemoryStore, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where an engine remembers.
enum Memory {
    Directory(PathBuf),
    Process,
    Given(Arc<dyn Store>),
}

/// Sets an engine up. Without further ado it remembers nothing beyond its process.
pub struct Builder {
    memory: Memory,
    options: Options,
    clock: Option<Arc<dyn Clock>>,
    chance: Option<Arc<Chance>>,
    handlers: Handlers,
    drivers: Vec<Arc<dyn Driver>>,
    executor: Option<Arc<dyn Executor>>,
    limits: Limits,
    #[cfg(feature = "http")]
    egress: Egress,
    work_dir: Option<PathBuf>,
    default_zone: Option<String>,
    node: String,
    stop_grace: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            memory: Memory::Process,
            options: Options::default(),
            clock: None,
            chance: None,
            handlers: Handlers::new(),
            drivers: Vec::new(),
            executor: None,
            limits: Limits::default(),
            #[cfg(feature = "http")]
            egress: Egress::public_only(),
            work_dir: None,
            default_zone: None,
            node: "local".to_owned(),
            stop_grace: Self::STOP_GRACE,
        }
    }
}

impl Builder {
    /// Default for [`Self::stop_grace`]: well below the 90 s after which service managers lose patience.
    pub const STOP_GRACE: Duration = Duration::from_secs(10);

    /// Remembers in this directory, which is made if it is not there. One process at a time.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.memory = Memory::Directory(path.into());
        self
    }

    /// Remembers as long as the process lives: for tests and for work that is not worth a disk.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.memory = Memory::Process;
        self
    }

    /// Remembers in a store of the caller's. It has to have the engine's clock.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.memory = Memory::Given(store);
        self
    }

    /// Tunes the store of [`Self::data_dir`].
    #[must_use]
    pub fn store_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The async functions that tasks may name.
    #[must_use]
    pub fn handlers(mut self, handlers: Handlers) -> Self {
        self.handlers = handlers;
        self
    }

    /// Adds a driver, in place of a built-in one of the same name (`handler`, `process`, `shell`, `http`).
    #[must_use]
    pub fn driver(mut self, driver: Arc<dyn Driver>) -> Self {
        self.drivers.push(driver);
        self
    }

    /// Replaces the whole room that does the work, for a test that looks at what is fed to it: a mocked executor
    /// (feature `mock`) in place of the engine's own. Handlers, drivers and limits then go unused, and nothing is
    /// claimed from the queue: runs stay as they were accepted. Where runs are to end, restart or overlap, script
    /// the driver instead (`TestEngine::script`).
    #[must_use]
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = Some(executor);
        self
    }

    /// How many attempts may be at work at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where requests that tasks make may go; only to the public internet if this is not called.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn egress(mut self, egress: Egress) -> Self {
        self.egress = egress;
        self
    }

    /// Where runs that want a directory of their own have it, in place of `work` in the data directory, which no other
    /// user than the engine's can enter. Made if only it is missing; nobody else may write to it, or above it where the
    /// sticky bit is not set. What is kept there goes with its run's record, as long as this stays the same.
    #[must_use]
    pub fn work_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.work_dir = Some(path.into());
        self
    }

    /// The IANA zone of tasks that name none; UTC if this is not called.
    #[must_use]
    pub fn default_timezone(mut self, name: impl Into<String>) -> Self {
        self.default_zone = Some(name.into());
        self
    }

    /// How long work inside the process may go on after a stop was asked for.
    #[must_use]
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace;
        self
    }

    /// The engine's clock; the system's if this is not called.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Where jitter of restart delays comes from; the system's entropy if this is not called.
    #[must_use]
    pub fn chance(mut self, chance: Arc<Chance>) -> Self {
        self.chance = Some(chance);
        self
    }

    /// Opens the store, takes up or ends what an earlier process had begun, and starts everything.
    ///
    /// # Errors
    /// [`Error::Open`] if the data directory is in use, damaged or not ours; [`Error::Zone`]; [`Error::Io`] if a
    /// [`Self::work_dir`] is not ours alone; what the store says. Nothing of a single task or run stops a start: the [report](Punctual::start_report) tells of it.
    pub async fn start(self) -> Result<Punctual, Error> {
        let mut punctual = self.open().await?;
        punctual.begin();
        Ok(punctual)
    }

    /// [`Self::start`] up to where new work would begin: what was begun earlier is taken up or ended, and nothing
    /// runs until [`Punctual::begin`]. Tasks that are changed or deleted in between never run as they were.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn open(self) -> Result<Punctual, Error> {
        let clock = match self.clock {
            Some(clock) => clock,
            None => {
                Arc::new(SystemClock::new().map_err(|source| Error::Io { what: "start the clock", source })?)
            }
        };
        let zone = self.default_zone.as_deref().map(Zone::get).transpose()?.unwrap_or_else(Zone::utc);
        let data = match &self.memory {
            Memory::Directory(path) => Some(path.clone()),
            Memory::Process | Memory::Given(_) => None,
        };
        let (store, outputs, home) = open(self.memory, self.options, &clock).await?;
        // What a dead process left alive, and nobody keeps, ends before anybody judges its run.
        ProcessDriver::reap_leftovers(&home, &*clock).await;

        let work_dirs = work_dirs(self.work_dir, data.as_deref()).await?;
        let session = store.open_session(&self.node).await?;
        let ids = Arc::new(IdGenerator::new(Arc::clone(&clock)));
        ids.raise_floor(session.id_floor);
        let home = Arc::new(home);
        let (pool, executor) = match self.executor {
            Some(executor) => (None, executor),
            None => {
                let mut pool = Pool::builder(Arc::clone(&store), session.clone(), Arc::clone(&clock))
                    .driver(HandlerDriver::new(self.handlers, Arc::clone(&clock)))
                    .driver(ProcessDriver::process(Arc::clone(&home), Arc::clone(&clock)))
                    .driver(ProcessDriver::shell(Arc::clone(&home), Arc::clone(&clock)))
                    .outputs(outputs.clone())
                    .limits(self.limits);
                #[cfg_attr(not(feature = "http"), expect(unused_mut, reason = "only requests are added"))]
                let mut means = Means::new(work_dirs.clone()).marked_by(&home);
                #[cfg(feature = "http")]
                {
                    let client = Arc::new(Client::new(self.egress, Arc::clone(&clock)));
                    pool = pool.driver(HttpDriver::new(Arc::clone(&client), Arc::clone(&clock)));
                    means = means.requests_by(Arc::clone(&client));
                    if let Some(data) = &data {
                        let fetcher = Fetcher::new(client, Arc::clone(&clock), data, FetchLimits::default());
                        let fetcher = fetcher
                            .map_err(|source| Error::Io { what: "prepare the cache of artifacts", source })?;
                        means = means.fetches_by(Arc::new(fetcher));
                    }
                }
                for hook in built_in(&means) {
                    pool = pool.hook(hook);
                }
                for driver in self.drivers {
                    pool = pool.shared_driver(driver);
                }
                if let Some(chance) = self.chance {
                    pool = pool.chance(chance);
                }
                let pool = Arc::new(pool.build());
                (Some(Arc::clone(&pool)), pool as Arc<dyn Executor>)
            }
        };
        let scheduler = Scheduler::new(Arc::clone(&clock), zone.clone());
        let coordinator = Coordinator::new(Parts {
            store: Arc::clone(&store),
            session: session.clone(),
            scheduler: scheduler.clone(),
            executor,
            clock: Arc::clone(&clock),
            ids,
            default_zone: zone,
            output: Arc::new(Leavings { outputs: outputs.clone(), work_dirs }),
        });
        let rooms = Rooms { store, session, clock, scheduler, pool, outputs, coordinator };
        let clock = Arc::clone(&rooms.clock);
        let punctual = Punctual::open(rooms, self.stop_grace).await?;
        // Every run is judged: what is still kept of processes belongs to none.
        ProcessDriver::sweep(&home, &*clock).await;
        Ok(punctual)
    }
}

async fn work_dirs(place: Option<PathBuf>, data: Option<&Path>) -> Result<WorkDirs, Error> {
    let usual = data.map(|data| data.join("work"));
    let Some(place) = place else { return Ok(usual.map_or_else(WorkDirs::none, WorkDirs::below)) };
    let prepared = tokio::task::spawn_blocking(move || WorkDirs::outside(&place, usual)).await;
    let prepared = prepared.map_err(|error| Error::Died(error.to_string()))?;
    prepared.map_err(|source| Error::Io { what: "use the directory for those of runs", source })
}

async fn open(
    memory: Memory,
    options: Options,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn Store>, Outputs, ProcessHome), Error> {
    Ok(match memory {
        Memory::Process => {
            let store = MemoryStore::new(Arc::clone(clock));
            (Arc::new(store), Outputs::in_memory(), ProcessHome::nowhere())
        }
        Memory::Given(store) => (store, Outputs::in_memory(), ProcessHome::nowhere()),
        Memory::Directory(path) => {
            let (at, clock, space) = (path.clone(), Arc::clone(clock), options.free_space);
            // It blocks: about a second for a million waiting runs.
            let opened = tokio::task::spawn_blocking(move || FjallStore::open(&at, clock, &options)).await;
            let store = opened.map_err(|error| Error::Died(error.to_string()))??;
            let home = ProcessHome::in_directory(&path)
                .map_err(|source| Error::Io { what: "prepare the data directory for processes", source })?;
            (Arc::new(store), Outputs::beside_store(&path, space), home)
        }
    })
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("node", &self.node)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
