//! The dues of one task together with the moments at which they may run.

use crate::schedule::{Spread, Timeline};
use crate::timetable::When;
use jiff::{SignedDuration, Timestamp};
use punctual_model::TaskId;
use std::time::Duration;

/// One task's line of dues, spread as its settings say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times<'a> {
    task: TaskId,
    timeline: &'a Timeline,
    spread: Spread,
    /// The part of the shift that is the same for all dues; jitter comes on top.
    shift: SignedDuration,
}

impl<'a> Times<'a> {
    pub(crate) fn new(task: TaskId, timeline: &'a Timeline, spread: Spread) -> Self {
        let steady = Spread { jitter: Duration::ZERO, ..spread };
        let origin = Timestamp::UNIX_EPOCH;
        let shift = steady.run_at(task, origin).duration_since(origin);
        Self { task, timeline, spread, shift }
    }

    fn run_at(&self, due: Timestamp) -> Timestamp {
        self.spread.run_at(self.task, due)
    }

    fn when(&self, due: Timestamp) -> When {
        When { due, run_at: self.run_at(due) }
    }

    /// First due after `after`.
    pub(crate) fn next(&self, after: Timestamp) -> Option<When> {
        self.timeline.next(after).map(|due| self.when(due))
    }

    /// First due after `after` whose `run_at` is later than `moment`: from there on all are, since no
    /// `run_at` is before that of an earlier due.
    ///
    /// Without jitter this is one step. With it the walk begins where a due may first reach that far; the
    /// chance that one does grows with each step, so that even a due a second under ten years of jitter
    /// is some ten thousand steps.
    pub(crate) fn first_after(&self, after: Timestamp, moment: Timestamp) -> Option<Timestamp> {
        let jitter = SignedDuration::try_from(self.spread.jitter).unwrap_or(SignedDuration::MAX);
        let may_reach = back(moment, self.shift.saturating_add(jitter));
        let dues =
            std::iter::successors(self.timeline.next(after.max(may_reach)), |due| self.timeline.next(*due));
        { dues }.find(|due| self.run_at(*due) > moment)
    }

    /// The first due after `after` that is not owed yet at `now`.
    pub(crate) fn first_not_owed(&self, after: Timestamp, now: Timestamp) -> Option<When> {
        self.first_after(after, now).map(|due| self.when(due))
    }

    /// The next `count` dues after `after`.
    pub(crate) fn following(&self, after: Timestamp, count: usize) -> Vec<When> {
        let dues = std::iter::successors(self.timeline.next(after), |due| self.timeline.next(*due));
        self.in_order(dues.take(count).collect())
    }

    /// Where the dues that are owed at `now` end: before this one. Behind all that could be owed, if
    /// nothing is due any more.
    pub(crate) fn end_of_owed(&self, after: Timestamp, now: Timestamp) -> Timestamp {
        let last = || back(now, self.shift).saturating_add(SignedDuration::from_nanos(1));
        self.first_after(after, now).unwrap_or_else(|| last().unwrap_or(Timestamp::MAX))
    }

    /// Newest due after `after` and before `end`.
    pub(crate) fn latest(&self, after: Timestamp, end: Timestamp) -> Option<Timestamp> {
        let last = back(end, SignedDuration::from_nanos(1));
        if last <= after { None } else { self.timeline.latest(after, last) }
    }

    /// The dues from `first`, which is one, up to but without `end`; whether there are more than `most`.
    pub(crate) fn between(&self, first: Timestamp, end: Timestamp, most: usize) -> (Vec<When>, bool) {
        let dues = std::iter::successors(Some(first), |due| self.timeline.next(*due));
        let mut dues = dues.take_while(|due| *due < end);
        let taken: Vec<_> = dues.by_ref().take(most).collect();
        (self.in_order(taken), dues.next().is_some())
    }

    /// Each due with its `run_at`, none before that of the one in front.
    pub(crate) fn in_order(&self, dues: Vec<Timestamp>) -> Vec<When> {
        let mut latest = Timestamp::MIN;
        let mut in_order = |due| {
            latest = latest.max(self.run_at(due));
            When { due, run_at: latest }
        };
        dues.into_iter().map(&mut in_order).collect()
    }
}

/// `at` moved back (forward if `by` is negative), up to the ends of time.
fn back(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(if by.is_negative() { Timestamp::MAX } else { Timestamp::MIN })
}
