//! A task that says when its runs go wrong and when they are well again, through the real binary.

use crate::place::Place;
use serde_json::{Value, json};

const TASKS: &str = r#"
[[task]]
name = "copy"
env = { TOKEN = "secret" }
overlap = "skip"
cwd = "${params.nowhere:-/}"
shell = 'test -e "$HOME/well" || { echo broken >&2; exit 3; }'
on_failure = { command = ["/bin/sh", "-c", '''
. "$HOME/tell"
env | grep ^PUNCTUAL_CAUSE_ | sort
echo "$PUNCTUAL_TRIGGER of $PUNCTUAL_TASK with $TOKEN"
tell bad
read go <"$HOME/gate"
'''] }
on_recovered = { command = ["/bin/sh", "-c", '''. "$HOME/tell"; env | grep ^PUNCTUAL_CAUSE_ | sort; tell good'''] }
"#;

fn id(run: &Value) -> &str {
    run["id"].as_str().expect("an id")
}

#[test]
fn a_failure_is_told_once_although_the_daemon_is_killed_and_so_is_the_recovery() {
    let mut place = Place::new();
    place.gate("gate");
    let daemon = place.serve(TASKS);
    place.ask(&["run", "now", "copy", "--wait"]);
    let bad = place.witness.next("bad", "copy");
    daemon.kill();
    let daemon = place.serve_again();
    place.open_gate("gate");
    place.ask(&["run", "wait", &bad.run]).ends(0);
    place.ask(&["run", "retry", &bad.run]).refuses(5, &["only tells of the end of another run"]);
    place.write("well", "");
    place.ask(&["run", "now", "copy", "--wait"]).ends(0);
    let good = place.witness.next("good", "copy");
    place.ask(&["run", "wait", &good.run]).ends(0);
    place.ask(&["run", "now", "copy", "--wait"]).ends(0);
    daemon.stop();

    let runs = place.runs_of("copy");
    let seen: Vec<_> = runs.iter().map(|run| (run["trigger"].clone(), run["state"].clone())).collect();
    let of = |run: &Value| json!({ "of": run["id"] });
    let expected = [
        (json!("manual"), json!("failed")),
        (json!({"on_failure": of(&runs[0])}), json!("succeeded")),
        (json!("manual"), json!("succeeded")),
        (json!({"on_recovered": of(&runs[2])}), json!("succeeded")),
        (json!("manual"), json!("succeeded")),
    ];
    assert_eq!(seen, expected, "{runs:?}");
    assert_eq!((id(&runs[1]), id(&runs[3])), (bad.run.as_str(), good.run.as_str()));
    assert_eq!(runs[1]["life"]["attempt"], 1, "it went on while the daemon was away");
    let told = place.run(&bad.run);
    let told = told["output"].as_str().expect("text");
    for line in [
        &format!("PUNCTUAL_CAUSE_RUN={}", id(&runs[0])),
        "PUNCTUAL_CAUSE_STATE=failed",
        "PUNCTUAL_CAUSE_EXIT_CODE=3",
        "PUNCTUAL_CAUSE_ERROR=exit code 3",
        "PUNCTUAL_CAUSE_FAILURES=1",
        "on_failure of copy with secret",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is not in {told}");
    }
    let good = place.run(&good.run);
    assert!(good["output"].as_str().expect("text").contains("PUNCTUAL_CAUSE_STATE=succeeded\n"), "{good}");
    let cause = place.ask(&["run", "show", id(&runs[0])]);
    let cause = cause.ends(0);
    assert!(cause.contains(&format!("on_failure: told by the run {}", bad.run)), "{cause}");
}

const TRACED: &str = r#"
[[task]]
name = "traced"
shell = 'echo "$TRACEPARENT"; exit 1'
on_failure = { command = ["/bin/sh", "-c", '. "$HOME/tell"; echo "$TRACEPARENT"; tell bad'] }
"#;

#[test]
fn the_trace_of_who_asks_goes_through_the_run_to_what_tells_of_it_and_its_costs_are_shown() {
    let mut place = Place::new();
    let daemon = place.serve(TRACED);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ask = |trace: &str| {
        let mut command = place.command();
        command.args(["run", "now", "traced", "--wait", "--data"]).arg(place.data());
        command.env("TRACEPARENT", trace).output().expect("run the binary")
    };
    ask(trace);
    let told = place.witness.next("bad", "traced");
    place.ask(&["run", "wait", &told.run]).ends(0);
    daemon.stop();
    let runs = place.runs_of("traced");
    for run in &runs {
        assert_eq!(run["trace"], trace, "{run}");
        let shown = place.run(id(run));
        assert_eq!(shown["output"], format!("{trace}\n"), "{shown}");
        assert!(shown["outcome"]["usage"]["memory"].as_u64().is_some_and(|bytes| bytes > 0), "{shown}");
    }
    assert_eq!(runs.len(), 2, "{runs:?}");
    let shown = place.ask(&["run", "show", id(&runs[0])]);
    let shown = shown.ends(0);
    assert!(shown.contains("cpu ") && shown.contains("at most in one process"), "{shown}");
}
