//! `kill -9`: what was begun is judged truthfully, what was due is accounted for, and nothing runs twice.

use crate::place::Place;
use crate::process::{is_alive, wait_for_end};
use serde_json::Value;
use std::collections::BTreeSet;

/// A job that works until it is ended, telling so; a later one first looks whether an earlier one lives.
fn endless(name: &str, more: &str) -> String {
    format!(
        r#"
[[task]]
name = "{name}"
every = "1s"
overlap = "skip"
catch_up = "skip"
{more}
shell = '''
. "$HOME/tell"
if [ -e "$HOME/{name}.pid" ]; then
  earlier=$(sed 's/.*) //' "/proc/$(cat "$HOME/{name}.pid")/stat" 2>/dev/null | cut -c1)
  case "$earlier" in ''|Z|X) tell alone ;; *) tell together ;; esac
fi
echo $$ >"$HOME/{name}.pid"
tell began
while :; do tell alive; sleep 1; done
'''
"#
    )
}

#[test]
fn a_run_whose_end_nobody_saw_is_lost_and_its_process_is_gone_before_the_next() {
    let mut place = Place::new();
    let daemon = place.serve(&endless("long", "shim = false"));
    let began = place.witness.next("began", "long");
    daemon.kill();
    // Only the daemon has died.
    place.witness.next("alive", "long");
    place.witness.next("alive", "long");
    assert!(is_alive(began.pid));

    let mut daemon = place.start(&[]);
    let found = daemon.out.until(&began.run);
    assert!(
        found.contains("long") && found.contains("lost") && found.contains("nobody saw its end"),
        "{found}"
    );
    let next = place.witness.next("began", "long");
    assert!(!is_alive(began.pid));
    assert_ne!(next.run, began.run);
    assert_eq!(place.witness.of("together", "long"), []);
    daemon.kill();
    wait_for_end_of_jobs(&place);

    let lost = place.run(&began.run);
    assert_eq!((&lost["state"], &lost["life"]["attempt"]), (&Value::from("lost"), &Value::from(1)));
    // One attempt was one process.
    assert_eq!(place.witness.of("began", "long").iter().filter(|fact| fact.run == began.run).count(), 1);
}

#[test]
fn a_process_in_the_hands_of_a_shim_goes_on_through_two_crashes_and_only_without_one_it_is_lost() {
    let mut place = Place::new();
    let mut daemon = place.serve(&endless("kept", ""));
    let began = place.witness.next("began", "kept");
    for _ in 0..2 {
        daemon.kill();
        place.witness.fresh("alive", "kept");
        daemon = place.start(&[]);
        let found = daemon.out.until(&began.run);
        assert!(found.contains("taken up again"), "{found}");
        place.witness.fresh("alive", "kept");
        assert!(is_alive(began.pid));
    }
    assert_eq!(place.witness.of("began", "kept").len(), 1, "it was started once more");
    daemon.kill();
    // Its keeper dies too: what is left of it is ended, and nobody saw how it ended.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", began.pid)).expect("it lives");
    let shim = stat.rsplit_once(") ").expect("a name").1.split(' ').nth(1).expect("its parent");
    crate::process::kill(shim.parse().expect("a number"), rustix::process::Signal::KILL);
    let mut daemon = place.start(&[]);
    let found = daemon.out.until(&began.run);
    assert!(found.contains("lost"), "{found}");
    assert!(!is_alive(began.pid));
    daemon.kill();
    wait_for_end_of_jobs(&place);
    assert_eq!(place.run(&began.run)["life"]["attempt"], 1);
}

/// The next daemon ends what the last one left; here none follows.
fn wait_for_end_of_jobs(place: &Place) {
    for pid in place.jobs() {
        crate::process::kill(pid, rustix::process::Signal::KILL);
        wait_for_end(pid);
    }
}

#[test]
fn a_lost_attempt_is_repeated_only_where_the_task_allows_it() {
    let mut place = Place::new();
    let tasks = endless("idem", "idempotent = true\nshim = false")
        + &endless("policy", "shim = false\nrestart = { on_lost = \"restart\" }");
    let daemon = place.serve(&tasks);
    let first = ["idem", "policy"].map(|task| place.witness.next("began", task));
    daemon.kill();

    let mut daemon = place.start(&[]);
    for fact in &first {
        let found = daemon.out.until(&fact.run);
        assert!(found.contains("scheduled") || found.contains("queued"), "{found}");
    }
    for before in &first {
        let again = place.witness.next("began", &before.task);
        assert_eq!((&again.run, again.attempt), (&before.run, 2));
        assert_eq!(again.scheduled_for, before.scheduled_for);
        assert!(again.fence > before.fence, "{} after {}", again.fence, before.fence);
        assert!(!is_alive(before.pid));
        assert_eq!(place.witness.of("alone", &before.task).len(), 1);
        assert_eq!(place.witness.of("together", &before.task), []);
    }
    daemon.kill();
}

#[test]
fn a_run_that_waits_for_its_next_attempt_goes_on_with_it_after_a_crash() {
    let mut place = Place::new();
    let tasks = r#"
[[task]]
name = "flaky"
every = "1s"
overlap = "skip"
restart = { attempts = 5, delay = "3s" }
shell = '''
. "$HOME/tell"
tell tried
[ "$PUNCTUAL_ATTEMPT" -ge 3 ]
'''
"#;
    let mut daemon = place.serve(tasks);
    let first = place.witness.next("tried", "flaky");
    // Only when the end of the attempt is recorded the run waits for its next one.
    daemon.err.until("attempt ended");
    daemon.kill();

    let mut daemon = place.serve_again();
    let second = place.witness.next("tried", "flaky");
    daemon.err.until("attempt ended");
    daemon.kill();

    let mut daemon = place.serve_again();
    let third = place.witness.next("tried", "flaky");
    daemon.err.until("attempt ended");
    daemon.stop();
    for (fact, attempt) in [(&first, 1), (&second, 2), (&third, 3)] {
        assert_eq!((&fact.run, fact.attempt), (&first.run, attempt));
        assert_eq!(fact.scheduled_for, first.scheduled_for);
    }
    assert!(first.fence < second.fence && second.fence < third.fence);
    let run = place.run(&first.run);
    assert_eq!((&run["state"], &run["life"]["attempt"]), (&Value::from("succeeded"), &Value::from(3)));
}

#[test]
fn each_due_of_a_downtime_has_one_record_by_the_catch_up_policy() {
    let mut place = Place::new();
    let task = |policy: &str| {
        format!(
            "[[task]]\nname = \"{policy}\"\nevery = \"1s\"\ngrace = \"1s\"\ncatch_up = \"{policy}\"\nshell = '. \"$HOME/tell\"; tell ran'\n"
        )
    };
    let policies = ["skip", "latest", "all"];
    let tasks = policies.map(task).concat() + &endless("orphan", "");
    let daemon = place.serve(&tasks);
    for policy in policies {
        place.witness.next("ran", policy);
    }
    place.witness.next("alive", "orphan");
    daemon.kill();
    // The orphan is the clock of the downtime: it tells once a second.
    (0..6).for_each(|_| drop(place.witness.next("alive", "orphan")));

    // The orphan's successor does not end by itself.
    let daemon = place.start(&["--stop-grace", "0s"]);
    for policy in policies {
        // What is caught up and what is on time; whichever comes first.
        (0..3).for_each(|_| drop(place.witness.next("ran", policy)));
    }
    daemon.stop();

    for policy in policies {
        let runs = place.runs_of(policy);
        let dues = accounted(&runs);
        let distinct: BTreeSet<i64> = dues.iter().copied().collect();
        assert_eq!(distinct.len(), dues.len(), "{policy}: a due has two records: {runs:#?}");
        let (first, last) = (distinct.first().unwrap(), distinct.last().unwrap());
        assert_eq!(last - first + 1, dues.len() as i64, "{policy}: a due has no record: {runs:#?}");
        let of = |state: &str| runs.iter().filter(|run| run["state"] == state).count();
        let caught_up =
            runs.iter().filter(|run| run["trigger"] == "catch_up" && run["state"] != "missed").count();
        match policy {
            "skip" => assert!(caught_up == 0 && of("missed") > 0, "{runs:#?}"),
            "latest" => assert!(of("missed") > 0, "{runs:#?}"),
            _ => assert!(of("missed") == 0 && caught_up >= 3, "{runs:#?}"),
        }
        // Each of them ran once, as far as its record says that it ran at all.
        let told = place.witness.of("ran", policy);
        let mut ids: Vec<&str> = told.iter().map(|fact| fact.run.as_str()).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{policy}: a run ran twice: {told:#?}");
    }
}

/// The dues of which these records tell, as seconds.
fn accounted(runs: &[Value]) -> Vec<i64> {
    let second = |value: &Value| {
        let text = value.as_str().expect("an instant");
        text.parse::<jiff::Timestamp>().expect("an instant").as_second()
    };
    runs.iter()
        .flat_map(|run| match &run["life"]["state"]["missed"] {
            Value::Null => {
                let due = second(&run["scheduled_for"]);
                due..=due
            }
            missed => {
                let range = second(&missed["from"])..=second(&missed["to"]);
                assert_eq!(missed["count"], range.clone().count());
                range
            }
        })
        .collect()
}

#[test]
fn a_task_that_left_its_file_while_nobody_looked_is_not_run_once_more() {
    let mut place = Place::new();
    let task = |name: &str| {
        format!(
            "[[task]]\nname = \"{name}\"\nevery = \"1s\"\ncatch_up = \"all\"\nshell = '. \"$HOME/tell\"; tell ran'\n"
        )
    };
    let daemon = place.serve(&(task("stays") + &task("leaves")));
    let first = place.witness.next("ran", "leaves");
    daemon.kill();

    place.write("tasks.toml", &task("stays"));
    let daemon = place.serve_again();
    place.witness.next("ran", "stays");
    place.witness.next("ran", "stays");
    daemon.stop();
    for fact in place.witness.of("ran", "leaves") {
        assert_eq!(session(&fact.fence), session(&first.fence), "it ran after it was removed: {fact:?}");
    }
}

/// The part of a fence that rises with each start of the daemon.
fn session(fence: &str) -> &str {
    fence.split('.').next().unwrap_or_default()
}
