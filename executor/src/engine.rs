//! What all parts of the executor share: the store and the session, the drivers, the seats, who is at work and
//! who waits, and the one way to stop everything when the store has failed.

use crate::attempt::{self, Job};
use crate::collector::End;
use crate::counters::Counting;
use crate::driver::{Class, Driver};
use crate::error::Error;
use crate::flag::Flag;
use crate::guard::guarded;
use crate::hook::MakeHook;
use crate::looks::Looks;
use crate::output::Outputs;
use crate::registry::Registry;
use crate::seats::Seats;
use crate::working::Order;
use punctual_clock::{Chance, Clock};
use punctual_model::{RunId, RunState, StopWhy, Task};
use punctual_store::{Session, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// The drivers of a node, by the names that tasks use.
pub(crate) type Drivers = BTreeMap<&'static str, Arc<dyn Driver>>;

/// Shared by the claimer, the collector, every attempt and every promise.
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) session: Session,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<Chance>,
    pub(crate) drivers: Drivers,
    /// In the order in which they are asked before a start.
    pub(crate) hooks: Vec<Arc<dyn MakeHook>>,
    pub(crate) outputs: Outputs,
    pub(crate) seats: Arc<Seats>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) counting: Counting,
    /// Where attempts hand in their ends. Bounded by what is at work: each attempt hands in one.
    pub(crate) ends: mpsc::UnboundedSender<End>,
    /// Makes the claimer look.
    pub(crate) wake: Arc<Notify>,
    /// When it has.
    pub(crate) looks: Looks,
    /// Makes the teller look.
    pub(crate) untold: Notify,
    /// No more claims.
    pub(crate) stopping: Flag,
    /// Nothing is recorded any more: the store has failed, or nobody wants it.
    pub(crate) over: Flag,
    error: OnceLock<Error>,
    /// Runs whose work goes on without us while the node stops.
    pub(crate) detached: Mutex<BTreeSet<RunId>>,
}

impl Engine {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, by the builder, with everything it was given"
    )]
    pub(crate) fn new(
        (store, session): (Arc<dyn Store>, Session),
        (clock, chance): (Arc<dyn Clock>, Arc<Chance>),
        (drivers, hooks): (Drivers, Vec<Arc<dyn MakeHook>>),
        outputs: Outputs,
        seats: Arc<Seats>,
        registry: Arc<Registry>,
        counting: Counting,
        ends: mpsc::UnboundedSender<End>,
        wake: Arc<Notify>,
    ) -> Self {
        let (stopping, over, error) = (Flag::default(), Flag::default(), OnceLock::new());
        Self {
            store,
            session,
            clock,
            chance,
            drivers,
            hooks,
            outputs,
            seats,
            registry,
            counting,
            ends,
            wake,
            looks: Looks::default(),
            untold: Notify::new(),
            stopping,
            over,
            error,
            detached: Mutex::default(),
        }
    }

    /// The driver of a task's work.
    pub(crate) fn driver(&self, task: &Task) -> Option<&Arc<dyn Driver>> {
        self.drivers.get(task.spec.work.driver())
    }

    /// The seats that a task's work takes. Work without a driver fails at once, in the cheap class.
    pub(crate) fn class(&self, task: &Task) -> Class {
        self.driver(task).map_or(Class::InProcess, |driver| driver.class())
    }

    /// Starts a task that everything depends on: should it die by a fault of ours, everything stops instead of
    /// waiting for it for ever.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        what: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        // Whoever waits here must not keep alive what it waits for the end of.
        let engine = Arc::downgrade(self);
        tokio::spawn(async move {
            if let Err(panic) = guarded(task).await
                && let Some(engine) = engine.upgrade()
            {
                let reason = format!("{what} of the executor has died: {panic}");
                engine.fail(Error::Store(punctual_store::Error::Failed { reason }));
            }
        })
    }

    /// Begins an attempt as a task of its own.
    pub(crate) fn begin(self: &Arc<Self>, job: Job) {
        tokio::spawn(attempt::live(Arc::clone(self), job));
    }

    /// Tells the attempt of a run to stop, which is durable. One that is not here is still to come if the record says
    /// so; else it has left while the stop was on its way, and nothing is to be remembered for it.
    pub(crate) async fn stop_run(&self, run: RunId, why: StopWhy) {
        if self.registry.stop(run, why) {
            return;
        }
        match self.store.run(run).await {
            Ok(Some(record))
                if matches!(record.state(), RunState::Stopping { .. })
                    && record.life.epoch == self.session.epoch => {}
            Ok(_) => self.registry.forget_stop(run),
            Err(error) => tracing::warn!(run.id = %run, %error, "a run that is to stop could not be read"),
        }
    }

    /// Why nothing is recorded any more, if so.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.error.get().cloned().map_or(Ok(()), Err)
    }

    /// Answers of the store; one that says that it takes no more writes stops everything.
    pub(crate) fn checked<T>(&self, answer: Result<T, punctual_store::Error>) -> Result<T, Error> {
        answer.map_err(|error| {
            let error = Error::Store(error);
            if is_fatal(&error) {
                self.fail(error.clone());
            }
            error
        })
    }

    /// Stops everything: waiters get the error, the work is told to end, nothing is claimed or recorded any
    /// more. The first error counts.
    pub(crate) fn fail(&self, error: Error) {
        let mut first = false;
        let error = self.error.get_or_init(|| {
            first = true;
            error
        });
        if first {
            if !matches!(error, Error::Stopped) {
                tracing::error!(%error, "the executor stops: nothing can be recorded any more");
            }
            self.over.raise();
            self.registry.fail(error);
            self.registry.order_all(Order::Abandon);
        }
    }
}

/// Whether the store takes no more writes from us.
fn is_fatal(error: &Error) -> bool {
    match error {
        Error::Store(error) => match error {
            punctual_store::Error::Fenced { .. } | punctual_store::Error::Failed { .. } => true,
            punctual_store::Error::Full { .. }
            | punctual_store::Error::TooLarge { .. }
            | punctual_store::Error::Unreadable { .. } => false,
        },
        Error::Forgotten(_) | Error::Stopped => false,
    }
}
