//! How many runs a task has in which state: those that a listing would show.

use super::RunQuery;
use crate::error::Error;
use crate::paging::MAX_PAGE;
use crate::tasks::Tasks;
use punctual_model::{RunStateName, TaskId};
use std::collections::BTreeMap;

/// Most runs that are counted, newest first: a hundred times what a task keeps unless it says otherwise, and read in
/// a fraction of a second.
pub const MAX_COUNTED: usize = 10_000;

/// How many runs of a task are in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// Those states in which there are any.
    pub states: BTreeMap<RunStateName, u64>,
    /// There are more runs than [`MAX_COUNTED`]; the older ones are not among the numbers.
    pub more: bool,
}

impl Tasks {
    /// Counts the runs of a task that are kept, finished or not. Each counts once, in the state in which it was seen;
    /// what is born meanwhile does not. Retention takes finished ones out of the numbers.
    ///
    /// # Errors
    /// As [`Self::runs`] of a task.
    pub async fn counts(&self, task: TaskId) -> Result<RunCounts, Error> {
        let mut counts = RunCounts::default();
        let mut query = RunQuery { task: Some(task), limit: MAX_PAGE, ..RunQuery::default() };
        for _ in 0..MAX_COUNTED / MAX_PAGE {
            let page = self.runs(query.clone()).await?;
            for run in &page.items {
                *counts.states.entry(run.state().name()).or_default() += 1;
            }
            counts.more = page.next.is_some();
            if !counts.more {
                break;
            }
            query.after = page.next;
        }
        Ok(counts)
    }
}
