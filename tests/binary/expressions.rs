//! `next` and `explain`.

use crate::place::run;
use serde_json::{Value, json};

#[test]
fn next_lists_instants_as_json_across_the_spring_change() {
    let printed = run([
        "next",
        "--cron",
        "30 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--from",
        "2027-03-26T00:00:00Z",
        "-n",
        "5",
        "--output",
        "json",
    ]);
    let expected = json!({"next": [
        "2027-03-26T01:30:00Z", "2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z",
        "2027-03-30T00:30:00Z",
    ]});
    assert_eq!(printed.json(), expected);
    assert_eq!(printed.err, "");
}

#[test]
fn the_rules_for_clock_changes_can_be_chosen() {
    let next = |more: &[&str], from: &str| {
        let fixed = [
            "next",
            "--cron",
            "30 2 * * *",
            "--tz",
            "Europe/Berlin",
            "-n",
            "2",
            "-o",
            "json",
            "--from",
            from,
        ];
        run(fixed.iter().chain(more)).json()["next"]
            .as_array()
            .unwrap()
            .iter()
            .map(|at| at.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let spring = "2027-03-27T12:00:00Z";
    assert_eq!(next(&["--dst-gap", "run_at_end"], spring)[0], "2027-03-28T01:00:00Z");
    assert_eq!(next(&["--dst-gap", "skip"], spring)[0], "2027-03-29T00:30:00Z");
    assert_eq!(next(&["--dst-gap", "run-at-end"], spring)[0], "2027-03-28T01:00:00Z");
    let autumn = "2027-10-30T12:00:00Z";
    assert_eq!(next(&["--dst-overlap", "first"], autumn), ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]);
    assert_eq!(next(&["--dst-overlap", "second"], autumn), ["2027-10-31T01:30:00Z", "2027-11-01T01:30:00Z"]);
    assert_eq!(next(&["--dst-overlap", "both"], autumn), ["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"]);
}

#[test]
fn next_for_people_shows_weekday_wall_clock_and_utc() {
    let text = run([
        "next",
        "--cron",
        "0 9 * * 1",
        "--tz",
        "Asia/Kathmandu",
        "--from",
        "2027-01-01T00:00:00Z",
        "-n",
        "1",
    ]);
    assert_eq!(text.ends(0), "Mon 2027-01-04 09:00:00 +05:45 (2027-01-04T03:15:00Z)\n");
    let never = run(["next", "--cron", "0 0 0 1 1 * 2020", "--from", "2027-01-01T00:00:00Z"]);
    assert!(never.ends(0).contains("never fires after 2027-01-01T00:00:00Z"));
}

#[test]
fn mistakes_end_with_2_and_are_explained_on_standard_error() {
    for (args, parts) in [
        (&["next", "--cron", "0 25 * * *"][..], &["byte 2", "hour 25", "0-23"][..]),
        (&["explain", "* * * * funday"], &["byte 8", "funday"]),
        (&["next", "--cron", "*/60 * * * *"], &["byte 2", "`every`"]),
        (&["next", "--cron", "@reboot"], &["@reboot"]),
        (
            &["next", "--cron", "0 0 * * *", "--tz", "Europe/Berln"],
            &["Europe/Berln", "did you mean Europe/Berlin?"],
        ),
        (&["next", "--cron", "0 0 * * *", "--from", "yesterday"], &["--from", "yesterday"]),
        (&["next", "--cron", "0 0 * * *", "-n", "0"], &["-n"]),
        (&["next", "--cron", "0 0 * * *", "--dst-gap", "maybe"], &["--dst-gap", "run_at_end", "skip"]),
        (&["next"], &["--cron"]),
        (&["explain"], &["EXPR"]),
        (&["nonsense"], &["nonsense"]),
    ] {
        let printed = run(args);
        printed.refuses(2, parts);
        assert_eq!(printed.out, "", "{args:?}");
    }
}

#[test]
fn a_sample_of_the_golden_vectors_holds_through_the_binary() {
    /// So many of the rows, evenly spread; all of them are the scheduler's own test.
    const SAMPLE: usize = 60;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cron-vectors.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors = rows.iter().filter(|row| row["error"] == true).step_by(4);
    let firing = rows.iter().step_by(rows.len() / SAMPLE);
    let (mut right, mut refused) = (0, 0);
    for row in errors.chain(firing) {
        let field = |name: &str| row[name].as_str().map(str::to_owned);
        let cron = format!("--cron={}", field("expr").unwrap());
        let mut args = vec!["next".to_owned(), cron, "--output=json".to_owned(), "-n6".to_owned()];
        for (option, name) in
            [("--tz", "tz"), ("--from", "after"), ("--dst-gap", "dst_gap"), ("--dst-overlap", "dst_overlap")]
        {
            args.extend(field(name).map(|value| format!("{option}={value}")));
        }
        let printed = run(&args);
        if row["error"] == true {
            assert_eq!(printed.code, Some(2), "{row}: {printed:?}");
            refused += 1;
        } else {
            assert_eq!(printed.json()["next"], row["next"], "{row}");
            right += 1;
        }
    }
    assert!(right >= 50 && refused >= 5, "{right} {refused}");
}

#[test]
fn explain_gives_a_sentence_the_next_instants_and_what_to_mind() {
    let text = run(["explain", "*/7 9-17 * * 1-5", "--tz", "Europe/Berlin"]).ends(0).to_owned();
    let first = text.lines().next().unwrap();
    assert!(first.contains("7 minutes") && first.contains("Monday through Friday"), "{text}");
    assert!(first.contains("Europe/Berlin"), "{text}");
    assert_eq!(text.lines().filter(|line| line.ends_with("Z)")).count(), 5, "{text}");
    assert!(text.contains("note: */7 starts anew"), "{text}");

    let value = run(["explain", "*/7 9-17 * * 1-5", "--tz", "Europe/Berlin", "-o", "json"]).json();
    assert_eq!(value["sentence"], first);
    assert_eq!(value["timezone"], "Europe/Berlin");
    assert_eq!(value["next"].as_array().map(Vec::len), Some(5));
    let warning = &value["warnings"][0];
    assert!(warning["code"].is_string() && warning["message"].as_str().unwrap().contains("*/7"), "{value}");
    // The normalised form means the same.
    let normalised = value["normalised"].as_str().unwrap();
    let again = run(["explain", normalised, "--tz", "Europe/Berlin", "-o", "json"]).json();
    assert_eq!(again["sentence"], value["sentence"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::io::Read;
    let mut child = crate::command::punctual()
        .args(["next", "--cron", "* * * * * *", "-n", "10000"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let printed: crate::command::Printed = child.wait_with_output().unwrap().into();
    assert_eq!((printed.code, printed.err.as_str()), (Some(0), ""));
}

#[test]
fn every_command_has_its_help() {
    for command in [
        &[][..],
        &["serve"],
        &["dev"],
        &["run"],
        &["run", "list"],
        &["run", "show"],
        &["next"],
        &["explain"],
        &["task", "validate"],
    ] {
        let help = run(command.iter().chain(&["--help"])).ends(0).to_owned();
        assert!(help.contains("Usage: punctual"), "{help}");
    }
    assert_eq!(run(["--version"]).ends(0), format!("punctual {}\n", env!("CARGO_PKG_VERSION")));
}
