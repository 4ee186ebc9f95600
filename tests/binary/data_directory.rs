//! The data directory: for its owner alone, and refused untouched where it is not ours to open.

use crate::place::Place;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const TICK: &str =
    "[[task]]\nname = \"tick\"\nevery = \"1s\"\nshell = '. \"$HOME/tell\"; echo secret; tell ran'\n";

/// Everything below a directory: its mode, and the bytes of files.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        let bytes = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if about.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (about.mode() & 0o7777, bytes));
    }
    found
}

#[test]
fn nobody_else_can_look_into_it_whatever_the_mask() {
    let mut place = Place::new();
    place.write("tasks.toml", TICK);
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "umask 000; exec \"$0\" serve --data \"$HOME/data\" --tasks \"$HOME/tasks.toml\""])
        .arg(env!("CARGO_BIN_EXE_punctual"))
        .env("HOME", place.path(""));
    let daemon = crate::daemon::Daemon::start(&mut command);
    place.witness.next("ran", "tick");
    place.witness.next("ran", "tick");
    daemon.stop();
    let data = place.data();
    let found = tree(&data);
    let mode = |path: &Path| found[path].0;
    assert_eq!(mode(&data), 0o700);
    for folder in ["db", "output", "aside"] {
        assert_eq!(mode(&data.join(folder)), 0o700, "{folder}");
    }
    for file in ["FORMAT", "lock", "seal"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let outputs: Vec<&PathBuf> =
        found.keys().filter(|path| path.extension().is_some_and(|e| e == "out")).collect();
    assert!(!outputs.is_empty());
    for path in outputs {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    for (path, (mode, _)) in
        found.iter().filter(|(path, _)| path.starts_with(data.join("output")) && path.is_dir())
    {
        assert_eq!(*mode, 0o700, "{}", path.display());
    }
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    for mode in [0o777, 0o770, 0o1777] {
        fs::set_permissions(place.data(), Permissions::from_mode(mode)).unwrap();
        let before = tree(&place.data());
        place.ask(&["serve"]).refuses(1, &["may write to it", "chmod 700"]);
        assert_eq!(tree(&place.data()), before);
    }
}

#[test]
fn a_later_format_is_refused_with_not_one_byte_changed() {
    let mut place = Place::new();
    let daemon = place.serve(TICK);
    place.witness.next("ran", "tick");
    daemon.stop();
    place.wait_for_keepers();
    fs::write(place.data().join("FORMAT"), "punctual data directory\nformat 3\n").unwrap();
    let before = tree(&place.data());
    for command in [&["serve"][..], &["run", "list"], &["run", "show", "0"], &["dev"]] {
        place.ask(command).refuses(1, &["format 3", "up to 2"]);
        let after = tree(&place.data());
        let changed: Vec<_> =
            before.iter().chain(&after).filter(|(path, _)| before.get(*path) != after.get(*path)).collect();
        assert!(changed.is_empty(), "{command:?} {changed:?}");
    }
}

#[test]
fn what_is_no_data_directory_is_named_and_left_alone() {
    let place = Place::new();
    let file = place.write("data", "something else");
    place.ask(&["serve"]).refuses(1, &["is not a directory", &file.display().to_string()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
    fs::remove_file(&file).unwrap();
    // Looking makes nothing.
    place.ask(&["run", "list"]).refuses(3, &["no data directory"]);
    assert!(!place.data().exists());
    // Below a file no directory can be made.
    place.write("data", "");
    let below = place.data().join("below").display().to_string();
    let printed = crate::place::run(["serve", "--data", &below]);
    printed.refuses(1, &[&below]);
}

#[test]
fn a_directory_that_is_not_there_is_made_with_its_parents() {
    let place = Place::new();
    let deep = place.path("a/b/data");
    let mut command = place.command();
    let mut daemon = crate::daemon::Daemon::start(command.arg("serve").arg("--data").arg(&deep));
    daemon.out.until("punctual ");
    daemon.stop();
    assert!(deep.join("FORMAT").is_file());
    // The variable does the same as the option.
    let printed = place.command().args(["run", "list"]).env("PUNCTUAL_DATA", &deep).output().unwrap();
    assert_eq!(crate::command::Printed::from(printed).ends(0), "no runs\n");
}

#[test]
fn a_damaged_directory_is_refused_and_says_what_to_do() {
    let mut place = Place::new();
    let daemon = place.serve(TICK);
    place.witness.next("ran", "tick");
    daemon.stop();
    fs::remove_file(place.data().join("seal")).unwrap();
    place.ask(&["serve"]).refuses(1, &["damaged", "seal", "restore a backup"]);
    place.ask(&["run", "list"]).refuses(1, &["damaged"]);
}
