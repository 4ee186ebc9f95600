//! I1 (each due has a record), I2 (only one), I11 (dues are dues, and rise), I12 (catching up is bounded).

use super::Findings;
use super::history::{History, Record};
use super::rule::Rule;
use std::collections::BTreeMap;

pub(super) fn check(history: &History, findings: &mut Findings) {
    for rule in &history.rules.tasks {
        // Ids rise with the time of acceptance.
        let of_task = history.records.values().filter(|record| record.task == rule.task && record.is_due());
        let of_task: Vec<&Record> = of_task.collect();
        covered(history, rule, &of_task, findings);
        rising(rule, &of_task, findings);
        bounded(rule, &of_task, findings);
    }
}

fn covered(history: &History, rule: &Rule, records: &[&Record], findings: &mut Findings) {
    let mut by_due: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for record in records {
        match &record.missed {
            None => by_due.entry(record.scheduled_for).or_default().push(&record.id),
            Some(missed) => {
                let dues: Vec<i64> = rule.dues.between(missed.from - 1, missed.to).collect();
                if dues.first() != Some(&missed.from) || dues.last() != Some(&missed.to) {
                    findings.add("I11", format_args!("{}: {} misses what is not due", rule.task, record.id));
                }
                if missed.count != dues.len() as u64 {
                    let text =
                        format!("{}: {} counts {} of {}", rule.task, record.id, missed.count, dues.len());
                    findings.add("I1", text);
                }
                dues.into_iter().for_each(|due| by_due.entry(due).or_default().push(&record.id));
            }
        }
    }
    for (due, ids) in &by_due {
        if ids.len() > 1 {
            findings.add(
                "I2",
                format_args!("{}: {} records of the due {}: {ids:?}", rule.task, ids.len(), shown(*due)),
            );
        }
        if !rule.dues.has(*due) {
            findings
                .add("I11", format_args!("{}: {ids:?} is for {}, which is not due", rule.task, shown(*due)));
        }
        if *due < history.rules.made_after {
            let text = format!("{}: {ids:?} is for {}, before there was the task", rule.task, shown(*due));
            findings.add("I11", text);
        }
    }
    for due in rule.dues.between(history.rules.from, history.rules.to) {
        if !by_due.contains_key(&due) {
            findings.add("I1", format_args!("{}: no record of the due {}", rule.task, shown(due)));
        }
    }
}

fn rising(rule: &Rule, records: &[&Record], findings: &mut Findings) {
    let first = |record: &Record| record.missed.as_ref().map_or(record.scheduled_for, |missed| missed.from);
    let last = |record: &Record| record.missed.as_ref().map_or(record.scheduled_for, |missed| missed.to);
    for pair in records.windows(2) {
        if last(pair[0]) >= first(pair[1]) {
            let text = format!("{}: {} does not come after {}", rule.task, pair[1].id, pair[0].id);
            findings.add("I11", text);
        }
    }
}

/// By the moment at which they were decided: a second downtime may begin at the very due at which the first one
/// ended, so the dues alone do not tell.
fn bounded(rule: &Rule, records: &[&Record], findings: &mut Findings) {
    let Some(bound) = rule.caught_up else { return };
    let mut at_once: BTreeMap<i64, usize> = BTreeMap::new();
    for record in records.iter().filter(|record| record.trigger == "catch_up" && record.missed.is_none()) {
        *at_once.entry(record.accepted_at).or_default() += 1;
    }
    for count in at_once.into_values().filter(|count| *count > bound) {
        let text = format!("{}: {count} runs caught up at once, {bound} allowed", rule.task);
        findings.add("I12", text);
    }
}

pub(super) fn shown(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| at.to_string(), |at| at.to_string())
}
