//! The environment of a child: a few variables of ours, what the task says, and what tells it its run.
//!
//! Nothing else of the daemon's environment goes to a child, since it may hold secrets of other tasks.

use super::home::{MARK, ProcessHome};
use crate::driver::Attempt;
use crate::drivers::trace::traceparent;
use punctual_model::{Trigger, Work, follow_up};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// The variable with the run's id, by which its processes are found as well.
pub(super) const RUN_ID: &str = "PUNCTUAL_RUN_ID";

/// What a child may know of the daemon's own environment.
const ALLOWED: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "USER"];

/// Makes it. The task's own variables win over the daemon's, ours over all.
pub(super) fn of(attempt: &Attempt, home: &ProcessHome) -> BTreeMap<String, OsString> {
    let (run, task) = (&attempt.run, &attempt.task);
    let mut all: BTreeMap<String, OsString> =
        ALLOWED.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?))).collect();
    if let Work::Process { context, .. } | Work::Shell { context, .. } = &task.spec.work {
        all.extend(context.env.iter().map(|(name, value)| (name.clone(), value.into())));
    }
    let mut set = |name: &str, value: String| drop(all.insert(name.to_owned(), value.into()));
    if let Value::Object(params) = &run.params {
        for (name, value) in params {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // What a follow-up knows of its cause is no parameter that anybody has given.
            let is_cause = run.trigger.follows().is_some() && name.starts_with(follow_up::CAUSE);
            let prefix = if is_cause { "PUNCTUAL_" } else { "PUNCTUAL_PARAM_" };
            set(&format!("{prefix}{}", variable(name)), text);
        }
    }
    if !run.params.is_null() {
        set("PUNCTUAL_PARAMS", run.params.to_string());
    }
    set(RUN_ID, run.id.to_string());
    set("PUNCTUAL_TASK", task.spec.name.clone());
    set("PUNCTUAL_TASK_ID", task.id.to_string());
    set("PUNCTUAL_ATTEMPT", run.life.attempt.to_string());
    set("PUNCTUAL_FENCE", fence(run.life.epoch, run.life.attempt));
    set("PUNCTUAL_SCHEDULED_FOR", run.scheduled_for.to_string());
    set("PUNCTUAL_TASK_TYPE", task.kind.to_string());
    set("PUNCTUAL_TASK_REVISION", task.revision.to_string());
    set("PUNCTUAL_RUN_AT", run.run_at.to_string());
    set("TRACEPARENT", traceparent(run, task));
    set("PUNCTUAL_TRIGGER", run.trigger.as_str().to_owned());
    if let Trigger::Retry { of } | Trigger::Resume { of } = run.trigger {
        set("PUNCTUAL_PREVIOUS_RUN_ID", of.to_string());
    }
    if let Some(mark) = home.mark() {
        set(MARK, mark.to_owned());
    }
    all
}

/// Rises from attempt to attempt of one run, also across restarts of the node, and compares as text: whoever
/// the work writes to can refuse an older attempt.
fn fence(epoch: u64, attempt: u32) -> String {
    format!("{epoch:020}.{attempt:010}")
}

/// The name of a parameter as part of a variable's name.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters_become_names_of_variables() {
        assert_eq!(variable("batch-size"), "BATCH_SIZE");
        assert_eq!(variable("größe"), "GR__E");
    }

    #[test]
    fn fences_rise_as_text() {
        assert!(fence(9, 10) < fence(10, 1) && fence(1, 9) < fence(1, 10));
    }
}
