//! The owner of tasks and runs: hands out the faces of the task service, starts up, and runs the loops.

use crate::dues::DueLoop;
use crate::engine::{Core, Parts, Unschedulable};
use crate::error::Error;
use crate::janitor::Janitor;
use crate::recovery::{self, StartReport};
use crate::tasks::{Face, Tasks};
use punctual_model::TaskType;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Owns every task and every run. Clones are handles to the same one.
///
/// The order of a start: [`recover`](Self::recover), then the executor opens its claims, then
/// [`run`](Self::run). Requests may come before that; their runs wait in the queue.
#[derive(Debug, Clone)]
pub struct Coordinator {
    core: Arc<Core>,
}

impl Coordinator {
    /// A coordinator over these rooms; does nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { core: Arc::new(Core::new(parts)) }
    }

    /// The tasks that people create: the public face of the type `system`.
    #[must_use]
    pub fn tasks(&self) -> Tasks {
        Tasks { core: Arc::clone(&self.core), kind: TaskType::default() }
    }

    /// The face of a system of its own: its tasks, with its metadata, and nobody else's.
    #[must_use]
    pub fn face(&self, kind: TaskType) -> Face {
        Face::new(Tasks { core: Arc::clone(&self.core), kind })
    }

    /// Start-up, once, before claims open: takes up or ends every run that an earlier session had begun, goes
    /// on with deletions that a crash interrupted, and gives all active tasks to the scheduler, with what they
    /// owe. A task that cannot be scheduled is reported and left out.
    ///
    /// # Errors
    /// Only the store's; nothing of a single task or run stops it.
    pub async fn recover(&self) -> Result<StartReport, Error> {
        recovery::recover(&self.core).await
    }

    /// Turns dues into runs and keeps history within its bounds, until it is told to stop or nothing can be
    /// written any more. Once, after [`recover`](Self::recover). Stop it by the token and wait: a batch that is
    /// under way is finished, and work in progress is the executor's.
    ///
    /// # Errors
    /// The first error after which nothing could be written, also if another call met it.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), Error> {
        let dues = DueLoop::new(Arc::clone(&self.core)).run(stop.clone());
        let janitor = Janitor::new(Arc::clone(&self.core)).run(stop);
        // In this order whenever both have something to do: what happens depends on nothing but what was asked.
        tokio::try_join!(biased; dues, janitor).map(|((), ())| ())
    }

    /// Tasks whose schedules cannot be evaluated, ascending by id: they have no dues until they are changed.
    #[must_use]
    pub fn unschedulable(&self) -> Vec<Unschedulable> {
        self.core.unschedulable()
    }
}
