//! A new user's first hour, as the README tells it.

use crate::place::{Place, until};
use std::io::{BufReader, Read};

#[test]
fn a_new_users_first_hour() {
    let place = Place::new();
    let daemon = place.serve(&[]);

    // Create a task, and be told what it means.
    let created = place.ask(&[
        "task",
        "create",
        "hello",
        "--cron",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--",
        "echo",
        "hello",
        "two words",
    ]);
    for part in
        ["created hello", "At 02:30, every day (Europe/Berlin)", "next  ", "punctual run now hello --wait"]
    {
        assert!(created.ends(0).contains(part), "{part:?} is not in {created:?}");
    }
    let shown = place.ask(&["task", "show", "hello"]);
    assert!(shown.ends(0).contains("echo hello 'two words'"), "{shown:?}");

    // Run it, and see how it ended.
    let run = place.ask(&["run", "now", "hello", "--follow"]);
    assert_eq!(run.ends(0), "hello two words\n");
    assert!(run.err.contains("succeeded"), "{run:?}");
    place.create("fails", "echo out; echo err >&2; exit 7");
    let run = place.ask(&["run", "now", "fails", "--wait"]);
    assert_eq!(run.ends(7), "", "{run:?}");
    assert!(run.err.contains("exit code 7"), "{run:?}");
    let followed = place.ask(&["run", "now", "fails", "--follow"]);
    assert_eq!(followed.ends(7), "out\n");
    assert!(followed.err.lines().any(|line| line == "err"), "{followed:?}");

    // Follow a log.
    let gate = place.path("gate");
    let script = format!("echo waiting; while [ ! -e {} ]; do sleep 0.05; done; echo done", gate.display());
    place.create("slow", &script);
    place.ask(&["run", "now", "slow"]).ends(0);
    let mut logs = place.begin(&["logs", "-f", "slow"]);
    let mut out = BufReader::new(logs.stdout.take().expect("piped"));
    until(&mut out, "waiting");
    std::fs::write(&gate, "").expect("write");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "done\n");
    assert!(logs.wait().expect("wait").success());
    assert_eq!(place.ask(&["logs", "slow"]).ends(0), "waiting\ndone\n");

    // Cancel.
    std::fs::remove_file(&gate).expect("remove");
    place.ask(&["run", "now", "slow"]).ends(0);
    place.ask(&["run", "cancel", "slow"]).ends(0);
    let canceled = place.ask(&["run", "wait", "slow"]);
    canceled.refuses(130, &["canceled"]);

    // Pause and resume.
    place.ask(&["task", "pause", "hello"]).ends(0);
    let listed = place.ask(&["task", "list", "--status", "paused"]);
    assert!(listed.ends(0).contains("hello") && !listed.out.contains("slow"), "{listed:?}");
    place.ask(&["run", "now", "hello", "--wait"]).ends(0);
    place.ask(&["task", "resume", "hello"]).ends(0);
    assert_eq!(place.ask(&["task", "list", "--status", "paused"]).ends(0), "no tasks\n");

    // kill -9, and find everything again: with a daemon and without.
    place.ask(&["run", "now", "slow"]).ends(0);
    let mut logs = place.begin(&["logs", "-f", "slow"]);
    until(&mut BufReader::new(logs.stdout.take().expect("piped")), "waiting");
    crate::place::send(&logs, rustix::process::Signal::KILL);
    logs.wait().expect("wait");
    let before = place.ask(&["run", "list", "-o", "json"]).json();
    assert_eq!(before["runs"].as_array().map(Vec::len), Some(7));
    daemon.kill();
    place.ask(&["task", "list"]).refuses(6, &["no daemon answers"]);
    let dead = place.ask(&["run", "list", "-o", "json"]).json();
    assert_eq!(dead["runs"].as_array().map(Vec::len), Some(7));
    let daemon = place.serve(&[]);
    assert!(daemon.said.contains("of slow had begun: taken up again"), "{}", daemon.said);
    let after = place.ask(&["run", "list", "-o", "json"]).json();
    for (before, after) in
        before["runs"].as_array().expect("runs").iter().zip(after["runs"].as_array().expect("runs"))
    {
        assert_eq!(before["id"], after["id"]);
        let was_at_work = before["state"] == "starting" || before["state"] == "running";
        assert!(before == after || was_at_work, "{before} {after}");
    }
    std::fs::write(&gate, "").expect("write");
    place.ask(&["run", "wait", "slow"]).ends(0);
    assert_eq!(place.ask(&["logs", "slow"]).ends(0), "waiting\ndone\n");
    assert!(place.ask(&["task", "list"]).ends(0).contains("hello"));
    let status = place.ask(&["status"]);
    assert!(status.ends(0).contains("ok"), "{status:?}");

    // Delete, which has to be meant.
    place.ask(&["task", "delete", "hello"]).refuses(2, &["--yes"]);
    place.ask(&["task", "delete", "hello", "--yes"]).ends(0);
    place.ask(&["task", "show", "hello"]).refuses(3, &["no task is named"]);
    daemon.stop();
}
