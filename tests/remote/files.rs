//! `apply`: the plan, and what becomes of it.

use crate::place::Place;

const TASKS: &str = "[[task]]\nname = \"a\"\ncron = \"0 2 * * *\"\nshell = \"true\"\n\n[[task]]\nname = \"b\"\nshell = \"true\"\n";

#[test]
fn apply_shows_a_plan_and_makes_it_so() {
    let place = Place::new();
    let _daemon = place.serve(&[]);
    let path = place.path("tasks.toml");
    let file = path.display().to_string();
    let apply = |text: &str, more: &[&str]| {
        std::fs::write(&path, text).expect("write");
        place.ask(&[&["apply", "-f", file.as_str()], more].concat())
    };
    let listed = || place.ask(&["task", "list"]).ends(0).to_owned();

    assert_eq!(
        apply(TASKS, &["--dry-run"]).ends(0),
        "+ a\n+ b\n2 new, 0 changed, 0 deleted, 0 unchanged (nothing was done)\n"
    );
    assert_eq!(listed(), "no tasks\n");
    let group = ["--prune", "from=tasks"];
    assert!(apply(TASKS, &group).ends(0).starts_with("+ a\n+ b\n"));
    assert!(apply(TASKS, &group).ends(0).starts_with("= a\n= b\n"));
    place.create("other", "true");

    let changed = TASKS.replace("0 2 * * *", "0 3 * * *").replace("name = \"b\"", "name = \"c\"");
    let plan = "~ a  (schedules)\n+ c\n- b\n1 new, 1 changed, 1 deleted, 0 unchanged";
    assert!(apply(&changed, &[&group[..], &["--dry-run"]].concat()).ends(0).starts_with(plan));
    assert!(listed().contains("0 2 * * *"));
    assert!(apply(&changed, &group).ends(0).starts_with(plan));
    let names: Vec<String> = listed()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    assert_eq!(names, ["a", "other", "c"]);

    // One mistake changes nothing.
    let wrong = changed
        .replace("0 3 * * *", "0 4 * * *")
        .replace("name = \"c\"", "name = \"d\"\ncron = \"61 * * * *\"");
    apply(&wrong, &[]).refuses(2, &["nothing was changed", "\"d\"", "61"]);
    assert!(listed().contains("0 3 * * *"));
    apply("[[task]]\nname = \"a\"\nshel = \"true\"\n", &[]).refuses(2, &["shel"]);
}

#[test]
fn tasks_of_the_daemons_own_files_stay_theirs() {
    let place = Place::new();
    let path = place.path("tasks.toml");
    std::fs::write(&path, TASKS).expect("write");
    let file = path.display().to_string();
    let _daemon = place.serve(&["--tasks", &file]);
    // As they are there is nothing to do.
    assert!(place.ask(&["apply", "-f", &file]).ends(0).contains("2 unchanged"));
    let other = place.path("other.toml");
    std::fs::write(&other, TASKS.replace("0 2", "0 3")).expect("write");
    place.ask(&["apply", "-f", &other.display().to_string()]).refuses(2, &["tasks.toml", "change it there"]);
    place.ask(&["task", "pause", "a"]).refuses(4, &["tasks.toml"]);
}
