//! The dues of one task together with the moments at which they may run.
//!
//! `run_at` never goes back along the line, so a due that jitter moves far holds up those behind it. It is a function
//! of the definition and the due alone, of no checkpoint: wherever a derivation begins, after a restart or when a
//! due is put off, it finds what an unbroken one would have found.

use crate::schedule::{Spread, Timeline};
use crate::timetable::When;
use jiff::{SignedDuration, Timestamp};
use punctual_model::TaskId;
use std::time::Duration;

const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);

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

    fn jitter(&self) -> SignedDuration {
        SignedDuration::try_from(self.spread.jitter).unwrap_or(SignedDuration::MAX)
    }

    /// When a due would run if it were the only one.
    fn alone(&self, due: Timestamp) -> Timestamp {
        self.spread.run_at(self.task, due)
    }

    /// When a due runs: no earlier than any due before it.
    ///
    /// Only dues less than the window of jitter before it can hold it up, and of these the nearest reach furthest. So
    /// they are looked at from the nearest on, in stretches that grow, until what has been found is later than
    /// whatever lies further back could be. Each step makes that easier by a due and harder by an interval: of `n`
    /// dues in the window some `√n` are looked at, whose jitter is as good as random; of the 300 million of a due
    /// a second under ten years of jitter, some ten thousand.
    fn run_at(&self, due: Timestamp) -> Timestamp {
        /// Of the nearest stretch: schedules have whole seconds.
        const FIRST: SignedDuration = SignedDuration::from_secs(1);
        /// How much longer each stretch reaches than the one before.
        const GROWTH: i32 = 4;
        let mut latest = self.alone(due);
        let window = back(due, self.jitter());
        let Some(first) = self.timeline.next(window).filter(|first| *first < due) else { return latest };
        let (mut from, mut until, mut reach) = (due, due, FIRST);
        while first <= from && latest < back(from, -self.furthest()) {
            from = back(due, reach).max(window);
            latest = self
                .after(from)
                .take_while(|due| *due < until)
                .fold(latest, |latest, due| latest.max(self.alone(due)));
            (until, reach) = (back(from, -NANOSECOND), reach.saturating_mul(GROWTH));
        }
        latest
    }

    /// No due runs so long after its time if it is the only one.
    fn furthest(&self) -> SignedDuration {
        self.shift.saturating_add(self.jitter())
    }

    fn when(&self, due: Timestamp) -> When {
        When { due, run_at: self.run_at(due) }
    }

    /// The dues after `after`.
    fn after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.timeline.next(after), |due| self.timeline.next(*due))
    }

    /// First due after `after`.
    pub(crate) fn next(&self, after: Timestamp) -> Option<When> {
        self.timeline.next(after).map(|due| self.when(due))
    }

    /// The due behind one whose `run_at` is known: nothing further back is looked at.
    pub(crate) fn behind(&self, known: When) -> Option<When> {
        let due = self.timeline.next(known.due)?;
        Some(When { due, run_at: self.alone(due).max(known.run_at) })
    }

    /// First due after `after` whose `run_at` is later than `moment`: from there on all are, since no
    /// `run_at` is before that of an earlier due.
    ///
    /// Without jitter this is one step. With it the walk begins where a due may first reach that far, also
    /// if that is before `after`; the chance that one does grows with each step, so that even a due a second under
    /// ten years of jitter is some ten thousand steps.
    pub(crate) fn first_after(&self, after: Timestamp, moment: Timestamp) -> Option<Timestamp> {
        let may_reach = back(moment, self.furthest());
        let from = if self.spread.jitter.is_zero() { may_reach.max(after) } else { may_reach };
        let reaching = self.after(from).find(|due| self.alone(*due) > moment)?;
        if reaching > after { Some(reaching) } else { self.timeline.next(after) }
    }

    /// The first due after `after` that is not owed yet at `now`.
    pub(crate) fn first_not_owed(&self, after: Timestamp, now: Timestamp) -> Option<When> {
        self.first_after(after, now).map(|due| self.when(due))
    }

    /// The next `count` dues after `after`.
    pub(crate) fn following(&self, after: Timestamp, count: usize) -> Vec<When> {
        self.in_order(self.after(after).take(count).collect())
    }

    /// Where the dues that are owed at `now` end: before this one. Behind all that could be owed, if
    /// nothing is due any more.
    pub(crate) fn end_of_owed(&self, after: Timestamp, now: Timestamp) -> Timestamp {
        let last = || back(now, self.shift).saturating_add(NANOSECOND);
        self.first_after(after, now).unwrap_or_else(|| last().unwrap_or(Timestamp::MAX))
    }

    /// Newest due after `after` and before `end`.
    pub(crate) fn latest(&self, after: Timestamp, end: Timestamp) -> Option<Timestamp> {
        let last = back(end, NANOSECOND);
        if last <= after { None } else { self.timeline.latest(after, last) }
    }

    /// The dues from `first`, which is one, up to but without `end`; whether there are more than `most`.
    pub(crate) fn between(&self, first: Timestamp, end: Timestamp, most: usize) -> (Vec<When>, bool) {
        let dues = std::iter::successors(Some(first), |due| self.timeline.next(*due));
        let mut dues = dues.take_while(|due| *due < end);
        let taken: Vec<_> = dues.by_ref().take(most).collect();
        (self.in_order(taken), dues.next().is_some())
    }

    /// Dues that follow each other, each with its `run_at`.
    pub(crate) fn in_order(&self, dues: Vec<Timestamp>) -> Vec<When> {
        let Some(first) = dues.first() else { return Vec::new() };
        let mut latest = self.run_at(*first);
        let mut in_order = |due| {
            latest = latest.max(self.alone(due));
            When { due, run_at: latest }
        };
        dues.into_iter().map(&mut in_order).collect()
    }
}

/// `at` moved back (forward if `by` is negative), up to the ends of time.
fn back(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(if by.is_negative() { Timestamp::MAX } else { Timestamp::MIN })
}
