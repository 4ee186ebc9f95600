//! What a task file says about whose rights its processes have and what they may use, through the real binary.

use crate::place::Place;
use serde_json::Value;

/// The one run of a task, as it is shown.
fn shown(place: &Place, task: &str) -> Value {
    let runs = place.runs_of(task);
    assert_eq!(runs.len(), 1, "{runs:?}");
    place.run(runs[0]["id"].as_str().expect("an id"))
}

const LIMITED: &str = r#"
[[task]]
name = "limited"
umask = "077"
nice = 19
no_new_privs = true
rlimits = { nofile = { soft = 64, hard = 128 }, core = 0 }
shell = "umask; nice; ulimit -Sn; ulimit -Hn; ulimit -c; grep NoNewPrivs /proc/self/status"

[[task]]
name = "stranger"
user = "no-such-account-here"
shell = "echo ran"
"#;

#[test]
fn mask_niceness_and_limits_are_those_of_the_task_and_an_unknown_user_is_told() {
    let place = Place::new();
    let daemon = place.serve(LIMITED);
    place.ask(&["run", "now", "limited", "--wait"]).ends(0);
    place.ask(&["run", "now", "stranger", "--wait"]);
    daemon.stop();

    let limited = shown(&place, "limited");
    assert_eq!(limited["output"], "0077\n19\n64\n128\n0\nNoNewPrivs:\t1\n", "{limited}");
    let stranger = &place.runs_of("stranger")[0];
    assert_eq!(stranger["state"], "failed", "{stranger}");
    assert_eq!(stranger["outcome"]["error"]["kind"], "start", "{stranger}");
    let text = stranger["why"].as_str().expect("a reason");
    assert!(text.contains("there is no user \"no-such-account-here\" on this machine"), "{text}");
}

const SOMEBODY: &str = r#"
[[task]]
name = "somebody"
user = "nobody"
work_dir = { keep = "always" }
payload_file = "in/params.json"
artifacts = [{ source = "/etc/hosts", dest = "in/hosts" }]
shell = '''
id -u
cat in/params.json
echo
test -s in/hosts && echo mine >own && echo more >>in/hosts && stat -c %a:%U . own
'''
"#;

#[test]
fn another_users_work_has_its_directory_with_all_that_is_in_it() {
    let place = Place::new();
    let daemon = place.serve(SOMEBODY);
    place.ask(&["run", "now", "somebody", "--wait", "--params", r#"{"a":1}"#]);
    daemon.stop();

    let run = shown(&place, "somebody");
    if rustix::process::geteuid().is_root() {
        let uid = std::process::Command::new("id").args(["-u", "nobody"]).output().expect("id").stdout;
        let uid = String::from_utf8(uid).expect("text");
        let expect = format!("{uid}{{\"a\":1}}\n700:nobody\n644:nobody\n");
        assert_eq!(run["output"], expect.as_str(), "{run}");
    } else {
        eprintln!("SKIPPED: work of another user: needs root; shown is that nothing runs without");
        let run = &place.runs_of("somebody")[0];
        assert_eq!(run["state"], "failed", "{run}");
        let text = run["why"].as_str().expect("a reason");
        assert!(text.contains("cannot be given to its user"), "{text}");
    }
}
