//! From civil times to instants, one stretch of constant offset at a time.
//!
//! Within a stretch civil time and real time run together, so a walk of the civil calendar is a walk
//! of instants. What is special happens where two stretches meet: civil times between them that
//! never show on the wall (the gap), or that show twice (the overlap).

use super::super::zone::{Stretch, Zone};
use super::expression::Expression;
use punctual_faults::{Defect, seeded};
use punctual_model::schedule::{DstGap, DstOverlap};

/// The walk of an expression, with its last answer: nothing matches between `from` and `found`.
struct Walk<'a> {
    expression: &'a Expression,
    from: i64,
    found: Option<i64>,
}

impl Walk<'_> {
    /// First match strictly after the civil second `after`, `i64::MAX` for none.
    fn after(&mut self, after: i64) -> i64 {
        let known = self.found.is_some_and(|found| self.from <= after && after < found);
        if !known {
            self.from = after;
            self.found = Some(self.expression.next(after).unwrap_or(i64::MAX));
        }
        self.found.unwrap_or(i64::MAX)
    }
}

/// First instant (in seconds) strictly after `after` at which the expression fires in the zone.
pub(in super::super) fn next(
    expression: &Expression,
    zone: &Zone,
    gap: DstGap,
    overlap: DstOverlap,
    after: i64,
) -> Option<i64> {
    let stretches = zone.stretches();
    let here = zone.stretch_at(after);
    let mut walk = Walk { expression, from: 0, found: None };
    for (index, stretch) in stretches.iter().enumerate().skip(here) {
        let offset = i64::from(stretch.offset);
        let begin = stretch.start.saturating_add(offset);
        let next = stretches.get(index + 1);
        let mut lower = if index == here { after.saturating_add(offset) } else { begin - 1 };
        let mut upper = next.map_or(i64::MAX, |next| next.start + offset);
        if expression.is_fixed() {
            if let Some(previous) = index.checked_sub(1).and_then(|index| stretches.get(index)) {
                let ended = stretch.start + i64::from(previous.offset);
                let entered = index != here;
                let owed =
                    entered && gap == DstGap::RunAtEnd && ended < begin && walk.after(ended - 1) < begin;
                if owed && !seeded(Defect::DueSwallowedAtClockChange) {
                    return Some(stretch.start);
                }
                if overlap == DstOverlap::First {
                    lower = lower.max(ended - 1);
                }
            }
            if let Some(next) = next.filter(|_| overlap == DstOverlap::Second) {
                upper = upper.min(next.start + i64::from(next.offset));
            }
        }
        let found = walk.after(lower);
        if found < upper {
            return (found != i64::MAX).then(|| found - offset);
        }
    }
    None
}

/// A clock change that an expression with fixed times runs into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Change {
    /// The instant of the change, in seconds.
    pub(in super::super) at: i64,
    /// What the wall clock shows just before it, in civil seconds.
    pub(in super::super) from: i64,
    /// What it shows from then on.
    pub(in super::super) to: i64,
    /// The first time of the expression that the change skips or repeats, in civil seconds.
    pub(in super::super) hits: i64,
}

/// The clock changes after `after` and not after `until` that skip or repeat a time of the
/// expression. None for expressions that follow real time.
pub(in super::super) fn changes(expression: &Expression, zone: &Zone, after: i64, until: i64) -> Vec<Change> {
    let pairs = zone.stretches().windows(2).filter(|pair| (after + 1..=until).contains(&pair[1].start));
    let change = |pair: &[Stretch]| {
        let at = pair[1].start;
        let (from, to) = (at + i64::from(pair[0].offset), at + i64::from(pair[1].offset));
        let hits = expression.next(from.min(to) - 1)?;
        (hits < from.max(to)).then_some(Change { at, from, to, hits })
    };
    if expression.is_fixed() { pairs.filter_map(change).collect() } else { Vec::new() }
}
