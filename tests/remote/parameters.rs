//! A task that says what a run of it takes, from its file to its refusals.

use crate::place::Place;

#[test]
fn di01_di02_the_example_of_parameters_takes_what_it_declares() {
    let place = Place::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/parameters.toml");
    let checked = place.ask(&["task", "validate", file]);
    assert!(checked.ends(0).contains("  parameters: region (required), day\n"), "{checked:?}");
    let checked = place.ask(&["task", "validate", "-o", "json", file]).json();
    let declared = serde_json::json!({"required": ["region"], "optional": ["day"]});
    assert_eq!(checked["tasks"][0]["parameters"], declared);

    let _daemon = place.serve(&[]);
    place.ask(&["apply", "-f", file]).ends(0);
    let run = place.ask(&["run", "now", "report", "--follow", "--param", "region=eu"]);
    assert_eq!(run.ends(0), "the report of eu for yesterday\n");
    place.ask(&["run", "now", "report"]).refuses(2, &["params[\"region\"]", "the task requires it"]);
    let unknown = ["run", "now", "report", "--wait", "--param", "region=eu", "--param", "dya=monday"];
    place.ask(&unknown).refuses(125, &["expected no others than \"region\", \"day\"", "\"dya\""]);
    let shown = place.ask(&["task", "show", "report"]);
    assert!(shown.ends(0).contains("parameters     region (required), day\n"), "{shown:?}");
}

#[test]
fn di05_task_show_counts_its_runs() {
    let place = Place::new();
    let _daemon = place.serve(&[]);
    place.create("job", "test -z \"$PUNCTUAL_PARAM_BAD\"");
    place.ask(&["run", "now", "job", "--wait"]).ends(0);
    place.ask(&["run", "now", "job", "--wait", "--param", "bad=1"]).ends(1);
    place.ask(&["run", "now", "job", "--at", "2100-01-01T00:00:00Z"]).ends(0);
    let shown = place.ask(&["task", "show", "job"]);
    assert!(shown.ends(0).contains("\nruns           1 scheduled, 1 succeeded, 1 failed\n"), "{shown:?}");
    let shown = place.ask(&["task", "show", "job", "-o", "json"]).json();
    let counts = serde_json::json!({"states": {"scheduled": 1, "succeeded": 1, "failed": 1}, "more": false});
    assert_eq!(shown["counts"], counts);
}
