//! Whether a definition is accepted, and what its schedule means.
//!
//! Pure: the time is given to it. Puts together what the model judges (limits) and what the scheduler judges
//! (schedules and zones), so that a person sees all problems at once.

use crate::error::Error;
use crate::tasks::Tasks;
use jiff::Timestamp;
use punctual_model::{Schedule, Task, TaskSpec, validate};
use punctual_scheduler::schedule::{Explanation, Preview, ScheduleError, Timeline, Zone, explain, preview};

/// How many of the next dues an answer shows: enough to see a week's pattern of a daily task break.
pub const SHOWN_DUES: usize = 5;

/// What the schedule of an accepted task means; shown to whoever created or changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleReport {
    /// The zone whose wall clock counts: the task's own or the default.
    pub zone: String,
    /// Each schedule in its normal form, in words, with what may surprise; empty if the task runs only when told to.
    pub schedules: Vec<Explanation>,
    /// The next due times of all schedules together, before offset, jitter and splay.
    pub next: Vec<Preview>,
}

/// Judges a definition as creating a task with it would, without a store; answers what its schedule means.
///
/// # Errors
/// [`Error::Invalid`] with every problem found.
pub fn check(spec: &TaskSpec, default_zone: &Zone, now: Timestamp) -> Result<ScheduleReport, Error> {
    accept(spec, None, default_zone, now)
}

/// Judges a definition that is to take the place of `previous`.
///
/// # Errors
/// [`Error::Invalid`] with every problem found.
pub(crate) fn accept(
    spec: &TaskSpec,
    previous: Option<&TaskSpec>,
    default_zone: &Zone,
    now: Timestamp,
) -> Result<ScheduleReport, Error> {
    let mut problems = validate::task(spec);
    let zone = zone_of(spec, default_zone).unwrap_or_else(|error| {
        problems.add("timezone", "an IANA time zone name", Some(error));
        default_zone.clone()
    });
    // A single date that has passed is no news for a task whose schedules stay as they were.
    let is_new = previous.is_none_or(|previous| moves_dues(previous, spec));
    let mut schedules = Vec::with_capacity(spec.schedules.len());
    for (n, schedule) in spec.schedules.iter().enumerate() {
        match explained(schedule, &zone, is_new, now) {
            Ok(explanation) => schedules.push(explanation),
            Err(error) => {
                problems.add(
                    format!("schedules[{n}]"),
                    "a schedule that will be due",
                    Some(error.to_string()),
                );
            }
        }
    }
    problems.check("task").map_err(Error::Invalid)?;
    // Each part has compiled, so only their number could be wrong, and that was judged above.
    let timeline = Timeline::compile(&spec.schedules, &zone);
    let next = timeline.map(|timeline| preview(&timeline, now, SHOWN_DUES)).unwrap_or_default();
    Ok(ScheduleReport { zone: zone.name().to_owned(), schedules, next })
}

/// Describes the schedule of a task that was accepted before; what cannot be understood any more (a zone that
/// the database has lost) is left out.
pub(crate) fn describe(spec: &TaskSpec, default_zone: &Zone, now: Timestamp) -> ScheduleReport {
    let zone = zone_of(spec, default_zone).unwrap_or_else(|_| default_zone.clone());
    let schedules = spec.schedules.iter().filter_map(|schedule| explain(schedule, &zone, now).ok()).collect();
    let timeline = Timeline::compile(&spec.schedules, &zone);
    let next = timeline.map(|timeline| preview(&timeline, now, SHOWN_DUES)).unwrap_or_default();
    ScheduleReport { zone: zone.name().to_owned(), schedules, next }
}

impl Tasks {
    /// The next `count` due times of a task from now on, before offset, jitter and splay; of a paused one those that
    /// it would have. None if its schedule cannot be understood any more.
    #[must_use]
    pub fn next(&self, task: &Task, count: usize) -> Vec<Preview> {
        let parts = &self.core.parts;
        let zone = zone_of(&task.spec, &parts.default_zone).unwrap_or_else(|_| parts.default_zone.clone());
        let timeline = Timeline::compile(&task.spec.schedules, &zone);
        timeline.map(|timeline| preview(&timeline, parts.clock.now(), count)).unwrap_or_default()
    }
}

/// Whether a change of the definition moves the dues, so that those of the past are not owed any more.
pub(crate) fn moves_dues(from: &TaskSpec, to: &TaskSpec) -> bool {
    from.schedules != to.schedules || from.timezone != to.timezone || from.offset != to.offset
}

fn zone_of(spec: &TaskSpec, default_zone: &Zone) -> Result<Zone, String> {
    match &spec.timezone {
        Some(name) => Zone::get(name).map_err(|error| error.to_string()),
        None => Ok(default_zone.clone()),
    }
}

fn explained(
    schedule: &Schedule,
    zone: &Zone,
    is_new: bool,
    now: Timestamp,
) -> Result<Explanation, ScheduleError> {
    if is_new {
        Timeline::compile(std::slice::from_ref(schedule), zone)?.require_future(now)?;
    }
    explain(schedule, zone, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use punctual_model::schedule::{Cron, Every};
    use punctual_model::{ErrorCode, Work};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::constant(1_767_225_600, 0);

    fn cron(expr: &str) -> Schedule {
        Schedule::Cron(Cron::new(expr))
    }

    fn spec(schedules: Vec<Schedule>) -> TaskSpec {
        TaskSpec { schedules, ..TaskSpec::new("n", Work::shell("true")) }
    }

    #[track_caller]
    fn refused(spec: &TaskSpec) -> String {
        let error = accept(spec, None, &Zone::utc(), NOW).unwrap_err();
        let edge = punctual_model::Error::from(error);
        assert_eq!(edge.code(), ErrorCode::Invalid);
        edge.to_string()
    }

    /// OP02, the part that needs schedules to be understood. No schedule and several are both fine here.
    #[test]
    fn op02_schedules_that_cannot_be_are_refused_with_their_place() {
        assert!(accept(&spec(vec![]), None, &Zone::utc(), NOW).is_ok());
        assert!(accept(&spec(vec![cron("0 2 * * *"), cron("@hourly")]), None, &Zone::utc(), NOW).is_ok());
        let text = refused(&spec(vec![cron("0 2 * * *"), cron("61 * * * *"), cron("0 0 30 2 *")]));
        assert!(text.contains("schedules[1]") && text.contains("schedules[2]"), "{text}");
        assert!(!text.contains("schedules[0]"), "{text}");
        let text = refused(&spec(vec![Schedule::At(NOW)]));
        assert!(text.contains("schedules[0]") && text.contains("never be due again"), "{text}");
    }

    #[test]
    fn all_problems_come_at_once_whoever_finds_them() {
        let mut bad = spec(vec![cron("nonsense")]);
        bad.name = String::new();
        bad.timezone = Some("Europe/Berlln".to_owned());
        let text = refused(&bad);
        for part in ["name:", "timezone:", "schedules[0]:", "Europe/Berlin"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_report_has_words_five_dues_and_the_zone() {
        let mut task = spec(vec![cron("30 2 * * *")]);
        task.timezone = Some("Europe/Berlin".to_owned());
        let report = accept(&task, None, &Zone::utc(), NOW).unwrap();
        assert_eq!(report.zone, "Europe/Berlin");
        assert_eq!(report.next.len(), SHOWN_DUES);
        assert_eq!(report.next[0].to_string(), "Thu 2026-01-01 02:30:00 +01:00 (2026-01-01T01:30:00Z)");
        assert!(report.schedules[0].sentence.contains("Europe/Berlin"), "{}", report.schedules[0].sentence);
        assert_eq!(describe(&task, &Zone::utc(), NOW), report);
    }

    #[test]
    fn a_date_that_has_passed_hinders_no_other_change() {
        let old = spec(vec![Schedule::At(NOW)]);
        let mut new = old.clone();
        new.description = "done".to_owned();
        assert!(accept(&new, Some(&old), &Zone::utc(), NOW).is_ok());
        new.offset = SignedDuration::from_secs(1);
        assert!(accept(&new, Some(&old), &Zone::utc(), NOW).is_err());
    }

    #[test]
    fn only_schedule_zone_and_offset_move_dues() {
        let base = spec(vec![cron("@daily")]);
        let moved = |change: fn(&mut TaskSpec)| {
            let mut to = base.clone();
            change(&mut to);
            moves_dues(&base, &to)
        };
        assert!(moved(|spec| spec.schedules = vec![Schedule::Every(Every::new(Duration::from_secs(60)))]));
        assert!(moved(|spec| spec.timezone = Some("UTC".to_owned())));
        assert!(moved(|spec| spec.offset = SignedDuration::from_secs(1)));
        assert!(!moved(|spec| spec.name = "other".to_owned()));
        assert!(!moved(|spec| spec.work = Work::shell("false")));
    }
}
