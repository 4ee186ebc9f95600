//! SIGHUP: what the files say now is what happens.

use crate::daemon::Daemon;
use crate::place::Place;
use crate::process::is_alive;
use rustix::process::Signal;

fn tells(name: &str, word: &str) -> String {
    format!("[[task]]\nname = \"{name}\"\nevery = \"1s\"\nshell = '. \"$HOME/tell\"; tell {word}'\n")
}

#[test]
fn a_changed_file_takes_effect_and_a_broken_one_changes_nothing() {
    let mut place = Place::new();
    let mut daemon = place.serve(&tells("t", "old"));
    place.witness.next("old", "t");

    place.write("tasks.toml", &tells("t", "new"));
    daemon.signal(Signal::HUP);
    assert!(daemon.out.until("tasks of ").ends_with("1 changed"));
    let run = place.witness.next("new", "t").run;

    let broken = [
        ("[[task]\n", "line 1"),
        ("[[task]]\nname = \"t\"\nevry = \"1s\"\nshell = \"x\"\n", "evry"),
        ("[[task]]\nname = \"t\"\ncron = \"61 * * * *\"\nshell = \"x\"\n", "61"),
    ];
    for (text, part) in broken {
        place.write("tasks.toml", text);
        daemon.signal(Signal::HUP);
        let told = daemon.err.until("stay as they are");
        assert!(told.contains(part) && told.contains("ERROR"), "{told}");
    }
    std::fs::remove_file(place.path("tasks.toml")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.err.until("stay as they are");
    place.witness.fresh("new", "t");

    place.write("tasks.toml", &tells("t", "new"));
    daemon.signal(Signal::HUP);
    assert!(daemon.out.until("tasks of ").ends_with("1 unchanged"));
    daemon.stop();
    let run = place.run(&run);
    assert_eq!((&run["revision"], &run["state"]), (&2.into(), &"succeeded".into()));
}

#[test]
fn a_removed_task_is_deleted_and_its_run_ends() {
    let mut place = Place::new();
    let long = "[[task]]\nname = \"long\"\nevery = \"1s\"\noverlap = \"queue_one\"\n\
                shell = '. \"$HOME/tell\"; tell began; sleep 600'\n";
    let mut daemon = place.serve(&(tells("t", "ran") + long));
    let began = place.witness.next("began", "long");
    place.write("tasks.toml", &tells("t", "ran"));
    daemon.signal(Signal::HUP);
    assert!(daemon.out.until("tasks of ").contains("1 deleted"));
    crate::process::wait_for_end(began.pid);
    daemon.err.until(&began.run);
    place.witness.next("ran", "t");
    daemon.stop();
    assert!(!is_alive(began.pid));
    let runs = place.runs_of("long");
    let run = runs.iter().find(|run| run["id"] == *began.run).expect("the run");
    assert_eq!((&run["state"], &run["why"]), (&"canceled".into(), &"its task was deleted".into()), "{run}");
    for run in runs {
        let state = run["state"].as_str().unwrap();
        assert!(["canceled", "skipped"].contains(&state), "{run}");
    }
}

/// A daemon over a directory of files.
fn over_directory(place: &Place) -> Daemon {
    let mut command = place.command();
    command.arg("serve").arg("--data").arg(place.data()).arg("--tasks").arg(place.path("tasks.d"));
    Daemon::start(&mut command)
}

#[test]
fn a_removed_file_takes_its_tasks_along_and_a_moved_task_stays() {
    let mut place = Place::new();
    std::fs::create_dir(place.path("tasks.d")).unwrap();
    place.write("tasks.d/a.toml", &tells("a", "ran"));
    place.write("tasks.d/b.toml", &(tells("b", "ran") + &tells("moves", "ran")));
    // What editors leave beside a file is none of ours.
    place.write("tasks.d/.b.toml.swp", "\0");
    place.write("tasks.d/.hidden.toml", "[[task]\n");
    place.write("tasks.d/README", "not for punctual");
    let mut daemon = over_directory(&place);
    for task in ["a", "b", "moves"] {
        place.witness.next("ran", task);
    }
    // From the later file to the earlier one.
    place.write("tasks.d/a.toml", &(tells("a", "ran") + &tells("moves", "moved")));
    place.write("tasks.d/b.toml", &tells("b", "ran"));
    daemon.signal(Signal::HUP);
    place.witness.next("moved", "moves");

    // One wrong file, and the right ones stay as they were, too.
    place.write("tasks.d/a.toml", &tells("a", "wrong"));
    place.write("tasks.d/c.toml", "[[task]]\nname = \"c\"\ncron = \"0 0 30 2 *\"\nshell = \"x\"\n");
    daemon.signal(Signal::HUP);
    let told = daemon.err.until("stay as they are");
    assert!(told.contains("c.toml") && told.contains("\\\"c\\\""), "{told}");
    // A task that two files name belongs to neither.
    place.write("tasks.d/c.toml", &tells("b", "wrong"));
    daemon.signal(Signal::HUP);
    let told = daemon.err.until("stay as they are");
    assert!(told.contains("b.toml") && told.contains("c.toml"), "{told}");
    std::fs::remove_file(place.path("tasks.d/c.toml")).unwrap();
    place.write("tasks.d/a.toml", &(tells("a", "ran") + &tells("moves", "moved")));

    std::fs::remove_file(place.path("tasks.d/b.toml")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.out.until("b.toml: 1 deleted");
    #[expect(clippy::disallowed_methods, reason = "the daemon reads the same clock")]
    let deleted = jiff::Timestamp::now();
    place.witness.fresh("ran", "a");
    place.witness.fresh("moved", "moves");
    place.witness.fresh("ran", "a");
    daemon.stop();
    for fact in place.witness.of("ran", "b") {
        assert!(
            fact.scheduled_for.parse::<jiff::Timestamp>().unwrap() <= deleted,
            "{fact:?} after {deleted}"
        );
    }
    assert_eq!(place.witness.all().iter().filter(|fact| fact.word == "wrong").count(), 0);
}

#[test]
fn without_files_a_hangup_is_harmless() {
    let place = Place::new();
    let mut command = place.command();
    let mut daemon = Daemon::start(command.arg("serve").arg("--data").arg(place.data()));
    daemon.out.until("punctual ");
    daemon.signal(Signal::HUP);
    daemon.err.until("no task files to read again");
    daemon.stop();
}
