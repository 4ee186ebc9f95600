//! The engine as a program holds it: the rooms wired together, their loops, and the order of its end.

use crate::builder::Builder;
use crate::error::Error;
use punctual_clock::Clock;
use punctual_coordinator::{Coordinator, Face, StartReport, Tasks};
use punctual_executor::{Counters, Outputs, Pool, StopReport};
use punctual_model::TaskType;
use punctual_scheduler::Scheduler;
use punctual_store::{Session, Store};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Everything an engine is made of.
pub(crate) struct Rooms {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) session: Session,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) scheduler: Scheduler,
    /// None where the program has put an executor of its own in its place.
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) outputs: Outputs,
    pub(crate) coordinator: Coordinator,
}

/// A running engine. Dropped without [`stop`](Self::stop) it ends its work as if the process had died: nothing
/// that was acknowledged is lost, and the next start takes it up.
pub struct Punctual {
    rooms: Rooms,
    report: StartReport,
    stop_grace: Duration,
    begun: bool,
    stopping: CancellationToken,
    coordinating: Mutex<Option<JoinHandle<Result<(), punctual_coordinator::Error>>>>,
}

/// How an engine ended.
#[derive(Debug, Clone, Default)]
pub struct Stopped {
    /// What was at work then, and what became of it.
    pub work: StopReport,
}

impl Punctual {
    /// Begins to set an engine up.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) async fn open(rooms: Rooms, stop_grace: Duration) -> Result<Self, Error> {
        let report = rooms.coordinator.recover().await?;
        Ok(Self {
            rooms,
            report,
            stop_grace,
            begun: false,
            stopping: CancellationToken::new(),
            coordinating: Mutex::new(None),
        })
    }

    /// Begins the work of an engine that was only [opened](Builder::open). Twice is once.
    pub fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        // Only now: what was begun has been taken up, so a claim cannot start it a second time.
        if let Some(pool) = &self.rooms.pool {
            pool.start();
        }
        let (coordinator, stop) = (self.rooms.coordinator.clone(), self.stopping.clone());
        *self.coordinating.get_mut() = Some(tokio::spawn(async move { coordinator.run(stop).await }));
    }

    /// The tasks that people create, and their runs.
    #[must_use]
    pub fn tasks(&self) -> Tasks {
        self.rooms.coordinator.tasks()
    }

    /// The tasks of a system of its own: its type, its metadata, and nobody else's tasks.
    #[must_use]
    pub fn face(&self, kind: TaskType) -> Face {
        self.rooms.coordinator.face(kind)
    }

    /// The owner of all tasks and runs, for whoever builds a door of their own.
    #[must_use]
    pub fn coordinator(&self) -> &Coordinator {
        &self.rooms.coordinator
    }

    /// The scheduler, for its statistics.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        &self.rooms.scheduler
    }

    /// What the start found, and what became of it.
    #[must_use]
    pub fn start_report(&self) -> &StartReport {
        &self.report
    }

    /// What runs have written; nothing under an [executor of the caller's](Builder::executor).
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.rooms.outputs
    }

    /// What the executor has done; nothing was counted under an [executor of the caller's](Builder::executor).
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.rooms.pool.as_ref().map(|pool| pool.counters()).unwrap_or_default()
    }

    /// The executor, for its figures; dangling under an [executor of the caller's](Builder::executor).
    #[must_use]
    pub fn executor(&self) -> Weak<Pool> {
        self.rooms.pool.as_ref().map(Arc::downgrade).unwrap_or_default()
    }

    /// What the scheduler has done.
    #[must_use]
    pub fn scheduler_statistics(&self) -> punctual_scheduler::Statistics {
        self.rooms.scheduler.statistics()
    }

    /// The store, for figures and for listings across types.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.rooms.store
    }

    /// The engine's clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.rooms.clock
    }

    /// Returns when nothing is at work; at once if nothing is. What an
    /// [executor of the caller's](Builder::executor) does is not known here.
    pub async fn idle(&self) {
        if let Some(pool) = &self.rooms.pool {
            pool.idle().await;
        }
    }

    /// Runs until `signal` resolves, then stops in order.
    ///
    /// # Errors
    /// The reason, if the engine could not go on: then only a new process can (see [`Error::is_fatal`]).
    pub async fn run_until(self, signal: impl Future) -> Result<Stopped, Error> {
        let failed = tokio::select! {
            _ = signal => None,
            error = self.failure() => Some(error),
        };
        let stopped = self.stop().await;
        match failed {
            Some(error) => Err(error),
            None => stopped,
        }
    }

    /// Returns when the engine cannot go on, with the reason.
    pub async fn failure(&self) -> Error {
        let mut coordinating = self.coordinating.lock().await;
        let coordinator = async {
            match coordinating.as_mut() {
                Some(handle) => match handle.await {
                    Ok(Ok(())) => std::future::pending().await,
                    Ok(Err(error)) => Error::Request(error),
                    Err(died) => Error::Died(died.to_string()),
                },
                None => std::future::pending().await,
            }
        };
        let pool = async {
            match &self.rooms.pool {
                Some(pool) => Error::Executor(pool.failure().await),
                None => std::future::pending().await,
            }
        };
        let error = tokio::select! {
            error = coordinator => error,
            error = pool => error,
        };
        // It has been waited for to its end, or cannot be waited for in peace.
        *coordinating = None;
        error
    }

    /// Stops, in this order (`docs/shutdown.md`): no new dues, no more claims, the grace for what is at work,
    /// an end to the rest, the end of the session.
    ///
    /// # Errors
    /// The reason, if the end of some work could not be recorded.
    pub async fn stop(self) -> Result<Stopped, Error> {
        self.stop_hurried_by(std::future::pending::<()>()).await
    }

    /// [`Self::stop`], with a grace that is over as soon as `hurry` resolves.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn stop_hurried_by(self, hurry: impl Future) -> Result<Stopped, Error> {
        self.stopping.cancel();
        let coordinating = self.coordinating.lock().await.take();
        let coordinated = match coordinating {
            Some(handle) => handle.await.map_err(|died| Error::Died(died.to_string()))?,
            None => Ok(()),
        };
        let work = match &self.rooms.pool {
            Some(pool) => tokio::select! {
                work = pool.stop(self.stop_grace) => work,
                // Stopping twice is stopping once, with the second grace.
                _ = hurry => pool.stop(Duration::ZERO).await,
            },
            None => StopReport::default(),
        };
        if let Some(error) = work.error.clone() {
            return Err(Error::Executor(error));
        }
        coordinated?;
        self.rooms.store.close_session(&self.rooms.session).await?;
        Ok(Stopped { work })
    }
}

impl std::fmt::Debug for Punctual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Punctual").field("session", &self.rooms.session).finish_non_exhaustive()
    }
}

impl Drop for Punctual {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}
