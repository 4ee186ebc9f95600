//! Definitions one after the other in the order of their keys: whoever wants nearly all of them reads on, which costs
//! a fraction of looking each one up.

use super::key;
use super::tables::{View, failed};
use crate::error::Error;
use fjall::{Iter, UserKey, UserValue};
use punctual_model::{Task, TaskId};
use std::cmp::Ordering;
use std::sync::Arc;

/// Entries passed over before it looks for what is wanted instead: about as many as a search costs.
const STRIDE: usize = 16;

/// A place among the definitions of a view; it only moves on.
pub(super) struct InOrder<'a> {
    view: &'a View<'a>,
    entries: Option<Iter>,
    /// The entry at which it stands.
    here: Option<(UserKey, UserValue)>,
}

impl<'a> InOrder<'a> {
    pub(super) fn of(view: &'a View<'a>) -> Self {
        Self { view, entries: None, here: None }
    }

    /// One revision of a task's definition; of each one that was asked for before, the key is lower.
    ///
    /// # Errors
    /// As [`crate::ledger::Tables::definition`].
    pub(super) fn read(&mut self, task: TaskId, revision: u64) -> Result<Option<Arc<Task>>, Error> {
        let wanted = key::pair(task.get(), revision);
        for _ in 0..STRIDE {
            let Some((key, value)) = &self.here else { break };
            match (**key).cmp(&wanted[..]) {
                Ordering::Less => self.step()?,
                Ordering::Equal => return self.view.decode_definition(task, revision, key, value).map(Some),
                Ordering::Greater => return Ok(None),
            }
        }
        self.entries = Some(self.view.definitions_from(wanted));
        self.step()?;
        match &self.here {
            Some((key, value)) if **key == wanted => {
                self.view.decode_definition(task, revision, key, value).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        let next = self.entries.as_mut().and_then(Iterator::next);
        self.here = next.map(fjall::Guard::into_inner).transpose().map_err(failed)?;
        Ok(())
    }
}
