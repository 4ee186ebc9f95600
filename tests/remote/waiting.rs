//! Exit codes of `--wait`, what Ctrl-C does, and waiting through a crash of the daemon.

use crate::place::{Place, send, until};
use rustix::process::Signal;
use std::io::{BufReader, Read};

#[test]
fn waiting_exits_as_the_run_did() {
    let place = Place::new();
    let _daemon = place.serve(&[]);
    for (n, (script, code)) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 124", 124),
        ("exit 200", 200),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("t{n}");
        place.create(&name, script);
        place.ask(&["run", "now", &name, "--wait"]).ends(*code);
    }
    place.ask(&["task", "create", "gone", "--manual", "--", "/nowhere/program"]).ends(0);
    place.ask(&["run", "now", "gone", "--wait"]).refuses(127, &["/nowhere/program"]);
    place.ask(&["task", "create", "data", "--manual", "--", "/etc/passwd"]).ends(0);
    place.ask(&["run", "now", "data", "--wait"]).ends(126);
    place
        .ask(&["task", "create", "late", "--manual", "--timeout", "1s", "--shell", "exec sleep 100"])
        .ends(0);
    place.ask(&["run", "now", "late", "--wait"]).ends(124);
    // Ours are another one.
    place.ask(&["run", "now", "nobody", "--wait"]).refuses(125, &["no task is named"]);
    place.ask(&["run", "now", "t0", "--wait", "--param", "x"]).ends(2);
    place.ask(&["run", "now", "nobody"]).refuses(3, &["no task is named"]);
    place.create("sleeps", "exec sleep 100");
    let given_up = place.ask(&["run", "now", "sleeps", "--timeout", "200ms"]);
    given_up.refuses(124, &["goes on", "punctual run wait"]);
    place.until_running("sleeps");
}

#[test]
fn parameters_and_keys_reach_the_run() {
    let place = Place::new();
    let _daemon = place.serve(&[]);
    place.create("job", "true");
    let args = [
        "run",
        "now",
        "job",
        "--wait",
        "-o",
        "json",
        "--params",
        r#"{"n": 1}"#,
        "--param",
        "s=a=b",
        "--key",
        "k",
        "--scheduled-for",
        "2027-01-01T00:00:00Z",
    ];
    let run = place.ask(&args).json();
    assert_eq!(run["params"], serde_json::json!({"n": 1, "s": "a=b"}));
    assert_eq!(run["scheduled_for"], "2027-01-01T00:00:00Z");
    assert_eq!(place.ask(&args).json(), run);
    place.ask(&["run", "now", "job", "--key", "k"]).refuses(5, &["another params", "new key"]);
    let id = run["id"].as_str().expect("an id");
    assert_eq!(place.ask(&["run", "show", &id[..15], "-o", "json"]).json()["id"], run["id"]);
    place.ask(&["run", "retry", id]).ends(0);
    place.ask(&["run", "show", "0"]).refuses(3, &["begins several ids"]);
    place.ask(&["run", "show", "ffff"]).refuses(3, &["no run has an id that begins"]);
    place.ask(&["run", "resume", id]).refuses(5, &["was not lost"]);
    place.ask(&["task", "show", "jobs"]).refuses(3, &["did you mean \"job\"?"]);
    place.ask(&["run", "now", "job", "--params", "[1]"]).refuses(2, &["JSON object"]);
}

#[test]
fn ctrl_c_once_detaches_and_twice_cancels() {
    let place = Place::new();
    let _daemon = place.serve(&[]);
    place.create("sleeps", "exec sleep 100");
    for cancel in [false, true] {
        let mut waiting = place.begin(&["run", "now", "sleeps", "--wait"]);
        let mut err = BufReader::new(waiting.stderr.take().expect("piped"));
        until(&mut err, "of sleeps");
        // The handler is there before the run is waited for; the run, once it is at work.
        place.until_running("sleeps");
        send(&waiting, Signal::INT);
        until(&mut err, "detaching");
        if cancel {
            send(&waiting, Signal::INT);
        }
        let mut rest = String::new();
        err.read_to_string(&mut rest).expect("read");
        assert_eq!(waiting.wait().expect("wait").code(), Some(130), "{rest}");
        assert_eq!(rest.contains("punctual run wait"), !cancel, "{rest}");
        let state = place.newest("sleeps")["state"].clone();
        assert_eq!(state, if cancel { "canceled" } else { "running" }, "{rest}");
        place.ask(&["run", "cancel", "sleeps"]).ends(0);
    }
}

#[test]
fn waiting_and_following_go_on_through_a_crash_of_the_daemon() {
    let place = Place::new();
    let daemon = place.serve(&[]);
    let gate = place.path("gate");
    let script = format!(
        "echo attempt $PUNCTUAL_ATTEMPT; until [ -e {} ]; do sleep 0.02; done; echo done",
        gate.display()
    );
    place.ask(&["task", "create", "job", "--manual", "--shell", &script]).ends(0);
    let mut following = place.begin(&["run", "now", "job", "--follow"]);
    let mut out = BufReader::new(following.stdout.take().expect("piped"));
    until(&mut out, "attempt 1");
    daemon.kill();
    let _daemon = place.serve(&[]);
    std::fs::write(&gate, "").expect("write");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "done\n", "nothing twice, nothing lost");
    assert_eq!(following.wait().expect("wait").code(), Some(0));
}
