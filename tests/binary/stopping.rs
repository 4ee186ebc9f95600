//! SIGTERM: what may end ends, what does not is cut short and recorded as that, and nothing is left.

use crate::place::Place;
use crate::process::is_alive;
use rustix::process::Signal;

/// Three that never end by themselves, under three rules, and one that ends when the test lets it.
const TASKS: &str = r#"
[[task]]
name = "lost"
shim = false
every = "1s"
overlap = "skip"
shell = '. "$HOME/tell"; tell began; sleep 600'

[[task]]
name = "idem"
shim = false
idempotent = true
every = "1s"
overlap = "skip"
shell = '. "$HOME/tell"; tell began; sleep 600'

[[task]]
name = "short"
shim = false
every = "1s"
overlap = "skip"
shell = '. "$HOME/tell"; tell began; read -r line <"$HOME/go"; tell ended'
"#;

fn place() -> Place {
    let place = Place::new();
    place.gate("go");
    place.write("tasks.toml", TASKS);
    place
}

#[test]
fn a_stop_lets_short_work_end_and_cuts_the_rest_short() {
    let mut place = place();
    let mut daemon = place.start(&["--stop-grace", "5s"]);
    let [lost, idem, short] = ["lost", "idem", "short"].map(|task| place.witness.next("began", task));
    daemon.signal(Signal::TERM);
    daemon.out.until("SIGTERM: stopping");
    place.open_gate("go");
    assert_eq!(place.witness.next("ended", "short").run, short.run);
    let status = daemon.end();
    assert_eq!(status.code(), Some(0), "{}", daemon.err.text());
    let told = daemon.out.until("stopped: ");
    assert!(told.contains("2 cut short"), "{told}");
    assert!(place.jobs().is_empty());
    assert!(!is_alive(lost.pid) && !is_alive(idem.pid));

    assert_eq!(place.run(&short.run)["state"], "succeeded");
    let run = place.run(&lost.run);
    assert_eq!((&run["state"], &run["why"]), (&"lost".into(), &"cut short by the stop of the node".into()));
    assert_eq!(place.run(&idem.run)["state"], "queued");

    // The next start finds nothing that had begun, and goes on with what was put back.
    let mut daemon = place.serve_again();
    assert!(!daemon.out.text().contains("had begun"), "{}", daemon.out.text());
    let again = place.witness.next("began", "idem");
    assert_eq!((&again.run, again.attempt), (&idem.run, 2));
    assert!(again.fence > idem.fence);
    daemon.signal(Signal::TERM);
    daemon.out.until("SIGTERM: stopping");
    daemon.signal(Signal::TERM);
    daemon.err.until("stopping now");
    assert_eq!(daemon.end().code(), Some(0));
    assert!(place.jobs().is_empty());
}

#[test]
fn a_second_signal_ends_the_grace() {
    let mut place = place();
    // So long that only a hurry can end the test.
    let mut daemon = place.start(&["--stop-grace", "1h"]);
    let began = place.witness.next("began", "lost");
    daemon.signal(Signal::TERM);
    daemon.out.until("SIGTERM: stopping");
    assert!(is_alive(began.pid));
    daemon.signal(Signal::INT);
    daemon.err.until("stopping now");
    assert_eq!(daemon.end().code(), Some(0));
    assert!(place.jobs().is_empty());
    assert_eq!(place.run(&began.run)["state"], "lost");
}

#[test]
fn a_third_signal_ends_the_process_and_the_next_start_cleans_up() {
    let mut place = Place::new();
    let task = "[[task]]\nname = \"deaf\"\nshim = false\nevery = \"1s\"\noverlap = \"skip\"\nkill = { grace = \"1h\" }\n\
                shell = '. \"$HOME/tell\"; trap \"\" TERM; tell began; while :; do sleep 600; done'\n";
    place.write("tasks.toml", task);
    let mut daemon = place.start(&["--stop-grace", "1h"]);
    let began = place.witness.next("began", "deaf");
    daemon.signal(Signal::TERM);
    daemon.out.until("SIGTERM: stopping");
    daemon.signal(Signal::TERM);
    daemon.err.until("once more ends the process at once");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().code(), Some(130));

    let mut daemon = place.start(&[]);
    daemon.out.until(&began.run);
    assert!(!is_alive(began.pid));
    daemon.kill();
    assert_eq!(place.run(&began.run)["state"], "lost");
}

#[test]
fn a_stop_of_an_idle_daemon_is_quick_and_complete() {
    let place = Place::new();
    let told = place.serve("").stop();
    assert!(told.contains("stopped: 0 runs ended"), "{told}");
    assert_eq!(place.ask(&["run", "list"]).ends(0), "no runs\n");
}

#[test]
fn a_stop_leaves_processes_alone_and_the_next_start_takes_them_up() {
    let mut place = Place::new();
    place.gate("go");
    place.write(
        "tasks.toml",
        "[[task]]\nname = \"goes-on\"\nevery = \"1s\"\noverlap = \"skip\"\n\
         shell = '. \"$HOME/tell\"; tell began; read -r line <\"$HOME/go\"; echo bye; exit 7'\n",
    );
    let daemon = place.start(&["--stop-grace", "0s"]);
    let began = place.witness.next("began", "goes-on");
    let told = daemon.stop();
    assert!(told.contains("1 at work go on"), "{told}");
    assert!(is_alive(began.pid));

    let mut daemon = place.start(&["--stop-grace", "0s"]);
    let found = daemon.out.until(&began.run);
    assert!(found.contains("taken up again"), "{found}");
    place.open_gate("go");
    while !daemon.err.until("attempt ended").contains(&began.run) {}
    assert!(!is_alive(began.pid));
    daemon.stop();
    let run = place.run(&began.run);
    assert_eq!((&run["state"], &run["output"]), (&"failed".into(), &"bye\n".into()), "{run}");
    assert_eq!((&run["why"], &run["life"]["attempt"]), (&"exit code 7".into(), &1.into()), "{run}");
    assert!(run.to_string().contains("found alive after a restart of the node"), "{run}");
}
