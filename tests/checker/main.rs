//! The checker on histories made up here: a sound one, on which it has nothing to say, and the same with one
//! thing wrong each, which it has to report.

#[path = "mod.rs"]
mod checker;

use checker::check;
use checker::history::{History, Line, Record, Records, Told, Word, records};
use checker::rule::{Dues, Rule, SECOND};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// 2026-01-01T00:00:00Z; a multiple of every interval used here.
const T: i64 = 1_767_225_600 * SECOND;

fn instant(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at)).expect("an instant").to_string()
}

fn rule(task: &str, dues: Dues) -> Rule {
    Rule {
        task: task.to_owned(),
        dues,
        at_once: None,
        shared: None,
        restarts: 0,
        repeats_lost: false,
        times_out: false,
        displaced: false,
        caught_up: None,
    }
}

/// Writes a history the way jobs and the engine do.
#[derive(Default)]
struct Scribe {
    history: History,
    runs: Vec<Value>,
    clock: i64,
}

impl Scribe {
    fn record(&mut self, task: &str, trigger: &str, due: i64, state: &str, attempt: u64) -> String {
        let id = format!("{:016x}", self.runs.len() + 1);
        self.runs.push(json!({
            "id": id, "task_name": task, "trigger": trigger, "scheduled_for": instant(due), "state": state,
            "accepted_at": instant(due),
            "life": { "state": state, "attempt": attempt, "epoch": 3 },
        }));
        id
    }

    fn missed(&mut self, task: &str, from: i64, to: i64, count: u64) {
        self.record(task, "catch_up", from, "missed", 0);
        let run = self.runs.last_mut().expect("just made");
        run["life"]["state"] =
            json!({ "missed": { "from": instant(from), "to": instant(to), "count": count } });
    }

    fn keyed(&mut self, key: &str) {
        self.runs.last_mut().expect("just made")["idempotency_key"] = json!(key);
    }

    fn line(&mut self, word: Word, run: &str, task: &str, attempt: u64, due: i64, code: i32) {
        let pid =
            100 + i32::from_str_radix(run, 16).expect("an id") * 10 + i32::try_from(attempt).expect("few");
        let number = self.history.witness.iter().filter(|line| line.pid == pid).count() as u64;
        self.clock += SECOND / 1000;
        self.history.witness.push(Line {
            word,
            number,
            run: run.to_owned(),
            task: task.to_owned(),
            attempt,
            fence: format!("{:020}.{attempt:010}", 3),
            due,
            pid,
            monotonic: self.clock,
            wall: T + 3600 * SECOND + self.clock,
            code,
        });
    }

    fn whole(&mut self, run: &str, task: &str, due: i64, code: i32) {
        self.line(Word::Start, run, task, 1, due, 0);
        self.line(Word::End, run, task, 1, due, code);
    }

    fn done(mut self) -> History {
        self.history.records = records(&json!({ "runs": self.runs })).expect("records");
        self.history.again = self.history.records.clone();
        self.history
    }
}

/// A history in which every promise was kept.
fn sound() -> History {
    let mut scribe = Scribe::default();
    scribe.history.rules.made_after = T;
    scribe.history.rules.from = T;
    scribe.history.rules.to = T + 6 * SECOND;
    scribe.history.rules.kills = 1;
    let mut skip = rule("skip", Dues::Every(2));
    (skip.at_once, skip.caught_up) = (Some(1), Some(1));
    let mut idem = rule("idem", Dues::Never);
    idem.repeats_lost = true;
    let mut flaky = rule("flaky", Dues::Seconds(vec![5]));
    flaky.restarts = 1;
    scribe.history.rules.tasks = vec![rule("tick", Dues::Every(1)), skip, idem, flaky];

    for second in 1..=6 {
        let due = T + second * SECOND;
        let run = scribe.record("tick", "schedule", due, if second == 3 { "failed" } else { "succeeded" }, 1);
        scribe.whole(&run, "tick", due, i32::from(second == 3));
    }
    scribe.missed("skip", T + 2 * SECOND, T + 2 * SECOND, 1);
    let run = scribe.record("skip", "catch_up", T + 4 * SECOND, "lost", 1);
    scribe.line(Word::Start, &run, "skip", 1, T + 4 * SECOND, 0);
    scribe.line(Word::Alive, &run, "skip", 1, T + 4 * SECOND, 0);
    let run = scribe.record("skip", "schedule", T + 6 * SECOND, "succeeded", 1);
    scribe.whole(&run, "skip", T + 6 * SECOND, 0);

    let run = scribe.record("idem", "manual", T + 1, "succeeded", 2);
    scribe.keyed("k1");
    scribe.line(Word::Start, &run, "idem", 1, T + 1, 0);
    scribe.line(Word::Start, &run, "idem", 2, T + 1, 0);
    scribe.line(Word::End, &run, "idem", 2, T + 1, 0);
    scribe.history.told = vec![
        Told::Accepted { task: "idem".to_owned(), key: "k1".to_owned(), run: run.clone() },
        Told::Ended { run, state: "succeeded".to_owned() },
    ];
    let run = scribe.record("idem", "manual", T + 2, "canceled", 1);
    scribe.line(Word::Start, &run, "idem", 1, T + 2, 0);
    scribe.history.told.push(Told::CancelWanted { run: run.clone() });
    scribe.history.told.push(Told::Canceled { run, state: "stopping".to_owned() });

    let run = scribe.record("flaky", "schedule", T + 5 * SECOND, "succeeded", 2);
    scribe.whole(&run, "flaky", T + 5 * SECOND, 1);
    scribe.line(Word::Start, &run, "flaky", 2, T + 5 * SECOND, 0);
    scribe.line(Word::End, &run, "flaky", 2, T + 5 * SECOND, 0);
    let mut history = scribe.done();
    let mut before = history.records.clone();
    before.pop_last();
    history.earlier = vec![before];
    history
}

#[test]
fn a_sound_history_passes() {
    assert_eq!(check(&sound()), []);
}

fn of<'a>(records: &'a mut Records, task: &str) -> &'a mut Record {
    records.values_mut().find(|record| record.task == task).expect("a record of the task")
}

/// In all records alike, so that nothing but the thing itself is wrong.
fn in_both(history: &mut History, change: impl Fn(&mut Records)) {
    change(&mut history.records);
    change(&mut history.again);
    history.earlier.clear();
}

fn line(history: &History, task: &str, word: Word) -> usize {
    let is_meant = |line: &Line| line.task == task && line.word == word;
    history.witness.iter().position(is_meant).expect("a line")
}

fn remove(history: &mut History, task: &str) {
    in_both(history, |records| {
        let id = of(records, task).id.clone();
        records.remove(&id);
    });
}

fn with_state(history: &mut History, task: &str, state: &str) {
    in_both(history, |records| of(records, task).state = state.to_owned());
}

fn copy(history: &mut History, task: &str, change: impl Fn(&mut Record)) {
    in_both(history, |records| {
        let mut record = of(records, task).clone();
        record.id = "00000000000000ff".to_owned();
        change(&mut record);
        records.insert(record.id.clone(), record);
    });
}

type Doctor = fn(&mut History);

/// What is done to the sound history, what that is called, and which invariants may report it.
const DOCTORED: &[(&str, Doctor, &str)] = &[
    ("a start line dropped", |h| drop(h.witness.remove(line(h, "tick", Word::Start))), "I5"),
    ("an end line dropped", |h| drop(h.witness.remove(line(h, "tick", Word::End))), "I8"),
    (
        "a line in between dropped",
        |h| {
            let at = line(h, "skip", Word::Alive);
            let mut next = h.witness[at].clone();
            next.number += 1;
            h.witness[at] = next;
        },
        "I5",
    ),
    (
        "a start line doubled",
        |h| {
            let at = line(h, "tick", Word::Start);
            h.witness.insert(at, h.witness[at].clone());
        },
        "I5",
    ),
    (
        "an end line doubled",
        |h| {
            let at = line(h, "tick", Word::End);
            h.witness.insert(at, h.witness[at].clone());
        },
        "I5",
    ),
    (
        "an attempt made by two processes",
        |h| {
            let at = line(h, "tick", Word::Start);
            let mut twice = h.witness[at].clone();
            twice.pid += 5000;
            h.witness.insert(at, twice);
        },
        "I5",
    ),
    ("a record missing although its run was at work", |h| remove(h, "flaky"), "I4"),
    ("a due without a record", |h| remove(h, "flaky"), "I1"),
    ("a gap in a missed record", |h| remove(h, "skip"), "I1"),
    ("two records of one due", |h| copy(h, "tick", |record| record.state = "lost".to_owned()), "I2"),
    (
        "a missed record over a due with a run",
        |h| {
            in_both(h, |records| {
                let missed = of(records, "skip").missed.as_mut().expect("the missed one");
                (missed.to, missed.count) = (T + 4 * SECOND, 2);
            });
        },
        "I2",
    ),
    (
        "a missed record that counts wrongly",
        |h| {
            in_both(h, |records| {
                of(records, "skip").missed.as_mut().expect("the missed one").count = 7;
            });
        },
        "I1",
    ),
    ("a run for what is not due", |h| copy(h, "flaky", |record| record.scheduled_for += SECOND), "I11"),
    ("a run from before the task", |h| h.rules.made_after = T + 2 * SECOND, "I11"),
    ("dues out of order", |h| copy(h, "tick", |record| record.scheduled_for = T), "I11"),
    (
        "a start before its time",
        |h| {
            let at = line(h, "tick", Word::Start);
            h.witness[at].wall = T;
        },
        "I11",
    ),
    (
        "a job that goes back in time",
        |h| {
            let at = line(h, "tick", Word::End);
            h.witness[at].monotonic = 0;
        },
        "I11",
    ),
    (
        "more caught up than allowed",
        |h| {
            in_both(h, |records| {
                of(records, "skip").missed = None;
                for record in records.values_mut().filter(|record| record.task == "skip") {
                    (record.trigger, record.accepted_at) = ("catch_up".to_owned(), T + 6 * SECOND);
                }
            });
        },
        "I12",
    ),
    ("an acknowledged run missing", |h| remove(h, "idem"), "I3"),
    ("an acknowledged run that is another", |h| in_both(h, |records| of(records, "idem").key = None), "I3"),
    ("an end that was told and is another", |h| with_state(h, "idem", "failed"), "I3"),
    (
        "a cancel that was told and forgotten",
        |h| {
            let Told::Canceled { run, .. } = h.told[3].clone() else { panic!("not the cancel") };
            in_both(h, |records| records.get_mut(&run).expect("there").state = "failed".to_owned());
        },
        "I3",
    ),
    ("a canceled run that nobody asked to cancel", |h| with_state(h, "tick", "canceled"), "I8"),
    ("one key with two runs", |h| copy(h, "idem", |record| record.state = "failed".to_owned()), "I2"),
    (
        "work of an attempt that the record does not know",
        |h| {
            in_both(h, |records| {
                of(records, "flaky").attempt = 1;
            });
        },
        "I4",
    ),
    (
        "work that was told another due",
        |h| {
            let at = line(h, "tick", Word::Start);
            h.witness[at].due += SECOND;
        },
        "I4",
    ),
    (
        "two attempts alive at once",
        |h| {
            let first = h.witness.iter().position(|line| line.task == "flaky" && line.attempt == 1);
            let first = first.expect("attempt 1");
            let last = h.witness.remove(first + 1);
            h.witness.push(last);
        },
        "I5",
    ),
    (
        "a fence that does not rise",
        |h| {
            for line in h.witness.iter_mut().filter(|line| line.attempt == 2) {
                line.fence = format!("{:020}.{:010}", 3, 1);
            }
        },
        "I6",
    ),
    ("a second attempt without a policy", |h| h.rules.tasks[3].restarts = 0, "I8"),
    (
        "a second attempt after one that nobody saw end",
        |h| {
            h.rules.tasks[2].repeats_lost = false;
            h.rules.tasks[2].restarts = 5;
        },
        "I8",
    ),
    (
        "a second attempt after success",
        |h| {
            let end = line(h, "flaky", Word::End);
            h.witness[end].code = 0;
        },
        "I8",
    ),
    (
        "unknown recorded as success",
        |h| {
            in_both(h, |records| {
                let lost = records.values_mut().find(|record| record.state == "lost").expect("the lost one");
                lost.state = "succeeded".to_owned();
            });
        },
        "I8",
    ),
    (
        "failure recorded as success",
        |h| {
            in_both(h, |records| {
                let failed =
                    records.values_mut().find(|record| record.state == "failed").expect("the failed one");
                failed.state = "succeeded".to_owned();
            });
        },
        "I8",
    ),
    ("lost although the task wants another attempt", |h| with_state(h, "idem", "lost"), "I8"),
    ("lost although nothing was killed", |h| h.rules.kills = 0, "I8"),
    ("a timeout of a task without one", |h| with_state(h, "tick", "timed_out"), "I8"),
    ("a skipped run that was at work", |h| with_state(h, "tick", "skipped"), "I8"),
    (
        "a limit broken",
        |h| {
            let alive = h.witness.remove(line(h, "skip", Word::Alive));
            h.witness.push(alive);
        },
        "I10",
    ),
    (
        "a shared limit broken",
        |h| {
            let end = h.witness.remove(line(h, "tick", Word::End));
            h.witness.push(end);
            for rule in h.rules.tasks.iter_mut().take(2) {
                rule.shared = Some(("both".to_owned(), 1));
            }
        },
        "I10",
    ),
    ("a run that never ends", |h| with_state(h, "tick", "starting"), "I7"),
    (
        "an end that changed",
        |h| {
            let Some(record) = h.earlier[0].values_mut().next() else { panic!("there is none") };
            record.raw["state"] = json!("failed");
        },
        "I6",
    ),
    (
        "a record that was there and is gone",
        |h| {
            let record = Record { id: "00000000000000fe".to_owned(), ..of(&mut h.records, "tick").clone() };
            h.earlier[0].insert(record.id.clone(), record);
        },
        "I6",
    ),
    (
        "an attempt that fell",
        |h| {
            let record = h.earlier[0].values_mut().next().expect("one");
            record.attempt = 9;
        },
        "I6",
    ),
    (
        "an epoch that fell",
        |h| {
            let record = h.earlier[0].values_mut().next().expect("one");
            record.epoch = 9;
        },
        "I6",
    ),
    ("a start that loses a record", |h| drop(h.again.pop_last()), "I14"),
    ("a start that makes a record", |h| drop(h.records.pop_last()), "I14"),
    ("a start that changes a record", |h| of(&mut h.again, "tick").raw["state"] = json!("lost"), "I14"),
];

#[test]
fn everything_that_can_be_wrong_is_reported() {
    let mut reported = BTreeSet::new();
    for (name, doctor, invariant) in DOCTORED {
        let mut history = sound();
        doctor(&mut history);
        let found = check(&history);
        assert!(
            found.iter().any(|violation| violation.invariant == *invariant),
            "{name} is not reported as {invariant}, but as {found:#?}"
        );
        reported.insert(*invariant);
    }
    // Each invariant that the checker knows can be seen to fail.
    let known = ["I1", "I10", "I11", "I12", "I14", "I2", "I3", "I4", "I5", "I6", "I7", "I8"];
    assert_eq!(Vec::from_iter(reported), known);
}

#[test]
fn the_files_of_a_history_read_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("write");
    let sound = sound();
    let raw: Vec<&Value> = sound.records.values().map(|record| &record.raw).collect();
    let listed = json!({ "runs": raw }).to_string();
    write("rules.json", &serde_json::to_string(&sound.rules).expect("JSON"));
    let told: Vec<String> =
        sound.told.iter().map(|told| serde_json::to_string(told).expect("JSON")).collect();
    write("told", &told.join("\n"));
    let line = &sound.witness[0];
    let text = format!(
        "S 0 {} tick 1 {} {} {} {} {} 0\n",
        line.run,
        line.fence,
        instant(line.due),
        line.pid,
        line.monotonic,
        line.wall
    );
    write("witness", &text);
    for name in ["runs-0.json", "runs-1.json", "runs-2.json"] {
        write(name, &listed);
    }
    let read = History::read(directory.path()).expect("read");
    assert_eq!(read.witness, sound.witness[..1]);
    assert_eq!((&read.told, &read.records, &read.again), (&sound.told, &sound.records, &sound.records));
    assert_eq!((read.earlier.len(), read.rules.tasks.len()), (1, 4));
    write("witness", "S 0 nonsense\n");
    assert!(History::read(directory.path()).is_err());
}
