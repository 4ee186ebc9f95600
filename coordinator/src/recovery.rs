//! Start-up: what an earlier session left is ended or taken up again, then every active task is known to the
//! scheduler. Nothing here stops because of one bad record; whatever was wrong is in the report.

use crate::deletion;
use crate::engine::{Core, Unschedulable};
use crate::error::Error;
use crate::paging::MAX_PAGE;
use futures_util::{StreamExt, stream};
use punctual_executor::Dispatch;
use punctual_faults::crash_point;
use punctual_model::{LostWhy, Run, RunEvent, RunId, RunState, TaskId, TaskStatus};
use punctual_store::{self as store, Edge, EdgeAnswer, Fence, Patch};

/// Runs that are taken up side by side: ending a leftover process takes its grace, and a thousand of them one
/// after another would hold the start up for hours.
const RESUMED_AT_ONCE: usize = 64;

/// Tasks that are read at once to be scheduled: enough that looking for where to read on costs nothing beside it, and
/// about a megabyte.
const TIMINGS_AT_ONCE: usize = 4_096;

/// What start-up found and did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StartReport {
    /// Runs that were at work when the earlier session ended, ascending by id.
    pub resumed: Vec<Resumed>,
    /// Deleted tasks whose runs had not all been ended.
    pub deletions: Vec<TaskId>,
    /// Active tasks that the scheduler knows now.
    pub scheduled: usize,
    /// Paused tasks.
    pub paused: usize,
    /// Active tasks whose schedules cannot be evaluated.
    pub unschedulable: Vec<Unschedulable>,
    /// Records that could not be read.
    pub quarantined: Vec<store::Quarantined>,
}

/// What became of a run that was at work when the earlier session ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resumed {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// Where it is now: at work if it was found alive, waiting if it gets another attempt, else its end.
    pub state: RunState,
}

/// Does all of it, in this order: runs, deletions, tasks. Only then may claims open and dues be dealt with.
pub(crate) async fn recover(core: &Core) -> Result<StartReport, Error> {
    crash_point("coordinator.recover.before_runs");
    let mut report = StartReport { resumed: resume_runs(core).await?, ..StartReport::default() };
    crash_point("coordinator.recover.after_runs");
    for task in core.parts.store.deleted_with_open_runs().await? {
        deletion::end_runs(core, task).await?;
        report.deletions.push(task);
    }
    crash_point("coordinator.recover.after_deletions");
    schedule_tasks(core, &mut report).await?;
    crash_point("coordinator.recover.after_tasks");
    report.unschedulable = core.unschedulable();
    report.quarantined = core.parts.store.quarantined();
    tracing::info!(
        resumed = report.resumed.len(),
        deletions = report.deletions.len(),
        scheduled = report.scheduled,
        paused = report.paused,
        unschedulable = report.unschedulable.len(),
        quarantined = report.quarantined.len(),
        "recovered"
    );
    Ok(report)
}

async fn resume_runs(core: &Core) -> Result<Vec<Resumed>, Error> {
    let parts = &core.parts;
    let mut resumed = Vec::new();
    let mut after = None;
    loop {
        let left = parts.store.begun_before(parts.session.epoch, after, MAX_PAGE).await?;
        let Some(last) = left.last() else { return Ok(resumed) };
        after = Some(last.id);
        let mut taken_up = stream::iter(left).map(|run| resume(core, run)).buffered(RESUMED_AT_ONCE);
        while let Some(run) = taken_up.next().await {
            let Some(run) = core.pass_over("taking up a run", run)? else { continue };
            tracing::info!(run.id = %run.id, task.id = %run.task, state = run.state().name().as_str(), "run taken up");
            resumed.push(Resumed { run: run.id, task: run.task, state: run.state() });
        }
    }
}

/// Takes one run up with the definition that it was started by, also if that is not the current one or its
/// task was deleted.
async fn resume(core: &Core, run: Run) -> Result<Run, Error> {
    let parts = &core.parts;
    let task = match parts.store.task_revision(run.task, run.revision).await {
        Ok(task) => task,
        Err(store::Error::Unreadable { .. }) => None,
        Err(error) => return Err(core.heed(error)),
    };
    match task {
        Some(task) => parts.executor.resume(Dispatch { run, task }).await.map_err(|error| core.heed(error)),
        // Nobody can say any more how to look for it.
        None => lose(core, run).await,
    }
}

async fn lose(core: &Core, run: Run) -> Result<Run, Error> {
    let parts = &core.parts;
    let event = RunEvent::Lost { why: LostWhy::NodeDied };
    let edge =
        Edge { run: run.id, fence: Fence::of(&run), event, at: parts.clock.now(), patch: Patch::default() };
    let answers = parts.store.transition(&parts.session, vec![edge]).await;
    match answers.map_err(|error| core.heed(error))?.pop() {
        Some(EdgeAnswer::Applied(run) | EdgeAnswer::Stale(run)) => Ok(run),
        Some(EdgeAnswer::Unknown) | None => Ok(run),
    }
}

async fn schedule_tasks(core: &Core, report: &mut StartReport) -> Result<(), Error> {
    let store = &core.parts.store;
    let mut page = store.timings(None, TIMINGS_AT_ONCE).await?;
    loop {
        let (next, items) = (page.next, page.items);
        let schedule = async {
            let mut refused = Vec::new();
            for stored in items {
                match stored.status {
                    TaskStatus::Active => match core.restore(&stored) {
                        Ok(()) => report.scheduled += 1,
                        Err(reason) => refused.push((stored.id, reason)),
                    },
                    TaskStatus::Paused => report.paused += 1,
                }
            }
            refused
        };
        let Some(after) = next else {
            let refused = schedule.await;
            return set_aside(core, refused).await;
        };
        // The store reads on while these are scheduled.
        let (read, refused) = tokio::join!(store.timings(Some(after), TIMINGS_AT_ONCE), schedule);
        set_aside(core, refused).await?;
        page = read?;
    }
}

/// Lists tasks that the scheduler could not take, by their names where these can be read.
async fn set_aside(core: &Core, refused: Vec<(TaskId, String)>) -> Result<(), Error> {
    for (task, reason) in refused {
        let read = core.pass_over("reading a task", core.parts.store.task(task).await)?.flatten();
        core.set_aside(task, read.map_or_else(String::new, |stored| stored.task.spec.name.clone()), reason);
    }
    Ok(())
}
