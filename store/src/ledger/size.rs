//! How large a record of a run may be, and what is given up so that a run can always end.

use crate::error::Error;
use jiff::Timestamp;
use punctual_model::event::{Event, EventKind, EventLog};
use punctual_model::{Failure, Run, Task};
use serde_json::Value;

/// Largest record in bytes: what the storage engines handle well, and what fits many times into one batch.
pub const MAX_RECORD: usize = 64 << 10;
/// Longest part of a key that somebody chooses (names, idempotency keys), in bytes: keys of tens of thousands of
/// bytes stop a storage engine.
pub const MAX_KEY_PART: usize = 255;
/// What the fields of fixed size of a record take, at most.
const FIXED: usize = 512;
/// What an event takes beside its text.
const EVENT: usize = 64;

/// Refuses a run that is too large to be stored. Nothing of it is the engine's own yet.
pub(super) fn check_run(run: &Run) -> Result<(), Error> {
    check_key("an idempotency key", run.idempotency_key.as_deref().unwrap_or_default())?;
    check("a run", of_run(run))
}

/// Refuses a definition that is too large to be stored.
pub(super) fn check_task(task: &Task) -> Result<(), Error> {
    check_key("the name of a task", &task.spec.name)?;
    check_key("the type of a task", task.kind.as_str())?;
    let size = serde_json::to_vec(task).map_or(usize::MAX, |json| json.len());
    check("a task", size)
}

fn check_key(what: &'static str, text: &str) -> Result<(), Error> {
    let size = text.len();
    if size > MAX_KEY_PART { Err(Error::TooLarge { what, size, limit: MAX_KEY_PART }) } else { Ok(()) }
}

fn check(what: &'static str, size: usize) -> Result<(), Error> {
    if size > MAX_RECORD { Err(Error::TooLarge { what, size, limit: MAX_RECORD }) } else { Ok(()) }
}

/// Makes a run fit that has grown while it lived. Its end must never fail for its size: its events go first,
/// then what its work gave back, then what it saved; the record says so.
pub(super) fn fit(run: &mut Run, at: Timestamp) {
    if of_run(run) <= MAX_RECORD {
        return;
    }
    let dropped = run.events.dropped() + run.events.iter().count() as u64;
    run.events = EventLog::from_parts(Vec::new(), Vec::new(), dropped);
    let mut gone = vec!["earlier events"];
    if let Some(failure) = run.outcome.as_mut().and_then(|outcome| outcome.error.as_mut())
        && failure.message.len() > Failure::MAX_MESSAGE
    {
        let recoverable = failure.recoverable;
        *failure = Failure { recoverable, ..Failure::new(failure.kind, failure.message.as_str()) };
    }
    if of_run(run) > MAX_RECORD - FIXED
        && let Some(outcome) = run.outcome.as_mut().filter(|outcome| outcome.result.is_some())
    {
        outcome.result = None;
        gone.push("the result");
    }
    if of_run(run) > MAX_RECORD - FIXED && !run.saved.is_null() {
        run.saved = Value::Null;
        gone.push("the saved state");
    }
    if of_run(run) > MAX_RECORD - FIXED && !run.local.is_null() {
        run.local = Value::Null;
        gone.push("the local state");
    }
    let text = format!("the record grew too large; not kept: {}", gone.join(", "));
    run.events.push(Event { at, kind: EventKind::Message { source: "store".to_owned(), text } });
}

/// An upper bound of a run's size, without writing it down.
pub(super) fn of_run(run: &Run) -> usize {
    let outcome = run.outcome.as_ref().map_or(0, |outcome| {
        outcome.result.as_ref().map_or(0, of_value)
            + outcome.error.as_ref().map_or(0, |failure| EVENT + failure.message.len())
    });
    let key = run.idempotency_key.as_ref().map_or(0, String::len);
    FIXED
        + key
        + of_value(&run.params)
        + of_value(&run.saved)
        + of_value(&run.local)
        + outcome
        + run.events.iter().map(of_event).sum::<usize>()
}

fn of_event(event: &Event) -> usize {
    EVENT + event.kind.text_len()
}

/// Bytes of a value as JSON. An escaped character counts as one: the stored form does not escape.
fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 20,
        Value::String(text) => text.len() + 5,
        Value::Array(items) => 5 + items.iter().map(of_value).sum::<usize>(),
        Value::Object(fields) => {
            5 + fields.iter().map(|(name, value)| name.len() + 5 + of_value(value)).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use punctual_model::outcome::FailureKind;
    use punctual_model::restart::RestartCount;
    use punctual_model::{Life, Outcome, RunId, RunState, TaskId, Trigger};

    fn run() -> Run {
        Run {
            id: RunId::new(1).unwrap(),
            task: TaskId::new(1).unwrap(),
            revision: 1,
            trigger: Trigger::Manual,
            scheduled_for: Timestamp::UNIX_EPOCH,
            run_at: Timestamp::UNIX_EPOCH,
            accepted_at: Timestamp::UNIX_EPOCH,
            life: Life::born(RunState::Queued),
            started_at: None,
            finished_at: None,
            forced: false,
            params: Value::Null,
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: RestartCount::default(),
            outcome: None,
            saved: Value::Null,
            local: Value::Null,
            events: EventLog::default(),
        }
    }

    #[test]
    fn a_run_that_grew_too_large_is_cut_until_it_fits_and_says_so() {
        let mut run = run();
        run.params = Value::String("p".repeat(Run::MAX_PARAMS));
        check_run(&run).unwrap();
        run.saved = Value::String("s".repeat(Run::MAX_PARAMS));
        run.outcome = Some(Outcome {
            error: Some(Failure { kind: FailureKind::Work, message: "m".repeat(1 << 20), recoverable: true }),
            result: Some(Value::String("r".repeat(Outcome::MAX_RESULT))),
            ..Outcome::default()
        });
        for _ in 0..40 {
            let text = "t".repeat(1024);
            run.events.push(Event {
                at: Timestamp::UNIX_EPOCH,
                kind: EventKind::Message { source: "work".to_owned(), text },
            });
        }
        fit(&mut run, Timestamp::UNIX_EPOCH);
        assert!(of_run(&run) <= MAX_RECORD);
        assert!(serde_json::to_vec(&run).unwrap().len() <= MAX_RECORD);
        assert_eq!(run.events.dropped(), 40);
        assert!(
            run.events.last().next().or(run.events.first().first()).unwrap().kind.text().contains("result")
        );
        assert!(!run.saved.is_null(), "what makes it fit is enough");
    }

    #[test]
    fn too_large_a_run_is_refused_before_it_is_accepted() {
        let mut large = run();
        large.params = Value::Array(vec![Value::Bool(true); MAX_RECORD / 5]);
        assert!(matches!(check_run(&large), Err(Error::TooLarge { what: "a run", .. })));
        let mut key = run();
        key.idempotency_key = Some("k".repeat(MAX_KEY_PART + 1));
        assert!(matches!(check_run(&key), Err(Error::TooLarge { limit: MAX_KEY_PART, .. })));
    }
}
