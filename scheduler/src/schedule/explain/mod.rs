//! A schedule in words, for the answer to creating or changing a task and for the command line.
//!
//! Says what the schedule means and what about it may surprise; decides nothing.

mod warning;
mod words;

pub use warning::Warning;

use super::cron::{Expression, Parsed};
use super::error::ScheduleError;
use super::every::Interval;
use super::preview::Preview;
use super::zone::Zone;
use jiff::Timestamp;
use punctual_model::duration;
use punctual_model::schedule::Schedule;

/// What a schedule means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The schedule in its normal form; for cron an expression that parses to the same schedule.
    pub normalised: String,
    /// One English sentence, without a full stop.
    pub sentence: String,
    /// What may surprise.
    pub warnings: Vec<Warning>,
}

/// Explains one schedule in a zone. Clock changes are looked for in the 12 months after `now`.
///
/// # Errors
/// As [`Timeline::compile`](super::Timeline::compile).
pub fn explain(schedule: &Schedule, zone: &Zone, now: Timestamp) -> Result<Explanation, ScheduleError> {
    match schedule {
        Schedule::Cron(cron) => {
            let parsed = Parsed::new(&cron.expr)?;
            let expression = Expression::new(&parsed).map_err(|error| error.quoting(&cron.expr))?;
            Ok(Explanation {
                normalised: parsed.normalised(),
                sentence: format!("{} ({zone})", words::sentence(&parsed)),
                warnings: warning::of_cron(&parsed, &expression, cron, zone, now),
            })
        }
        Schedule::Every(every) => {
            let interval = Interval::new(every)?;
            let (text, anchor) = (duration::format(interval.duration()), interval.anchor());
            let normalised = match every.anchor {
                None => format!("every {text}"),
                Some(_) => format!("every {text} from {anchor}"),
            };
            let sentence = format!("Every {text} of real time, in whole multiples from {anchor}");
            Ok(Explanation { normalised, sentence, warnings: Vec::new() })
        }
        Schedule::At(at) => Ok(Explanation {
            normalised: format!("at {at}"),
            sentence: format!("Once, at {} ({zone})", Preview::new(*at, zone)),
            warnings: Vec::new(),
        }),
    }
}
