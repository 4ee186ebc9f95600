//! A stretch of real time around a clock change, laid out moment by moment.

use crate::spec::Spec;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use punctual_model::schedule::{DstGap, DstOverlap};

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Only,
    First,
    Second,
}

struct Moment {
    at: i64,
    civil: DateTime,
    pass: Pass,
}

/// All moments of a window, and the civil times that the clock jumps over in it.
pub(crate) struct Wall {
    pub(crate) from: i64,
    pub(crate) until: i64,
    moments: Vec<Moment>,
    /// (the end of the gap, a civil time in it)
    skipped: Vec<(i64, DateTime)>,
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time in this century")
}

impl Wall {
    /// The window `around ± radius` in steps of `step`, all in seconds.
    pub(crate) fn new(zone: &TimeZone, around: i64, radius: i64, step: usize) -> Self {
        let (from, until) = (around - radius, around + radius);
        let mut wall = Self { from, until, moments: Vec::new(), skipped: Vec::new() };
        let mut before: Option<DateTime> = None;
        for at in (from..=until).step_by(step) {
            let civil = zone.to_datetime(instant(at));
            let pass = match zone.to_ambiguous_timestamp(civil).offset() {
                AmbiguousOffset::Fold { after, .. } if after == zone.to_offset(instant(at)) => Pass::Second,
                AmbiguousOffset::Fold { .. } => Pass::First,
                _ => Pass::Only,
            };
            if let Some(before) = before {
                let mut skipped = before + (step as i64).seconds();
                while skipped < civil {
                    wall.skipped.push((at, skipped));
                    skipped += (step as i64).seconds();
                }
            }
            before = Some(civil);
            wall.moments.push(Moment { at, civil, pass });
        }
        wall
    }

    /// Every instant of the window at which the expression fires, found by looking at all of them.
    /// The first moment has no past in the window, so it is left out.
    pub(crate) fn firings(&self, spec: &Spec, gap: DstGap, overlap: DstOverlap) -> Vec<i64> {
        let mut known: Option<(Date, bool)> = None;
        let mut matches = |civil: DateTime| {
            spec.matches_time(civil) && {
                let date = civil.date();
                match known {
                    Some((known, answer)) if known == date => answer,
                    _ => known.insert((date, spec.matches_date(date))).1,
                }
            }
        };
        let counts = |pass: Pass| {
            !spec.is_fixed()
                || match overlap {
                    DstOverlap::First => pass != Pass::Second,
                    DstOverlap::Second => pass != Pass::First,
                    DstOverlap::Both => true,
                }
        };
        let mut firings: Vec<i64> = self
            .moments
            .iter()
            .filter(|moment| counts(moment.pass) && matches(moment.civil))
            .map(|moment| moment.at)
            .collect();
        if spec.is_fixed() && gap == DstGap::RunAtEnd {
            firings.extend(self.skipped.iter().filter(|(_, civil)| matches(*civil)).map(|(end, _)| *end));
        }
        firings.sort_unstable();
        firings.dedup();
        firings.retain(|at| *at > self.from);
        firings
    }
}
