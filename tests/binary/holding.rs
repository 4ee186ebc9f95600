//! One process at a time works on a data directory.

use crate::place::Place;

const TICK: &str = "[[task]]\nname = \"tick\"\nevery = \"1s\"\nshell = '. \"$HOME/tell\"; tell ran'\n";

#[test]
fn a_second_daemon_on_the_same_directory_is_refused_and_the_first_is_not_harmed() {
    let mut place = Place::new();
    let daemon = place.serve(TICK);
    let pid = daemon.pid().to_string();
    let (data, link) = (place.data(), place.path("link"));
    std::os::unix::fs::symlink(&data, &link).unwrap();
    for directory in [&data, &link] {
        let mut second = place.command();
        second.arg("serve").arg("--data").arg(directory).arg("--tasks").arg(place.path("tasks.toml"));
        let printed: crate::command::Printed = second.output().unwrap().into();
        printed.refuses(5, &["is in use by process", &pid]);
    }
    // Looking asks the daemon; with its door gone the directory is still its own.
    place.ask(&["run", "list"]).ends(0);
    std::fs::rename(data.join("punctual.sock"), place.path("elsewhere")).unwrap();
    place.ask(&["run", "list"]).refuses(5, &["is in use by process", &pid]);
    place.ask(&["run", "show", "0"]).refuses(5, &[&pid]);
    place.ask(&["dev"]).refuses(5, &[&pid]);

    let after = place.witness.fresh("ran", "tick");
    daemon.stop();
    assert!(place.ask(&["run", "list"]).ends(0).contains(&after.run));
    let revisions: Vec<_> = place.runs_of("tick").iter().map(|run| run["revision"].clone()).collect();
    assert!(revisions.iter().all(|revision| *revision == 1), "{revisions:?}");
}

#[test]
fn the_directory_is_free_at_once_after_a_kill() {
    let mut place = Place::new();
    let daemon = place.serve(TICK);
    place.witness.next("ran", "tick");
    daemon.kill();
    // Also while something is left that the daemon had started.
    assert!(place.ask(&["run", "list"]).ends(0).contains("tick"));
}
