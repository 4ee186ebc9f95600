//! Keeping the history of a task within its bounds.

use super::judge::Court;
use super::progress::is_apart;
use super::tables::{Head, Tables};
use crate::error::Error;
use crate::store::Pruned;
use jiff::SignedDuration;
use punctual_model::{Run, RunId, TaskId};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// A run that was asked for with an idempotency key is kept at least this long, so that the key still finds it.
const KEY_AGE: SignedDuration = SignedDuration::from_hours(24);
/// Records looked at for each that may be removed: unfinished ones may stand among the old.
const LOOKS: usize = 4;
/// Records looked at in any case.
const MIN_LOOKS: usize = 256;
/// Records looked at to find out which old revisions are still referred to; a task with more keeps its old
/// revisions until it has fewer.
const REVISION_LOOKS: usize = 4_096;
/// Old revisions removed at once.
const REVISIONS: u64 = 256;

impl<T: Tables> Court<'_, T> {
    pub(super) fn prune(&mut self, task: TaskId, max: usize) -> Result<Pruned, Error> {
        let Some(head) = self.head(task)?.cloned() else { return Ok(Pruned::default()) };
        let resumed = match self.batch.prune_cursors.get(&task) {
            Some(cursor) => *cursor,
            None => self.ledger.prune_cursors.get(&task).copied(),
        };
        let before = |id: RunId| RunId::new(id.get() - 1);
        let from = resumed.or(head.history_from.and_then(before));
        let looks = max.saturating_mul(LOOKS).max(MIN_LOOKS);
        let (ids, complete) = self.ids_of(task, from, looks)?;

        let mut pruned = Pruned::default();
        let (mut kept, mut last, mut done) = (None, from, complete);
        for id in ids {
            if pruned.runs.len() == max {
                done = false;
                break;
            }
            let Some(run) = self.run(id)? else {
                kept = kept.or(Some(id));
                last = Some(id);
                continue;
            };
            match self.fate(&run) {
                Fate::Removed => {
                    self.remove(&run)?;
                    pruned.runs.push(id);
                }
                Fate::Kept => kept = kept.or(Some(id)),
                Fate::KeptAsAllAfter => {
                    kept = kept.or(Some(id));
                    done = true;
                    break;
                }
            }
            last = Some(id);
        }
        pruned.more = !done;
        self.batch.prune_cursors.insert(task, last.filter(|_| !done));
        let oldest_revision = self.drop_revisions(task, &head)?;
        self.set_history(
            task,
            resumed.is_none().then_some(kept.or(last)).flatten(),
            oldest_revision,
            !pruned.runs.is_empty(),
        );
        Ok(pruned)
    }

    fn ids_of(&self, task: TaskId, after: Option<RunId>, looks: usize) -> Result<(Vec<RunId>, bool), Error> {
        let (mut ids, mut complete) = (Vec::new(), true);
        self.tables.runs_of(task, after, false, &mut |id| {
            if ids.len() == looks {
                complete = false;
                return ControlFlow::Break(());
            }
            if self.batch.of_task.get(&(task, id)) != Some(&false) {
                ids.push(id);
            }
            ControlFlow::Continue(())
        })?;
        Ok((ids, complete))
    }

    fn fate(&self, run: &Run) -> Fate {
        let head = self.batch.heads.get(&run.task).and_then(|known| known.head.as_ref());
        let Some(head) = head.filter(|_| run.state().is_terminal()) else { return Fate::Kept };
        let bound = u64::from(head.digest.retention.runs);
        let (runs_over, marks_over) = (head.kept_runs > bound, head.kept_marks > bound);
        let over = if is_apart(run) { marks_over } else { runs_over };
        let limit = SignedDuration::try_from(head.digest.retention.age).unwrap_or(SignedDuration::MAX);
        let is_old = |since| self.now.duration_since(since) > limit;
        let too_old = is_old(run.finished_at.unwrap_or(run.accepted_at));
        let keyed = run.idempotency_key.is_some() && self.now.duration_since(run.accepted_at) < KEY_AGE;
        if keyed || self.is_untold(run) {
            Fate::Kept
        } else if over || too_old {
            Fate::Removed
        } else if runs_over || marks_over || is_old(run.accepted_at) {
            Fate::Kept
        } else {
            Fate::KeptAsAllAfter
        }
    }

    fn remove(&mut self, run: &Run) -> Result<(), Error> {
        if let Some(key) = &run.idempotency_key
            && self.key(run.task, key)? == Some(run.id)
        {
            self.batch.keys.insert((run.task, key.clone()), None);
        }
        self.batch.drop_run(run);
        Ok(())
    }

    /// Removes old revisions that no run refers to; answers the oldest that is left.
    fn drop_revisions(&mut self, task: TaskId, head: &Head) -> Result<u64, Error> {
        if head.oldest_revision >= head.revision {
            return Ok(head.oldest_revision);
        }
        let (ids, complete) = self.ids_of(task, None, REVISION_LOOKS)?;
        if !complete {
            return Ok(head.oldest_revision);
        }
        // Born in this batch, and not in the tables yet.
        let fresh = self.batch.runs.values().flatten().filter(|run| run.task == task);
        let mut used: BTreeSet<u64> = fresh.map(|run| run.revision).collect();
        for id in ids {
            used.extend(self.run(id)?.map(|run| run.revision));
        }
        let end = head.revision.min(head.oldest_revision.saturating_add(REVISIONS));
        for revision in (head.oldest_revision..end).filter(|revision| !used.contains(revision)) {
            self.batch.definitions.insert((task, revision), None);
        }
        // Those that are kept are looked at again the next time, together with those behind them.
        Ok(used.range(head.oldest_revision..end).next().copied().unwrap_or(end))
    }

    fn set_history(&mut self, task: TaskId, from: Option<RunId>, oldest_revision: u64, removed: bool) {
        let Some(known) = self.batch.heads.get_mut(&task) else { return };
        let Some(head) = &mut known.head else { return };
        let from = from.max(head.history_from);
        if head.history_from != from || head.oldest_revision != oldest_revision {
            head.history_from = from;
            head.oldest_revision = oldest_revision;
            known.written = true;
        }
        if removed {
            // The ids of what is gone must not be given out again, even if they were the highest.
            let mut meta = self.batch.meta.unwrap_or(self.ledger.meta);
            if meta.id_floor < self.ledger.highest_id {
                meta.id_floor = self.ledger.highest_id;
                self.batch.meta = Some(meta);
            }
        }
    }
}

/// What becomes of a record when history is pruned, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Removed,
    Kept,
    /// Nothing is over its count any more, and what comes after was accepted too late to be too old.
    KeptAsAllAfter,
}
