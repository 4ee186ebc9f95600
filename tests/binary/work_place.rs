//! `--work-dir`: directories of runs where work of another user can come to its own.

use crate::place::{Place, run};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tempfile::TempDir;

/// By its path, from somewhere else, as whoever it is.
const TASK: &str = r#"
[[task]]
name = "own"
every = "1s"
overlap = "skip"
user = "nobody"
work_dir = { keep = "always" }
shell = '''
cd /
echo mine >"$PUNCTUAL_WORK_DIR/file" && cat "$PUNCTUAL_WORK_DIR/file"
stat -c '%U %a' "$PUNCTUAL_WORK_DIR"
'''
"#;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

/// A directory that everybody can pass through.
fn open_place() -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    chmod(place.path(), 0o711);
    place
}

/// Whether another user's work can be started here, and comes through to what tests make; if not, that is said.
fn can_be_shown(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: {what}: needs root");
    }
    is_root
}

/// The first run of the task, ended by a daemon with these arguments.
fn first_run(place: &Place, more: &[&str]) -> serde_json::Value {
    place.write("tasks.toml", TASK);
    let mut daemon = place.start(more);
    daemon.err.until("attempt ended");
    daemon.stop();
    let id = place.runs_of("own")[0]["id"].as_str().expect("an id").to_owned();
    place.run(&id)
}

#[test]
fn work_of_another_user_comes_to_its_own_directory_by_its_path_where_that_is_outside() {
    if !can_be_shown("work of another user comes to its own directory") {
        return;
    }
    let (place, outside) = (Place::new(), open_place());
    let at = outside.path().join("runs");
    let shown = first_run(&place, &["--work-dir", at.to_str().expect("text")]);
    assert_eq!(shown["state"], "succeeded", "{shown}");
    assert_eq!(shown["output"], "mine\nnobody 700\n", "{shown}");
    let kept = at.join(shown["id"].as_str().expect("an id"));
    assert_eq!(std::fs::read_to_string(kept.join("file")).expect("kept"), "mine\n");
    assert!(!place.data().join("work").exists(), "nothing is made in the data directory");
}

#[test]
fn work_of_another_user_is_told_that_it_cannot_come_to_its_directory_in_the_data_directory() {
    if !can_be_shown("work of another user is told that it cannot come to its directory") {
        return;
    }
    let place = Place::new();
    let shown = first_run(&place, &[]);
    assert!(shown["state"] != "succeeded", "{shown}");
    let told = shown["events"].to_string();
    assert!(told.contains("cannot come to it by this path") && told.contains("--work-dir"), "{told}");
}

#[test]
fn a_place_for_directories_of_runs_that_others_could_change_is_refused() {
    let (place, outside) = (Place::new(), open_place());
    let at = outside.path().join("runs");
    std::fs::create_dir(&at).expect("a directory");
    chmod(&at, 0o1777);
    let (data, at) = (place.data(), at.to_str().expect("text"));
    let data = data.to_str().expect("text");
    run(["serve", "--data", data, "--work-dir", at])
        .refuses(1, &[at, "others than its owner may write to it"]);
    let within = format!("{data}/runs");
    run(["serve", "--data", data, "--work-dir", &within]).refuses(1, &[&within, "in the data directory"]);
}
