//! The test kit: a whole engine on a virtual clock, in memory, whose work does what a test wrote down.
//!
//! ```
//! use punctual::prelude::*;
//! use punctual::testing::{Act, TestEngine};
//! use std::time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! // In a test: #[tokio::test(start_paused = true)]
//! let t = TestEngine::at("2027-03-28T00:00:00+01:00").await; // Berlin skips 02:00–03:00 that night
//! t.script(|attempt| if attempt.run.life.attempt < 3 { Act::Exit(1) } else { Act::Succeed });
//! let report = TaskSpec::new("report", Work::handler("report"))
//!     .cron("30 2 * * *")
//!     .timezone("Europe/Berlin")
//!     .restart(RestartPolicy::attempts(3, Duration::from_secs(60)));
//! t.tasks().create(report).await.unwrap();
//!
//! t.advance(Duration::from_secs(2 * 3600)).await;
//! assert!(t.runs("report").await[0].state().is_waiting(), "the first attempt has failed");
//! t.advance(Duration::from_secs(5 * 60)).await;
//! let run = t.last_run("report").await.unwrap();
//! assert_eq!(run.scheduled_for, "2027-03-28T03:00:00+02:00".parse().unwrap());
//! assert_eq!((run.state(), run.life.attempt), (RunState::Succeeded, 3));
//!
//! // The process dies, and comes back over the same store.
//! let t = t.crash_and_reopen().await;
//! assert_eq!(t.runs("report").await.len(), 1);
//! # });
//! ```
//!
//! Time stands still until the test moves it, and every consequence of a moment happens before the next one. The
//! kit needs a current-thread runtime with paused time; nothing else in the engine uses tokio's timers.

pub use punctual_clock::VirtualClock;
pub use punctual_executor::scripted::{Act, Ask, Asked, ScriptedDriver};
#[cfg(feature = "mock")]
pub use punctual_executor::{MockExecutor, MockRunPromise};

use crate::{Builder, Error, Punctual, Stopped};
use jiff::Timestamp;
use punctual_clock::{Chance, Clock};
use punctual_coordinator::{RunQuery, Tasks};
use punctual_executor::Attempt;
use punctual_model::Run;
use punctual_store::{MemoryStore, Store};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Seed of the engine's chance: every test run is the same.
const SEED: u64 = 0x5075_6e63_7475_616c;

/// A whole engine under a test's hand. Dereferences to the [`Punctual`] itself.
///
/// All its methods panic where a test would: on an instant that is none, a task that is not there, an error of
/// the engine.
pub struct TestEngine {
    punctual: Punctual,
    store: Arc<MemoryStore>,
    clock: Arc<VirtualClock>,
    driver: ScriptedDriver,
    configure: Configure,
}

/// What a test adds to the setting up, at each start.
type Configure = Box<dyn Fn(Builder) -> Builder + Send + Sync>;

impl TestEngine {
    /// An engine whose clock stands at this instant (RFC 3339, any offset).
    ///
    /// # Panics
    /// If the text is no instant, or the engine does not start.
    pub async fn at(instant: &str) -> Self {
        Self::with(instant, |builder| builder).await
    }

    /// The same, set up further by a function: limits, a default zone, an [`executor`](Builder::executor) in place
    /// of the one with the scripted driver.
    ///
    /// # Panics
    /// As [`Self::at`].
    pub async fn with(instant: &str, configure: impl Fn(Builder) -> Builder + Send + Sync + 'static) -> Self {
        let start: Timestamp = instant.parse().unwrap_or_else(|error| panic!("{instant:?}: {error}"));
        let clock = Arc::new(VirtualClock::new(start));
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let driver = ScriptedDriver::named("handler", Arc::clone(&clock) as Arc<dyn Clock>);
        Self::over(store, clock, driver, Box::new(configure)).await
    }

    async fn over(
        store: Arc<MemoryStore>,
        clock: Arc<VirtualClock>,
        driver: ScriptedDriver,
        configure: Configure,
    ) -> Self {
        let builder = Punctual::builder()
            .store(Arc::clone(&store) as Arc<dyn Store>)
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .chance(Arc::new(Chance::from_seed(SEED)))
            .driver(Arc::new(driver.clone()))
            .driver(Arc::new(driver.also_named("process")))
            .driver(Arc::new(driver.also_named("shell")));
        let started = configure(builder).start().await;
        let punctual = started.unwrap_or_else(|error| panic!("the engine does not start: {error}"));
        clock.settle().await;
        Self { punctual, store, clock, driver, configure }
    }

    /// Writes down what attempts do, in place of what was written before; success at once if nothing was.
    pub fn script(&self, script: impl Fn(&Attempt) -> Act + Send + Sync + 'static) {
        self.driver.script(script);
    }

    /// The driver that stands in for all kinds of work, and knows what it was asked.
    #[must_use]
    pub fn driver(&self) -> &ScriptedDriver {
        &self.driver
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &VirtualClock {
        &self.clock
    }

    /// Moves time on, one deadline after the other, each with all its consequences.
    pub async fn advance(&self, duration: Duration) {
        self.clock.advance(duration).await;
    }

    /// Moves time on to the next deadline, if anybody waits for one.
    pub async fn advance_to_next(&self) -> Option<Timestamp> {
        self.clock.advance_to_next().await
    }

    /// Returns when nothing more happens without time going on.
    pub async fn settle(&self) {
        self.clock.settle().await;
    }

    /// The runs of a task, oldest first.
    ///
    /// # Panics
    /// If there is no such task.
    pub async fn runs(&self, task: &str) -> Vec<Run> {
        let tasks: Tasks = self.punctual.tasks();
        let listed = async {
            let task = tasks.find(task).await?.task.id;
            let (mut runs, mut after) = (Vec::new(), None);
            loop {
                let query = RunQuery { task: Some(task), oldest_first: true, after, ..RunQuery::default() };
                let page = tasks.runs(query).await?;
                runs.extend(page.items);
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok::<_, Error>(runs),
                }
            }
        };
        listed.await.unwrap_or_else(|error| panic!("runs of {task:?}: {error}"))
    }

    /// The newest run of a task.
    ///
    /// # Panics
    /// If there is no such task.
    pub async fn last_run(&self, task: &str) -> Option<Run> {
        self.runs(task).await.pop()
    }

    /// The process dies here, with everything that was not durable, and a new one starts over the same store at
    /// the same time.
    pub async fn crash_and_reopen(self) -> Self {
        let Self { punctual, store, clock, driver, configure } = self;
        let survived = Arc::new(store.crash());
        drop(punctual);
        clock.settle().await;
        Self::over(survived, clock, driver, configure).await
    }

    /// Stops in order. Work that is under way is waited for, so time has to go on meanwhile: keep a clone of the
    /// [`clock`](Self::clock).
    ///
    /// # Panics
    /// If the end of some work could not be recorded.
    pub async fn stop(self) -> Stopped {
        self.punctual.stop().await.unwrap_or_else(|error| panic!("the engine does not stop: {error}"))
    }
}

impl Deref for TestEngine {
    type Target = Punctual;

    fn deref(&self) -> &Punctual {
        &self.punctual
    }
}

impl std::fmt::Debug for TestEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestEngine").field("clock", &self.clock).finish_non_exhaustive()
    }
}
