//! Tasks fire when they should, jobs learn which run they are, and what was printed afterwards tells the same.

use crate::place::Place;

const TICK: &str = r#"
[[task]]
name = "tick"
every = "1s"
shell = '''
. "$HOME/tell"
echo "out of $PUNCTUAL_RUN_ID"
echo "err of $PUNCTUAL_RUN_ID" >&2
tell ran
'''
"#;

#[test]
fn a_task_fires_every_second_and_the_records_tell_what_the_jobs_told() {
    let mut place = Place::new();
    let daemon = place.serve(TICK);
    let mut told: Vec<_> = (0..3).map(|_| place.witness.next("ran", "tick")).collect();
    // On a machine that stood still two of them are at work side by side, and tell in any order.
    told.sort_by(|one, other| one.run.cmp(&other.run));
    let printed = daemon.stop();
    assert!(printed.contains("SIGTERM: stopping"), "{printed}");

    for fact in &told {
        assert_eq!(fact.attempt, 1);
        assert!(fact.scheduled_for.len() == "2026-01-01T00:00:00Z".len(), "{fact:?} is no whole second");
    }
    for pair in told.windows(2) {
        assert!(pair[0].scheduled_for < pair[1].scheduled_for && pair[0].run < pair[1].run, "{pair:?}");
    }

    let runs = place.runs_of("tick");
    let text = place.ask(&["run", "list"]).ends(0).to_owned();
    for fact in place.witness.of("ran", "tick") {
        let run =
            runs.iter().find(|run| run["id"] == *fact.run).unwrap_or_else(|| panic!("{fact:?} in {runs:#?}"));
        assert_eq!(run["state"], "succeeded");
        assert_eq!(run["scheduled_for"], *fact.scheduled_for);
        assert_eq!(run["trigger"], "schedule");
        assert_eq!(run["life"]["attempt"], 1);
        let row = text.lines().find(|row| row.starts_with(&fact.run)).expect("a row");
        assert!(
            row.contains("tick") && row.contains("succeeded") && row.contains(&fact.scheduled_for),
            "{row}"
        );
    }
    let due: Vec<&str> = runs.iter().filter_map(|run| run["scheduled_for"].as_str()).collect();
    assert!(due.windows(2).all(|pair| pair[0] < pair[1]), "each due once: {due:?}");

    let id = &told[1].run;
    let shown = place.run(id);
    let output = shown["output"].as_str().expect("text");
    assert!(
        output.contains(&format!("out of {id}\n")) && output.contains(&format!("err of {id}\n")),
        "{output}"
    );
    let shown = place.ask(&["run", "show", id]).ends(0).to_owned();
    for part in [id.as_str(), "tick", "succeeded", "exit code 0", &format!("out of {id}\n")] {
        assert!(shown.contains(part), "{part:?} is not in {shown}");
    }
    // The beginning of an id is enough if no other run begins so, and says so if not.
    place.ask(&["run", "show", &id[..4]]).refuses(3, &["begins several"]);
    place.ask(&["run", "list", "nobody"]).refuses(3, &["no task is named", "nobody"]);
    place.ask(&["run", "show", "ffffffffffffffff"]).refuses(3, &["no run"]);
    let failed = place.ask(&["run", "list", "tick", "--state", "failed", "-o", "json"]).json();
    assert_eq!(failed["runs"].as_array().map(Vec::len), Some(0));
}
