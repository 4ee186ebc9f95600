//! Reading runs: of one task or of all tasks of a type, never of another type.

use crate::error::Error;
use crate::paging;
use crate::tasks::{Tasks, same};
use jiff::Timestamp;
use punctual_model::{Run, RunId, RunStateName, TaskId};
use punctual_store::{Page, RunFilter};
use std::collections::HashMap;

/// Which runs to list; newest first unless asked otherwise.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    /// Only of this task; none means all tasks of the type.
    pub task: Option<TaskId>,
    /// Only in one of these states; empty means all.
    pub states: Vec<RunStateName>,
    /// Only with a logical time at or after this.
    pub from: Option<Timestamp>,
    /// Only with a logical time before this.
    pub until: Option<Timestamp>,
    /// Oldest first instead.
    pub oldest_first: bool,
    /// Only runs beyond this one in the direction of the listing.
    pub after: Option<RunId>,
    /// At most so many, up to [`MAX_PAGE`](crate::MAX_PAGE); 0 means [`DEFAULT_PAGE`](crate::DEFAULT_PAGE).
    pub limit: usize,
}

impl Tasks {
    /// The record of a run.
    ///
    /// # Errors
    /// [`Error::RunNotFound`], also for a run of another type's task; or the store's.
    pub async fn run(&self, id: RunId) -> Result<Run, Error> {
        let run = self.core.parts.store.run(id).await?.ok_or(Error::RunNotFound)?;
        if self.owns(&run).await? { Ok(run) } else { Err(Error::RunNotFound) }
    }

    /// Runs by filter. History of a deleted task is found as long as retention keeps it.
    ///
    /// # Errors
    /// [`Error::LimitOutOfBounds`]; [`Error::TaskNotFound`] for a task of another type, and for one of which
    /// neither the definition nor any run is there; or the store's.
    pub async fn runs(&self, query: RunQuery) -> Result<Page<Run, RunId>, Error> {
        let limit = paging::limit("run", query.limit)?;
        let RunQuery { task, states, from, until, oldest_first, mut after, .. } = query;
        let mut items = Vec::new();
        // Tasks looked at already; a task never changes its type.
        let mut ours: HashMap<TaskId, bool> = HashMap::new();
        loop {
            let filter = RunFilter {
                task,
                states: states.clone(),
                from,
                until,
                oldest_first,
                after,
                limit: limit - items.len(),
            };
            let page = self.core.parts.store.runs(&filter).await?;
            for run in page.items {
                let owned = match ours.get(&run.task) {
                    Some(owned) => *owned,
                    None => *ours.entry(run.task).or_insert(self.owns(&run).await?),
                };
                match (owned, task) {
                    (true, _) => items.push(run),
                    (false, Some(_)) => return Err(Error::TaskNotFound),
                    (false, None) => {}
                }
            }
            match page.next {
                Some(next) if items.len() < limit => after = Some(next),
                next => {
                    // Nothing found is an answer only about something that is there.
                    if let (true, Some(task)) = (items.is_empty(), task) {
                        self.is_known(task).await?;
                    }
                    return Ok(Page { items, next });
                }
            }
        }
    }

    /// That there is a task of this type with this id, or has been one of which a run is left.
    async fn is_known(&self, task: TaskId) -> Result<(), Error> {
        let store = &self.core.parts.store;
        let known = match store.task(task).await? {
            Some(stored) => same(&stored.task.kind, &self.kind),
            None => {
                let any = RunFilter { task: Some(task), limit: 1, ..RunFilter::default() };
                match store.runs(&any).await?.items.first() {
                    Some(run) => self.owns(run).await?,
                    None => false,
                }
            }
        };
        if known { Ok(()) } else { Err(Error::TaskNotFound) }
    }

    /// Whether the run's task, perhaps deleted since, is of this type.
    async fn owns(&self, run: &Run) -> Result<bool, Error> {
        let store = &self.core.parts.store;
        let task = match store.task(run.task).await? {
            Some(stored) => Some(stored.task),
            None => store.task_revision(run.task, run.revision).await?,
        };
        Ok(task.is_some_and(|task| same(&task.kind, &self.kind)))
    }
}
