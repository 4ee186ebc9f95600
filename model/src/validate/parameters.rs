//! Judges what a task declares of its parameters, and what comes with a run by that.

use super::Problems;
use crate::parameters::{Parameters, Payload};
use crate::task::TaskSpec;
use serde_json::{Map, Value};

/// Most names that a refusal repeats: whoever has given more sees what is meant.
const MAX_TOLD: usize = 8;

/// Judges the declaration.
pub(super) fn declared(spec: &TaskSpec, found: &mut Problems) {
    let Parameters { payload, required, optional } = &spec.parameters;
    let named = spec.parameters.names().next().is_some();
    found.require(
        !(named && *payload == Payload::Forbidden),
        "parameters.payload",
        "optional or required beside names",
        Some("a run that takes no parameters has none to name"),
    );
    for (field, names) in [("parameters.required", required), ("parameters.optional", optional)] {
        let expected = format!("at most {} names", Parameters::MAX_NAMES);
        found.require(names.len() <= Parameters::MAX_NAMES, field, expected, None);
        for (n, name) in names.iter().enumerate() {
            let field = format!("{field}[{n}]");
            let good = (1..=TaskSpec::MAX_NAME).contains(&name.len()) && name.bytes().all(allowed);
            let expected = format!("1 to {} letters, digits, underscores or minus signs", TaskSpec::MAX_NAME);
            let hint = "so that `${params.NAME}` can reach it";
            found.require(good, &field, expected, Some(hint));
            found.require(!names[..n].contains(name), &field, "a name that is not in the list yet", None);
        }
    }
    for (n, name) in optional.iter().enumerate() {
        found.require(
            !required.contains(name),
            &format!("parameters.optional[{n}]"),
            "a name that is not required too",
            Some(&format!("take {name:?} out of one of the two lists")),
        );
    }
    if spec.parameters.asks() && !spec.schedules.is_empty() {
        let field = if required.is_empty() { "parameters.payload" } else { "parameters.required" };
        found.require(
            false,
            field,
            "nothing required beside a schedule",
            Some(
                "due times bring no parameters, so none of them could run: make them optional, or take the \
                 schedule away and ask for each run",
            ),
        );
    }
}

/// What a template can name.
fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Judges the parameters of a run, an object or null, by what its task declares. An empty object is none.
#[must_use]
pub fn run_parameters(declared: &Parameters, params: &Value) -> Problems {
    let mut found = Problems::default();
    let none = Map::new();
    let given = params.as_object().unwrap_or(&none);
    let any = !given.is_empty();
    match declared.payload {
        Payload::Forbidden => {
            found.require(!any, "params", "none", Some("a run of this task takes no parameters"));
            return found;
        }
        Payload::Required if declared.required.is_empty() => {
            let hint = "a run of this task takes its parameters from whoever asks for it";
            found.require(any, "params", "at least one", Some(hint));
        }
        Payload::Required | Payload::Optional => {}
    }
    for name in declared.required.iter().filter(|name| !given.contains_key(*name)) {
        found.require(false, &format!("params[{name:?}]"), "a value", Some("the task requires it"));
    }
    let mut unknown = given.keys().filter(|name| declared.names().all(|known| known != *name)).peekable();
    if declared.names().next().is_some() && unknown.peek().is_some() {
        let told = quoted(unknown.map(String::as_str));
        let expected = format!("no others than {}", quoted(declared.names()));
        found.add("params", expected, Some(format!("the task does not know {told}")));
    }
    found
}

/// The first few of these names.
fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names = names.map(|name| format!("{name:?}"));
    let told: Vec<String> = names.by_ref().take(MAX_TOLD).collect();
    match names.count() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Every, Schedule};
    use crate::validate::task;
    use crate::work::Work;
    use serde_json::json;
    use std::time::Duration;

    fn parameters(written: Value) -> Parameters {
        serde_json::from_value(written).unwrap()
    }

    #[track_caller]
    fn refused(written: Value, given: Value) -> String {
        run_parameters(&parameters(written), &given).to_string()
    }

    #[test]
    fn di01_a_payload_is_required_optional_or_forbidden_and_there_or_not() {
        let none = [Value::Null, json!({})];
        let some = [json!({"a": 1}), json!({"a": null}), json!({"a": 1, "b": {"c": []}})];
        for (payload, without, with) in
            [("required", false, true), ("optional", true, true), ("forbidden", true, false)]
        {
            for given in &none {
                let text = refused(json!({"payload": payload}), given.clone());
                assert_eq!(text.is_empty(), without, "{payload}, {given}: {text}");
            }
            for given in &some {
                let text = refused(json!({"payload": payload}), given.clone());
                assert_eq!(text.is_empty(), with, "{payload}, {given}: {text}");
            }
        }
        let text = refused(json!({"payload": "required"}), Value::Null);
        assert!(text.starts_with("params: expected at least one ("), "{text}");
        let text = refused(json!({"payload": "forbidden"}), json!({"a": 1}));
        assert!(text.starts_with("params: expected none ("), "{text}");
    }

    #[test]
    fn di02_names_are_required_optional_or_unknown() {
        let declared = || json!({"required": ["region", "day"], "optional": ["dry_run"]});
        let full = json!({"region": "eu", "day": "monday", "dry_run": true});
        assert_eq!(refused(declared(), full), "");
        assert_eq!(refused(declared(), json!({"region": null, "day": ""})), "");
        assert_eq!(
            refused(declared(), json!({"regoin": "eu", "day": "monday"})),
            "params[\"region\"]: expected a value (the task requires it); params: expected no others than \"region\", \
             \"day\", \"dry_run\" (the task does not know \"regoin\")"
        );
        let text = refused(declared(), Value::Null);
        assert!(text.contains("params[\"region\"]") && text.contains("params[\"day\"]"), "{text}");
        // Optional names alone may all be left out, and close the list all the same.
        let free = || json!({"optional": ["dry_run"]});
        assert_eq!(refused(free(), Value::Null), "");
        assert_eq!(refused(free(), json!({"dry_run": 1})), "");
        assert!(refused(free(), json!({"dryrun": 1})).contains("does not know \"dryrun\""));
        // Nothing declared: anything goes.
        assert_eq!(refused(json!({}), json!({"what": "ever"})), "");
    }

    #[test]
    fn a_refusal_repeats_a_few_names_only() {
        let given: Map<String, Value> = (0..1000).map(|n| (format!("n{n:04}"), Value::Null)).collect();
        let text = refused(json!({"optional": ["a"]}), given.into());
        assert!(text.contains("\"n0007\" and 992 more") && text.len() < 300, "{text}");
    }

    #[track_caller]
    fn judged(written: Value, schedules: Vec<Schedule>, fields: &[&str]) {
        let spec = TaskSpec {
            parameters: parameters(written),
            schedules,
            ..TaskSpec::new("n", Work::process(["/bin/true"]))
        };
        let problems = task(&spec);
        let found: Vec<_> = problems.as_slice().iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(found, fields, "{problems}");
        assert!(problems.as_slice().iter().all(|problem| !problem.expected.is_empty()));
    }

    #[test]
    fn di02_required_and_optional_are_disjoint_and_their_names_can_be_reached() {
        judged(json!({"required": ["a"], "optional": ["b", "c-d_2"]}), vec![], &[]);
        judged(json!({"required": ["a", "b"], "optional": ["b"]}), vec![], &["parameters.optional[0]"]);
        judged(json!({"required": ["a", "a"]}), vec![], &["parameters.required[1]"]);
        for bad in ["", "a b", "a.b", "größe", &"x".repeat(65)] {
            judged(json!({"optional": [bad]}), vec![], &["parameters.optional[0]"]);
        }
        let many: Vec<String> = (0..65).map(|n| format!("p{n}")).collect();
        judged(json!({"optional": many}), vec![], &["parameters.optional"]);
        judged(json!({"payload": "forbidden"}), vec![], &[]);
        judged(json!({"payload": "forbidden", "optional": ["a"]}), vec![], &["parameters.payload"]);
        let spec = TaskSpec {
            parameters: parameters(json!({"required": ["a"], "optional": ["a"]})),
            ..TaskSpec::new("n", Work::shell("true"))
        };
        assert_eq!(
            task(&spec).check("task").unwrap_err().to_string(),
            "invalid task: parameters.optional[0]: expected a name that is not required too (take \"a\" out of one of \
             the two lists)"
        );
    }

    #[test]
    fn di03_what_dues_cannot_bring_is_not_required_beside_a_schedule() {
        let hourly = || vec![Schedule::Every(Every::new(Duration::from_secs(3600)))];
        judged(json!({"required": ["a"]}), hourly(), &["parameters.required"]);
        judged(json!({"payload": "required"}), hourly(), &["parameters.payload"]);
        judged(json!({"payload": "required"}), vec![], &[]);
        judged(json!({"payload": "forbidden"}), hourly(), &[]);
        judged(json!({"optional": ["a"]}), hourly(), &[]);
    }
}
