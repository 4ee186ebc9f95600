//! From a due to the moment at which its run starts: offset, jitter and splay.
//!
//! Jitter and splay look random but are functions of the task and the due, so they are the same
//! before and after a restart, on every node, and in every later version.

use super::error::ScheduleError;
use jiff::{SignedDuration, Timestamp};
use punctual_model::schedule::MAX_SPAN;
use punctual_model::{TaskId, Timing, duration};
use std::time::Duration;

/// Separates the splay of a task from its jitter, so that equal windows do not give equal shifts.
const SPLAY: u64 = 0x73_70_6c_61_79;

/// What moves the runs of a task away from its dues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// Added to every due; negative is earlier. Whole seconds.
    pub offset: SignedDuration,
    /// Each due is moved by its own share of this window. Whole milliseconds.
    pub jitter: Duration,
    /// Each task is moved by its own share of this window, the same for all its dues. Whole
    /// milliseconds.
    pub splay: Duration,
}

impl From<&Timing> for Spread {
    fn from(timing: &Timing) -> Self {
        Self { offset: timing.offset, jitter: timing.jitter, splay: timing.splay }
    }
}

impl Spread {
    /// Checks the limits.
    ///
    /// # Errors
    /// An offset that is not whole seconds, a window that is not whole milliseconds, or any of them
    /// beyond [`MAX_SPAN`].
    pub fn check(&self) -> Result<(), ScheduleError> {
        let fail = |field, reason| Err(ScheduleError::Span { field, reason });
        let longest = duration::format(MAX_SPAN);
        if self.offset.subsec_nanos() != 0 {
            let shown = duration::format_signed(self.offset);
            return fail("offset", format!("{shown} is not a whole number of seconds"));
        }
        for (field, span, unit, name) in [
            ("offset", self.offset.unsigned_abs(), Duration::from_secs(1), "seconds"),
            ("jitter", self.jitter, Duration::from_millis(1), "milliseconds"),
            ("splay", self.splay, Duration::from_millis(1), "milliseconds"),
        ] {
            if !span.as_nanos().is_multiple_of(unit.as_nanos()) {
                return fail(field, format!("{} is not a whole number of {name}", duration::format(span)));
            }
            if span > MAX_SPAN {
                return fail(field, format!("{} is longer than {longest}", duration::format(span)));
            }
        }
        Ok(())
    }

    /// When the run of `task` for `due` starts. Saturates at the ends of time.
    ///
    /// Part of the stored contract: `jitter = mix(mix(task id) ^ due in ms) mod window in ms` and
    /// `splay = mix(task id ^ "splay" as a big-endian number) mod window in ms`, with `mix` the step of
    /// SplitMix64 (Steele, Lea, Flood 2014). To change it would start runs of known dues at new times.
    #[must_use]
    pub fn run_at(&self, task: TaskId, due: Timestamp) -> Timestamp {
        let task = task.get();
        let share = |hash: u64, window: Duration| match u64::try_from(window.as_millis()) {
            Ok(window @ 1..) => SignedDuration::from_millis(i64::try_from(hash % window).unwrap_or(0)),
            _ => SignedDuration::ZERO,
        };
        let jitter = share(mix(mix(task) ^ due.as_millisecond() as u64), self.jitter);
        let splay = share(mix(task ^ SPLAY), self.splay);
        let shift = self.offset.saturating_add(jitter).saturating_add(splay);
        due.saturating_add(shift).unwrap_or(due)
    }
}

/// One step of SplitMix64: every bit of the input reaches every bit of the output.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_as_the_published_generator_does() {
        // First outputs of SplitMix64 seeded with 0 and 1234567.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn the_shifts_of_a_due_never_change() {
        let spread = Spread {
            offset: SignedDuration::from_secs(-30),
            jitter: Duration::from_secs(60),
            splay: Duration::from_secs(600),
        };
        let due = Timestamp::from_second(1_800_000_000).unwrap();
        let shifts: Vec<i64> = [1, 2, 0xdead_beef_0000_0001]
            .map(|task| {
                spread.run_at(TaskId::new(task).unwrap(), due).as_millisecond() - due.as_millisecond()
            })
            .into();
        assert_eq!(
            shifts,
            [108_144, 397_599, 320_375],
            "these numbers are stored in the field: they may never change"
        );
    }
}
