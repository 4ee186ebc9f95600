//! Reads over the committed tables, without the ledger's state: a store may serve them from any thread.

use super::tables::{Head, HeadStatus, Tables};
use crate::error::Error;
use crate::store::{Page, RunFilter, StoredTask, StoredTiming, TaskFilter};
use jiff::Timestamp;
use punctual_model::{
    Run, RunEvent, RunId, RunState, RunStateName, Task, TaskId, TaskStatus, TaskType, Timing,
};
use std::ops::ControlFlow;
use std::sync::Arc;

/// From so many records on they are read in the order of their keys: for fewer a scan costs more than it saves.
pub(super) const MANY: usize = 64;

/// A record that cannot be read is as good as none, for everybody but who asked for exactly it.
pub(super) fn absent<V>(read: Result<Option<V>, Error>) -> Result<Option<V>, Error> {
    match read {
        Err(Error::Unreadable { .. }) => Ok(None),
        other => other,
    }
}

/// The form of a type under which names are kept: an empty one is the system's.
pub(super) fn canonical(kind: &TaskType) -> TaskType {
    TaskType::new(kind.as_str())
}

/// A record as it is at this moment: that a time has come is never written.
#[must_use]
pub fn view(mut run: Run, now: Timestamp) -> Run {
    if let RunState::Scheduled { .. } = run.state()
        && let Ok(life) = run.life.apply(RunEvent::Due { now })
    {
        run.life = life;
    }
    run
}

/// The current definition of a task with its progress; none if it is deleted.
///
/// # Errors
/// [`Error::Unreadable`] if exactly this task cannot be read.
pub fn task<T: Tables>(tables: &T, id: TaskId) -> Result<Option<StoredTask>, Error> {
    match tables.head(id)? {
        Some(head) => stored(tables, id, head),
        None => Ok(None),
    }
}

/// Several tasks, in the order asked for; see [`crate::TaskStore::tasks_ahead`].
pub fn tasks_of<T: Tables>(tables: &T, ids: &[TaskId]) -> Vec<Result<Option<StoredTask>, Error>> {
    if ids.len() < MANY {
        return ids.iter().map(|id| task(tables, *id)).collect();
    }
    let mut order: Vec<_> = (0..ids.len()).collect();
    order.sort_unstable_by_key(|place| ids[*place]);
    let (mut head, mut definition) = (tables.rising_heads(), tables.rising_definitions());
    let mut found: Vec<_> = ids.iter().map(|_| Ok(None)).collect();
    for place in order {
        let id = ids[place];
        found[place] = head(id).and_then(|head| {
            let Some(head) = head.filter(|head| head.status != HeadStatus::Deleted) else { return Ok(None) };
            let task = definition(id, head.revision)?;
            Ok(task.map(|task| StoredTask { task, progress: head.progress }))
        });
    }
    found
}

fn stored<T: Tables>(tables: &T, id: TaskId, head: Head) -> Result<Option<StoredTask>, Error> {
    if head.status == HeadStatus::Deleted {
        return Ok(None);
    }
    let task = tables.definition(id, head.revision)?;
    Ok(task.map(|task| StoredTask { task, progress: head.progress }))
}

/// The task of this type with this name.
///
/// # Errors
/// As [`task`].
pub fn task_by_name<T: Tables>(tables: &T, kind: &TaskType, name: &str) -> Result<Option<StoredTask>, Error> {
    let Some(id) = tables.name(&canonical(kind), name)? else { return Ok(None) };
    Ok(task(tables, id)?
        .filter(|found| found.task.kind.as_str() == kind.as_str() && found.task.spec.name == name))
}

/// Tasks by filter; those that cannot be read are left out.
///
/// # Errors
/// [`Error::Failed`] if the tables do not answer.
pub fn tasks<T: Tables>(tables: &T, filter: &TaskFilter) -> Result<Page<StoredTask, TaskId>, Error> {
    let limit = filter.limit.max(1);
    let mut items: Vec<StoredTask> = Vec::new();
    if let (Some(kind), Some(name)) = (&filter.kind, &filter.name) {
        let found = absent(task_by_name(tables, kind, name))?;
        let found = found.filter(|stored| Some(stored.task.id) > filter.after);
        items.extend(found.filter(|stored| matches(filter, &stored.task)));
        return Ok(Page { items, next: None });
    }
    let mut failed = None;
    let mut more = false;
    let mut definition = tables.rising_definitions();
    tables.heads(filter.after, &mut |id, head| {
        if head.status == HeadStatus::Deleted
            || filter.status.is_some_and(|status| head.status != HeadStatus::from(status))
        {
            return ControlFlow::Continue(());
        }
        match absent(definition(id, head.revision)) {
            Ok(Some(task)) if matches(filter, &task) => {
                if items.len() == limit {
                    more = true;
                    return ControlFlow::Break(());
                }
                items.push(StoredTask { task, progress: head.progress });
                ControlFlow::Continue(())
            }
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    let next = items.last().filter(|_| more).map(|stored| stored.task.id);
    Ok(Page { items, next })
}

/// Tasks as far as a start has to know them; see [`crate::TaskStore::timings`].
///
/// # Errors
/// [`Error::Failed`] if the tables do not answer.
pub fn timings<T: Tables>(
    tables: &T,
    after: Option<TaskId>,
    limit: usize,
) -> Result<Page<StoredTiming, TaskId>, Error> {
    let limit = limit.max(1);
    let mut items: Vec<StoredTiming> = Vec::new();
    let (mut more, mut failed) = (false, None);
    let mut definition = tables.rising_definitions();
    tables.heads(after, &mut |id, head| {
        let status = match head.status {
            HeadStatus::Active => TaskStatus::Active,
            HeadStatus::Paused => TaskStatus::Paused,
            HeadStatus::Deleted => return ControlFlow::Continue(()),
        };
        if items.len() == limit {
            more = true;
            return ControlFlow::Break(());
        }
        let kept = head.digest.timing.zip(head.progress.checkpoint);
        let (timing, checkpoint) = match kept {
            Some(kept) => kept,
            // Of an earlier build, or without a checkpoint: such a task owes nothing from before it existed.
            None => match absent(definition(id, head.revision)) {
                Ok(Some(task)) => {
                    let checkpoint = head.progress.checkpoint.unwrap_or(task.created_at);
                    (Arc::new(Timing::from(&task.spec)), checkpoint)
                }
                Ok(None) => return ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            },
        };
        items.push(StoredTiming { id, revision: head.revision, status, timing, checkpoint });
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(()), Err)?;
    let next = items.last().filter(|_| more).map(|stored| stored.id);
    Ok(Page { items, next })
}

/// Types and names compare exactly; an empty stored type is the system's.
fn matches(filter: &TaskFilter, task: &Arc<Task>) -> bool {
    filter.kind.as_ref().is_none_or(|kind| kind.as_str() == task.kind.as_str())
        && filter.name.as_ref().is_none_or(|name| *name == task.spec.name)
        && filter.status.is_none_or(|status| status == task.spec.status)
        && filter.labels.iter().all(|(label, value)| task.spec.labels.get(label) == Some(value))
}

/// Runs by filter. `shown` completes a committed record ([`super::Ledger::shown`]) before it is compared;
/// `at_work` gives the ids of all runs at work, for filters that ask for nothing else.
///
/// # Errors
/// [`Error::Failed`] if the tables do not answer.
pub fn runs<T: Tables>(
    tables: &T,
    filter: &RunFilter,
    shown: impl Fn(Run) -> Run,
    at_work: impl FnOnce() -> Vec<RunId>,
) -> Result<Page<Run, RunId>, Error> {
    let limit = filter.limit.max(1);
    let mut items: Vec<Run> = Vec::new();
    let (mut more, mut failed) = (false, None);
    let mut take = |run: Run| {
        let run = shown(run);
        if !matches_run(filter, &run) {
            return ControlFlow::Continue(());
        }
        if items.len() == limit {
            more = true;
            return ControlFlow::Break(());
        }
        items.push(run);
        ControlFlow::Continue(())
    };
    let mut take_id = |id: RunId| match absent(tables.run(id)) {
        Ok(Some(run)) => take(run),
        Ok(None) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    };
    if !filter.states.is_empty() && filter.states.iter().all(is_at_work) {
        let mut ids = at_work();
        ids.sort_unstable();
        if !filter.oldest_first {
            ids.reverse();
        }
        let beyond = |id: &RunId| match filter.after {
            None => true,
            Some(after) if filter.oldest_first => *id > after,
            Some(after) => *id < after,
        };
        let _ = ids.into_iter().filter(beyond).try_for_each(take_id);
    } else if let Some(task) = filter.task {
        tables.runs_of(task, filter.after, !filter.oldest_first, &mut take_id)?;
    } else {
        tables.runs(filter.after, !filter.oldest_first, &mut take)?;
    }
    failed.map_or(Ok(()), Err)?;
    let next = items.last().filter(|_| more).map(|run| run.id);
    Ok(Page { items, next })
}

fn matches_run(filter: &RunFilter, run: &Run) -> bool {
    filter.task.is_none_or(|task| task == run.task)
        && (filter.states.is_empty() || filter.states.contains(&run.state().name()))
        && filter.from.is_none_or(|from| run.scheduled_for >= from)
        && filter.until.is_none_or(|until| run.scheduled_for < until)
}

fn is_at_work(state: &RunStateName) -> bool {
    matches!(state, RunStateName::Starting | RunStateName::Running | RunStateName::Stopping)
}
