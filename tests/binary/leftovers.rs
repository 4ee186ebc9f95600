//! Nothing of an attempt outlives its record: children that hold its output, children that do not listen.

use crate::daemon::Daemon;
use crate::place::Place;
use crate::process::is_alive;
use crate::witness::Fact;

/// A job that ends well while a process that it has started lives on and holds its output open.
fn leaving(start: &str, more: &str) -> String {
    format!(
        r#"
[[task]]
name = "leaves"
every = "1s"
overlap = "skip"
{more}
shell = '''
. "$HOME/tell"
{start} sh -c '. "$HOME/tell"; tell left; exec sleep 600' &
read -r line <"$HOME/seen"
echo done
'''
"#
    )
}

/// Serves such a job until its end is recorded; answers the process that was left.
fn left_by(place: &mut Place, start: &str, more: &str) -> (Daemon, Fact) {
    place.gate("seen");
    let mut daemon = place.serve(&leaving(start, more));
    let left = place.witness.next("left", "leaves");
    place.open_gate("seen");
    let ended = daemon.err.until("attempt ended");
    assert!(ended.contains(&left.run) && ended.contains("succeeded"), "{ended}");
    (daemon, left)
}

/// The run's record, which has its output and says this.
fn recorded(place: &Place, run: &str, what: &str) {
    let run = place.run(run);
    assert_eq!((&run["state"], &run["output"]), (&"succeeded".into(), &"done\n".into()), "{run}");
    assert!(run.to_string().contains(what), "{run}");
}

#[test]
fn a_grandchild_that_holds_the_output_open_does_not_hold_the_run_open_and_is_ended_also_outside_its_group() {
    for start in ["", "setsid"] {
        let mut place = Place::new();
        let (daemon, left) = left_by(&mut place, start, "");
        assert!(!is_alive(left.pid), "{start}: it outlives the record of its run");
        daemon.kill();
        recorded(&place, &left.run, "left behind and killed");
    }
}

#[test]
fn without_a_shim_one_that_left_its_group_goes_at_the_next_start() {
    let mut place = Place::new();
    let (daemon, left) = left_by(&mut place, "setsid", "shim = false");
    daemon.kill();
    recorded(&place, &left.run, "left open by a process outside its group");
    let daemon = place.serve_again();
    assert!(!is_alive(left.pid));
    daemon.kill();
}

#[test]
fn what_ignores_the_polite_signal_is_killed_with_its_whole_tree_after_the_grace() {
    let mut place = Place::new();
    let mut daemon = place.serve(
        r#"
[[task]]
name = "deaf"
every = "1s"
overlap = "skip"
timeout = "1s"
kill = { grace = "1s" }
shell = '''
. "$HOME/tell"
trap 'tell asked' TERM
trap '' INT HUP
sh -c 'trap "" TERM INT HUP; . "$HOME/tell"; tell child; : >"$HOME/child.$PUNCTUAL_RUN_ID"; while :; do sleep 600; done' &
setsid sh -c 'trap "" TERM INT HUP; . "$HOME/tell"; tell hidden; : >"$HOME/hidden.$PUNCTUAL_RUN_ID"; while :; do sleep 600; done' &
# Told by a run all of whose processes have come up in time.
until [ -e "$HOME/child.$PUNCTUAL_RUN_ID" ] && [ -e "$HOME/hidden.$PUNCTUAL_RUN_ID" ]; do sleep 0.02; done
tell began
while :; do sleep 600; done
'''
"#,
    );
    let began = place.witness.next("began", "deaf");
    let ended = loop {
        let line = daemon.err.until("attempt ended");
        if line.contains(&began.run) {
            break line;
        }
    };
    assert!(ended.contains("timed_out"), "{ended}");
    let facts: Vec<_> = place.witness.all().iter().filter(|fact| fact.run == began.run).cloned().collect();
    for word in ["child", "hidden", "began"] {
        let fact =
            facts.iter().find(|fact| fact.word == word).unwrap_or_else(|| panic!("{word} in {facts:#?}"));
        assert!(!is_alive(fact.pid), "{fact:?} lives");
    }
    daemon.stop();
    assert!(place.jobs().is_empty());

    let run = place.run(&began.run);
    assert_eq!(run["state"], "timed_out", "{run}");
    assert!(run["why"].as_str().unwrap().contains("longer than its timeout of 1s"), "{run}");
    let at = |name: &str| run[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let took = at("finished_at").duration_since(at("started_at")).as_secs_f64();
    assert!(took >= 2.0, "the timeout and the grace were not given: {took}");
}
