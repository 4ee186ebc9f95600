//! Wrong task files are refused with the file, the task, the field and what to write instead; nothing is made.

use crate::place::Place;

/// A file's text, and what must be said about it.
const WRONG: [(&str, &[&str]); 9] = [
    (
        "[[task]]\nname = \"a\"\ncron = \"61 * * * *\"\nshell = \"x\"\n",
        &["\"a\"", "schedules[0]", "minute 61"],
    ),
    (
        "[[task]]\nname = \"a\"\nshell = \"x\"\ntimezone = \"Europe/Berln\"\n",
        &["\"a\"", "timezone", "did you mean Europe/Berlin?"],
    ),
    ("[[task]]\nname = \"a/b\"\nshell = \"x\"\n", &["\"a/b\"", "name"]),
    ("[[task]]\nname = \"\\u001b[31m\"\nshell = \"x\"\n", &["name"]),
    ("[[task]]\nname = \"a\"\nevry = \"5m\"\nshell = \"x\"\n", &["unknown key", "evry"]),
    (
        "[[task]]\nname = \"a\"\nrestart = { atempts = 1 }\nshell = \"x\"\n",
        &["unknown key", "restart.atempts"],
    ),
    ("[[task]]\nname = \"a\"\n", &["\"a\"", "nothing to do"]),
    ("[[task]]\nname = \"a\"\nshell = \"x\"\ntimeout = \"soon\"\n", &["line 4", "soon"]),
    ("[[task]\n", &["line 1"]),
];

#[test]
fn wrong_files_are_refused_at_start_before_anything_is_made() {
    let place = Place::new();
    for (text, parts) in WRONG {
        let file = place.write("tasks.toml", text).display().to_string();
        let mut daemon = place.start(&[]);
        let status = daemon.end();
        assert_eq!(status.code(), Some(2), "{text}: {}", daemon.err.text());
        let told = daemon.err.text();
        for part in parts.iter().copied().chain([file.as_str()]) {
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
        assert!(!told.contains('\x1b'), "{told:?}");
        assert!(!place.data().exists(), "{text} made the directory");
        assert_eq!(daemon.out.text(), "");
    }
    place.ask(&["serve", "--tasks", "/nowhere/tasks.toml"]).refuses(2, &["/nowhere/tasks.toml"]);
    place.ask(&["serve", "--timezone", "Europe/Berln"]).refuses(2, &["did you mean Europe/Berlin?"]);
    assert!(!place.data().exists());
}

#[test]
fn validate_says_the_same_without_a_daemon() {
    let place = Place::new();
    for (text, parts) in WRONG {
        let file = place.write("tasks.toml", text).display().to_string();
        let printed = crate::place::run(["task", "validate", &file]);
        printed.refuses(2, parts);
        printed.refuses(2, &[&file]);
        let printed = crate::place::run(["task", "validate", &file, "--output", "json"]);
        printed.refuses(2, parts);
        let value: serde_json::Value = serde_json::from_str(&printed.out).unwrap();
        assert_eq!(value["valid"], false);
        let errors = value["errors"].as_array().unwrap();
        let told = errors[0].as_str().unwrap();
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }
}

#[test]
fn validate_shows_what_right_files_mean() {
    let place = Place::new();
    std::fs::create_dir(place.path("tasks.d")).unwrap();
    place.write(
        "tasks.d/a.toml",
        "[[task]]\nname = \"nightly\"\ncron = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\nshell = \"x\"\n",
    );
    place.write("tasks.d/b.toml", "[[task]]\nname = \"odd\"\ncron = \"*/7 * * * *\"\nshell = \"x\"\n");
    let directory = place.path("tasks.d").display().to_string();
    let text = crate::place::run(["task", "validate", &directory]).ends(0).to_owned();
    for part in ["nightly", "At 02:30", "Europe/Berlin", "next ", "odd", "note: ", "2 tasks, all valid\n"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let value = crate::place::run(["task", "lint", &directory, "-o", "json"]).json();
    assert_eq!((&value["valid"], value["tasks"].as_array().map(Vec::len)), (&true.into(), Some(2)));
    let nightly = &value["tasks"][0];
    assert_eq!((&nightly["name"], &nightly["timezone"]), (&"nightly".into(), &"Europe/Berlin".into()));
    assert!(nightly["next"][0].as_str().unwrap().ends_with(":30:00Z"), "{nightly}");
    assert_eq!(value["tasks"][1]["schedules"][0]["warnings"].as_array().map(Vec::len), Some(1));

    // The same task twice is wrong, wherever it is.
    place.write("tasks.d/c.toml", "[[task]]\nname = \"odd\"\nshell = \"x\"\n");
    crate::place::run(["task", "validate", &directory]).refuses(2, &["\"odd\"", "b.toml", "c.toml"]);
}

#[test]
fn a_date_that_has_passed_is_a_mistake_in_a_new_task_and_none_in_a_known_one() {
    let mut place = Place::new();
    let soon = |at: jiff::Timestamp| {
        format!("[[task]]\nname = \"once\"\nat = {at}\nshell = '. \"$HOME/tell\"; tell ran'\n")
    };
    let past: jiff::Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    place.write("tasks.toml", &soon(past));
    let mut daemon = place.start(&[]);
    assert_eq!(daemon.end().code(), Some(2), "{}", daemon.err.text());
    assert!(!place.data().exists());

    #[expect(clippy::disallowed_methods, reason = "the daemon reads the same clock")]
    let now = jiff::Timestamp::now();
    let at = jiff::Timestamp::from_second(now.as_second() + 10).unwrap();
    let daemon = place.serve(&soon(at));
    let ran = place.witness.next("ran", "once");
    assert_eq!(ran.scheduled_for, at.to_string());
    daemon.stop();
    // Its time has passed now.
    let daemon = place.serve_again();
    daemon.stop();
    assert_eq!(place.runs_of("once").len(), 1);
    assert_eq!(place.witness.of("ran", "once"), [ran]);
}
