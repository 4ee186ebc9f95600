//! What jobs and people write reaches a terminal without doing anything to it.

use crate::command::punctual;
use crate::place::Place;
use std::process::Stdio;

#[test]
fn control_characters_of_tasks_reach_no_table_raw_and_output_is_exact() {
    let mut place = Place::new();
    // A failure whose message holds what a task was named, and output that would clear a screen.
    let daemon = place.serve(
        "[[task]]\nname = \"rude\"\nevery = \"1s\"\noverlap = \"skip\"\ncwd = \"/no/\\u001b[2J\\u0007such\\u009b31m\"\n\
         argv = [\"true\"]\n\
         [[task]]\nname = \"bytes\"\nevery = \"1s\"\noverlap = \"skip\"\n\
         shell = '''. \"$HOME/tell\"; printf '\\000\\377\\033[2J\\r\\n\\302\\233x'; tell wrote'''\n",
    );
    let wrote = place.witness.next("wrote", "bytes");
    place.witness.next("wrote", "bytes");
    daemon.stop();

    let rude = place.runs_of("rude");
    let rude = rude[0]["id"].as_str().unwrap();
    for args in [&["run", "list"][..], &["run", "show", rude]] {
        let text = place.ask(args).ends(0).to_owned();
        assert!(text.contains("/no/"), "{text:?}");
        let raw: Vec<char> = text.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert!(raw.is_empty(), "{raw:?} in {text:?}");
    }
    let json = place.ask(&["run", "list", "-o", "json"]).ends(0).to_owned();
    assert!(json.lines().count() == 1 && !json.trim_end().chars().any(char::is_control), "{json:?}");

    let shown = punctual()
        .args(["run", "show", &wrote.run, "--data"])
        .arg(place.data())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let bytes = b"\0\xff\x1b[2J\r\n\xc2\x9bx";
    assert!(shown.stdout.ends_with(bytes), "{:?}", String::from_utf8_lossy(&shown.stdout));
}
