//! I4 (a promise before the work), I5 (one live attempt of a run), I6 (attempts and fences rise), I8 (unknown is
//! not success, and nothing is repeated without a policy), I10 (limits), I11 (nothing starts before its time).

use super::Findings;
use super::dues::shown;
use super::history::{History, Line, Record, Word};
use super::rule::Rule;
use std::collections::{BTreeMap, HashMap};

/// One attempt as it was seen.
struct Seen<'a> {
    lines: Vec<(usize, &'a Line)>,
}

impl<'a> Seen<'a> {
    fn first(&self) -> (usize, &'a Line) {
        self.lines[0]
    }

    fn last(&self) -> (usize, &'a Line) {
        self.lines[self.lines.len() - 1]
    }

    fn code(&self) -> Option<i32> {
        let (_, line) = self.last();
        (line.word == Word::End).then_some(line.code)
    }
}

type Attempts<'a> = BTreeMap<&'a str, BTreeMap<u64, Seen<'a>>>;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut attempts: Attempts<'_> = BTreeMap::new();
    for (place, line) in history.witness.iter().enumerate() {
        let of_run = attempts.entry(&line.run).or_default();
        of_run.entry(line.attempt).or_insert_with(|| Seen { lines: Vec::new() }).lines.push((place, line));
    }
    let rules: HashMap<&str, &Rule> =
        history.rules.tasks.iter().map(|rule| (rule.task.as_str(), rule)).collect();
    for (run, seen) in &attempts {
        for seen in seen.values() {
            one_process(run, seen, findings);
        }
        one_after_another(run, seen, findings);
        match history.records.get(*run) {
            None => findings.add("I4", format_args!("{run} was at work and has no record")),
            Some(record) => {
                started_by_record(record, seen, findings);
                if let Some(rule) = rules.get(record.task.as_str()) {
                    repeated_by_policy(record, seen, rule, findings);
                }
            }
        }
    }
    for record in history.records.values() {
        let Some(rule) = rules.get(record.task.as_str()) else {
            findings.add("I1", format_args!("{} is of the unknown task {:?}", record.id, record.task));
            continue;
        };
        ended_as_seen(history, record, attempts.get(record.id.as_str()), rule, findings);
    }
    limits(history, &attempts, findings);
}

/// All lines of an attempt are those of one process, whole and in order.
fn one_process(run: &str, seen: &Seen<'_>, findings: &mut Findings) {
    let (_, first) = seen.first();
    let attempt = first.attempt;
    for (expected, (_, line)) in seen.lines.iter().enumerate() {
        if line.pid != first.pid {
            findings.add(
                "I5",
                format_args!("{run}: attempt {attempt} is two processes, {} and {}", first.pid, line.pid),
            );
        }
        if line.number != expected as u64 {
            findings.add(
                "I5",
                format_args!("{run}: attempt {attempt} says its line {} at place {expected}", line.number),
            );
        }
        if (line.word == Word::Start) != (expected == 0) {
            findings.add(
                "I5",
                format_args!("{run}: attempt {attempt} has a start at place {expected}, or has none"),
            );
        }
        if line.word == Word::End && expected + 1 != seen.lines.len() {
            findings.add("I5", format_args!("{run}: attempt {attempt} goes on after its end"));
        }
    }
    for pair in seen.lines.windows(2) {
        if pair[0].1.monotonic > pair[1].1.monotonic {
            findings.add("I11", format_args!("{run}: attempt {attempt} goes back in time"));
        }
    }
}

fn one_after_another(run: &str, attempts: &BTreeMap<u64, Seen<'_>>, findings: &mut Findings) {
    let all: Vec<(&u64, &Seen<'_>)> = attempts.iter().collect();
    for pair in all.windows(2) {
        let ((earlier, before), (later, after)) = (pair[0], pair[1]);
        if before.last().0 > after.first().0 {
            let text = format!("{run}: attempt {earlier} lives while attempt {later} does");
            findings.add("I5", text);
        }
        if before.first().1.fence >= after.first().1.fence {
            findings
                .add("I6", format_args!("{run}: the fence does not rise from attempt {earlier} to {later}"));
        }
    }
}

fn started_by_record(record: &Record, attempts: &BTreeMap<u64, Seen<'_>>, findings: &mut Findings) {
    let id = &record.id;
    for (attempt, seen) in attempts {
        let (_, start) = seen.first();
        if *attempt > record.attempt {
            findings.add(
                "I4",
                format_args!("{id}: attempt {attempt} was at work, the record knows {}", record.attempt),
            );
        }
        if start.task != record.task || start.due != record.scheduled_for {
            findings.add("I4", format_args!("{id}: its work was told another task or due: {start:?}"));
        }
        if record.is_due() && start.wall < record.scheduled_for {
            let text = format!("{id}: at work at {}, due {}", shown(start.wall), shown(record.scheduled_for));
            findings.add("I11", text);
        }
    }
}

fn repeated_by_policy(
    record: &Record,
    attempts: &BTreeMap<u64, Seen<'_>>,
    rule: &Rule,
    findings: &mut Findings,
) {
    let id = &record.id;
    if rule.repeats_lost {
        return;
    }
    let allowed = 1 + u64::from(rule.restarts);
    if record.attempt > allowed {
        findings.add("I8", format_args!("{id}: {} attempts, {allowed} allowed", record.attempt));
    }
    for (attempt, seen) in attempts {
        if *attempt == record.attempt {
            continue;
        }
        match seen.code() {
            // A timeout may have been seen before the end that came all the same.
            Some(0) if !rule.times_out => {
                findings.add("I8", format_args!("{id}: repeated after attempt {attempt} succeeded"));
            }
            None if !rule.times_out => {
                findings.add(
                    "I8",
                    format_args!("{id}: repeated although nobody saw the end of attempt {attempt}"),
                );
            }
            Some(_) | None => {}
        }
    }
}

fn ended_as_seen(
    history: &History,
    record: &Record,
    attempts: Option<&BTreeMap<u64, Seen<'_>>>,
    rule: &Rule,
    findings: &mut Findings,
) {
    let id = &record.id;
    let last = attempts.and_then(|attempts| attempts.get(&record.attempt));
    let code = last.and_then(Seen::code);
    let mut wrong = |why: &str| findings.add("I8", format_args!("{id} is {}: {why}", record.state));
    match record.state.as_str() {
        "succeeded" if code != Some(0) => wrong("nobody saw its work end well"),
        "failed" if code.is_none_or(|code| code == 0) => wrong("nobody saw its work fail"),
        "timed_out" if !rule.times_out => wrong("it has no timeout"),
        "lost" if rule.repeats_lost => wrong("its task wants another attempt"),
        "lost" if history.rules.kills == 0 => wrong("nothing was killed"),
        "skipped" | "missed" if attempts.is_some() => wrong("it was at work all the same"),
        "canceled" => {
            let asked = history
                .told
                .iter()
                .any(|told| matches!(told, super::history::Told::CancelWanted { run } if run == id));
            if !asked && !rule.displaced {
                wrong("nobody asked for that");
            }
        }
        _ => {}
    }
}

/// No more at once than allowed, of a task and of a shared key.
fn limits(history: &History, attempts: &Attempts<'_>, findings: &mut Findings) {
    let mut groups: BTreeMap<(&str, usize), Vec<&str>> = BTreeMap::new();
    for rule in &history.rules.tasks {
        if let Some(bound) = rule.at_once {
            groups.entry((&rule.task, bound)).or_default().push(&rule.task);
        }
        if let Some((key, bound)) = &rule.shared {
            groups.entry((key, *bound)).or_default().push(&rule.task);
        }
    }
    for ((name, bound), tasks) in groups {
        let mut edges: Vec<(usize, bool, &str)> = Vec::new();
        for (run, of_run) in attempts {
            for seen in of_run.values().filter(|seen| tasks.contains(&seen.first().1.task.as_str())) {
                edges.push((seen.first().0, true, run));
                edges.push((seen.last().0, false, run));
            }
        }
        // An attempt of one line begins and ends at the same place.
        edges.sort_by_key(|(place, begins, _)| (*place, !begins));
        let mut open: Vec<&str> = Vec::new();
        for (_, begins, run) in edges {
            if begins {
                open.push(run);
                if open.len() > bound {
                    findings.add("I10", format_args!("{name}: {open:?} at work at once, {bound} allowed"));
                }
            } else if let Some(at) = open.iter().position(|there| *there == run) {
                open.remove(at);
            }
        }
    }
}
