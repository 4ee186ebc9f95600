//! Late or missed: what becomes of the dues of one task that nobody has looked at yet.
//!
//! A pure function. The scheduler's service says that a task is late; the coordinator then asks here,
//! with the checkpoint from the store, and writes the whole answer in one commit. Nothing here reads a
//! clock, a store or a run.
//!
//! ```text
//!  checkpoint                                             now - grace          now
//!      |  d   d   d   d   d | d    d    d    d    d    d    d  | d    d    d    |   d
//!      |     missed, in one record      |     caught up        |   on time      |  not owed yet
//! ```
//! The order of dues is the order of fates, so three cuts say it all. Where a cut falls depends on the
//! policy; how late a due is counts from its `run_at`, which never goes back along the line (each due is
//! as late as the latest before it).

mod times;

#[cfg(test)]
mod tests;

use crate::schedule::{Spread, Timeline};
use crate::timetable::When;
use jiff::{SignedDuration, Timestamp};
use punctual_model::state::{Missed, MissedWhy};
use punctual_model::{CatchUp, CatchUpPolicy, TaskId};
use std::time::Duration;
pub(crate) use times::Times;

/// Dues are counted up to here (some milliseconds of work); a `Missed` record of more says "at least".
pub const MAX_COUNTED: u64 = 10_000;

/// Most dues that one plan catches up, whatever the task's limit says, so that neither planning nor the
/// commit that follows takes longer than a few ten milliseconds.
pub const MAX_CAUGHT_UP: u32 = 10_000;

/// Most dues on time that one plan answers (a long grace over a short interval has many). The rest stays
/// owed: [`Plan::more`].
pub const MAX_ON_TIME: usize = 10_000;

/// One task at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The task; its jitter depends on it.
    pub task: TaskId,
    /// Its dues.
    pub timeline: &'a Timeline,
    /// What lies between a due and its `run_at`.
    pub spread: Spread,
    /// A due looked at this long after its `run_at`, or earlier, is not late.
    pub grace: Duration,
    /// The task's policy for late ones.
    pub catch_up: CatchUp,
    /// Everything due up to here has its record.
    pub checkpoint: Timestamp,
    /// The moment at which the dues are looked at.
    pub now: Timestamp,
}

/// What becomes of the dues between two checkpoints: each of them is in exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The oldest ones: one record, no run.
    pub missed: Option<Missed>,
    /// Then those that run late, oldest first.
    pub caught_up: Vec<When>,
    /// At most so many of `caught_up` may be at work at once; at least 1.
    pub rate: u32,
    /// Then those that simply run.
    pub on_time: Vec<When>,
    /// The newest due in this plan; the old checkpoint if nothing is owed.
    pub checkpoint: Timestamp,
    /// Whether more is owed than fits a plan: ask again with the new checkpoint.
    pub more: bool,
}

/// Decides about every due of a task that is owed now and has no record yet.
#[must_use]
pub fn plan(question: &Question<'_>) -> Plan {
    let Question { task, timeline, spread, grace, catch_up, checkpoint, now } = *question;
    let times = Times::new(task, timeline, spread);
    // The cuts: the first due that is not owed, that is not late, that is inside the window.
    let end = times.end_of_owed(checkpoint, now);
    let in_time = times.first_after(checkpoint, just_before(now, grace));
    let inside = times.first_after(checkpoint, just_before(now, catch_up.window));
    let late_end = in_time.unwrap_or(end).min(end);
    let inside = inside.unwrap_or(end);

    let (on_time, more) = times.between(late_end, end, MAX_ON_TIME);
    let newest_late = |before| times.latest(checkpoint, before);
    let wanted = match catch_up.policy {
        CatchUpPolicy::Skip => 0,
        // The one on time is the latest.
        CatchUpPolicy::Latest => u32::from(on_time.is_empty()),
        CatchUpPolicy::All => catch_up.limit.min(MAX_CAUGHT_UP),
    };
    let mut caught_up = Vec::new();
    let mut missed_end = late_end;
    for _ in 0..wanted {
        let Some(due) = newest_late(missed_end).filter(|due| *due >= inside) else { break };
        caught_up.push(due);
        missed_end = due;
    }
    caught_up.reverse();

    let missed = newest_late(missed_end).map(|to| {
        let counted = timeline.count(checkpoint, to, MAX_COUNTED);
        let why = match catch_up.policy {
            CatchUpPolicy::Skip => MissedWhy::PolicySkip,
            _ if to < inside => MissedWhy::OutsideWindow,
            CatchUpPolicy::Latest => MissedWhy::PolicyLatest,
            CatchUpPolicy::All => MissedWhy::OverLimit,
        };
        let from = timeline.next(checkpoint).unwrap_or(to);
        Missed { from, to, count: counted.count, at_least: !counted.exact, why }
    });
    let newest = on_time.last().map(|when| when.due);
    let newest = newest.or(caught_up.last().copied()).or(missed.map(|missed| missed.to));
    Plan {
        missed,
        caught_up: times.in_order(caught_up),
        rate: catch_up.rate.max(1),
        on_time,
        checkpoint: newest.unwrap_or(checkpoint),
        more,
    }
}

/// The checkpoint with which a task begins at `now`, when it is created, activated or given another
/// schedule: `now`, or under a negative offset the newest due that was to run before `now`, so that
/// nothing that should have started by then comes up.
pub(crate) fn beginning(times: &Times<'_>, now: Timestamp) -> Timestamp {
    times.latest(now, times.end_of_owed(now, now)).unwrap_or(now)
}

/// The last instant that is longer than `age` before `now`.
fn just_before(now: Timestamp, age: Duration) -> Timestamp {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    now.saturating_sub(age.saturating_add(SignedDuration::from_nanos(1))).unwrap_or(Timestamp::MIN)
}
