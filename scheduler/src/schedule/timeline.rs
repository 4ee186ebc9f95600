//! All schedules of one task in its zone, as one line of dues.
//!
//! The timetable asks for the next due, catch-up asks what lies in a stretch of downtime. Knows
//! nothing of offset, jitter, checkpoints or runs.

use super::cron::{CronError, Expression, Parsed, firing};
use super::error::ScheduleError;
use super::every::{Interval, whole};
use super::zone::Zone;
use jiff::{SignedDuration, Timestamp};
use punctual_model::duration;
use punctual_model::schedule::{Cron, DstGap, DstOverlap, MAX_SCHEDULES, Schedule};
use std::sync::Arc;

/// The compiled union of a task's schedules: immutable, shared by all tasks with the same ones.
#[derive(Debug)]
pub struct Timeline {
    zone: Zone,
    parts: Box<[Part]>,
}

#[derive(Debug)]
enum Part {
    Cron { expression: Arc<Expression>, gap: DstGap, overlap: DstOverlap },
    Every(Interval),
    At(Timestamp),
}

/// How many dues lie in a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The dues counted.
    pub count: u64,
    /// Whether these are all; else there are at least so many.
    pub exact: bool,
}

impl Timeline {
    /// Compiles schedules for a zone. No schedule at all is right for a task that runs only when
    /// told to.
    ///
    /// # Errors
    /// The first schedule that is malformed, outside its limits, or a cron that no date can match.
    /// One that merely lies in the past is accepted: see [`Timeline::require_future`].
    pub fn compile(schedules: &[Schedule], zone: &Zone) -> Result<Arc<Self>, ScheduleError> {
        Self::build(schedules, zone, |parsed| Ok(Arc::new(Expression::new(parsed)?))).map(Arc::new)
    }

    /// As [`Timeline::compile`], with the expressions taken from `intern`.
    pub(super) fn build(
        schedules: &[Schedule],
        zone: &Zone,
        mut intern: impl FnMut(&Parsed) -> Result<Arc<Expression>, CronError>,
    ) -> Result<Self, ScheduleError> {
        if schedules.len() > MAX_SCHEDULES {
            return Err(ScheduleError::TooMany { count: schedules.len(), max: MAX_SCHEDULES });
        }
        let mut part = |schedule: &Schedule| {
            Ok(match schedule {
                Schedule::Cron(Cron { expr, dst_gap, dst_overlap }) => {
                    let expression = intern(&Parsed::new(expr)?).map_err(|error| error.quoting(expr))?;
                    Part::Cron { expression, gap: *dst_gap, overlap: *dst_overlap }
                }
                Schedule::Every(every) => Part::Every(Interval::new(every)?),
                Schedule::At(at) => Part::At(*at),
            })
        };
        let parts = schedules.iter().map(&mut part).collect::<Result<_, ScheduleError>>()?;
        Ok(Self { zone: zone.clone(), parts })
    }

    /// The zone whose wall clock the cron schedules follow.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// First due strictly after `after`. Several schedules due at one instant are one due. Cron ends
    /// with the year 2099.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.parts.iter().filter_map(|part| part.next(&self.zone, after)).min()
    }

    /// Whether something is due at exactly this instant.
    #[must_use]
    pub fn includes(&self, at: Timestamp) -> bool {
        let before = at.checked_sub(SignedDuration::from_nanos(1));
        before.is_ok_and(|before| self.next(before) == Some(at))
    }

    /// The newest due after `after` and not after `until`, without walking all between.
    #[must_use]
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let due = |from: Timestamp| self.next(from).filter(|due| *due <= until);
        // Look back in growing steps until there is a due …
        let mut back = SignedDuration::from_secs(1);
        let mut none_after = until;
        let mut newest = loop {
            let from = until.checked_sub(back).unwrap_or(Timestamp::MIN).max(after);
            if let Some(due) = due(from) {
                break due;
            }
            if from == after {
                return None;
            }
            none_after = from;
            back *= 8;
        };
        // … then halve between the newest known due and the instant after which there is none.
        while newest < none_after
            && let Some(later) = due(newest)
        {
            newest = later;
            let middle = newest.saturating_add(newest.duration_until(none_after) / 2).unwrap_or(newest);
            match due(middle) {
                Some(due) => newest = due,
                None => none_after = middle,
            }
        }
        Some(newest)
    }

    /// Counts the dues after `after` and not after `until`, giving up above `at_most`.
    #[must_use]
    pub fn count(&self, after: Timestamp, until: Timestamp, at_most: u64) -> Count {
        let mut count = 0;
        let mut from = after;
        while let Some(due) = self.next(from).filter(|due| *due <= until) {
            if count == at_most {
                return Count { count, exact: false };
            }
            count += 1;
            from = due;
        }
        Count { count, exact: true }
    }

    /// Checks at creation that every schedule is still due some time after `now`.
    ///
    /// # Errors
    /// [`ScheduleError::Exhausted`] for the first one that is not, with the reason.
    pub fn require_future(&self, now: Timestamp) -> Result<(), ScheduleError> {
        self.parts.iter().try_for_each(|part| match part.next(&self.zone, now) {
            Some(_) => Ok(()),
            None => Err(part.exhausted(now)),
        })
    }

    /// The text that is the same for all timelines with the same dues by the same rules.
    pub(super) fn key(&self) -> String {
        let mut key = self.zone.name().to_owned();
        for part in &self.parts {
            key.push(';');
            key.push_str(&match part {
                Part::Cron { expression, gap, overlap } => {
                    format!("cron {} {gap:?} {overlap:?}", expression.text())
                }
                Part::Every(interval) => format!("every {}", interval.key()),
                Part::At(at) => format!("at {at}"),
            });
        }
        key
    }
}

impl Part {
    fn next(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { expression, gap, overlap } => {
                let (second, _) = whole(after);
                let due = firing::next(expression, zone, *gap, *overlap, second)?;
                Timestamp::from_second(due).ok()
            }
            Self::Every(interval) => interval.next(after),
            Self::At(at) => Some(*at).filter(|at| *at > after),
        }
    }

    fn exhausted(&self, now: Timestamp) -> ScheduleError {
        let (schedule, reason) = match self {
            Self::Cron { expression, .. } => (
                expression.text().to_owned(),
                format!("all its dates are before {now:.0} or after the year 2099"),
            ),
            Self::Every(interval) => {
                let text = duration::format(interval.duration());
                (text, "the end of time is nearer than the interval".to_owned())
            }
            Self::At(at) => (at.to_string(), format!("the instant is not after {now:.0}")),
        };
        ScheduleError::Exhausted { schedule, reason }
    }
}
