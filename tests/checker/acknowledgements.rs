//! I3: what a caller was told is so, for ever; and one key is one run (I2).

use super::Findings;
use super::history::{History, Told};
use std::collections::BTreeMap;

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut by_key: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for record in history.records.values() {
        if let Some(key) = &record.key {
            by_key.entry((&record.task, key)).or_default().push(&record.id);
        }
    }
    for ((task, key), runs) in &by_key {
        if runs.len() > 1 {
            findings.add("I2", format_args!("{task}: the key {key:?} has {} runs: {runs:?}", runs.len()));
        }
    }
    for told in &history.told {
        match told {
            Told::Accepted { task, key, run } => match history.records.get(run) {
                None => findings.add("I3", format_args!("{run} of {task} was accepted and is not there")),
                Some(record) if record.key.as_ref() != Some(key) || record.task != *task => {
                    findings.add("I3", format_args!("{run} was accepted for {task} {key:?} and is another"));
                }
                Some(_) => {}
            },
            Told::Ended { run, state } => match history.records.get(run) {
                Some(record) if record.state == *state => {}
                Some(record) => {
                    findings.add("I3", format_args!("{run} was told to be {state} and is {}", record.state));
                }
                None => findings.add("I3", format_args!("{run} was told to be {state} and is not there")),
            },
            Told::CancelWanted { .. } => {}
            Told::Canceled { run, state } => canceled(history, run, state, findings),
        }
    }
}

/// A cancel that was in time ends the run as canceled, whatever its work does; one that was late changes nothing.
fn canceled(history: &History, run: &str, state: &str, findings: &mut Findings) {
    let Some(record) = history.records.get(run) else {
        findings.add("I3", format_args!("{run} was canceled and is not there"));
        return;
    };
    let as_told = match state {
        "stopping" => matches!(record.state.as_str(), "canceled" | "timed_out"),
        // The end, whatever it is, was told.
        ended => record.state == ended,
    };
    if !as_told {
        findings.add("I3", format_args!("{run} was {state} when it was canceled and is {}", record.state));
    }
}
