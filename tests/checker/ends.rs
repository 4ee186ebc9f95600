//! I6 (what has ended never changes, and nothing goes back), I7 (everything ends), I14 (a start without
//! anything due changes nothing).

use super::Findings;
use super::history::{History, Records};

pub(super) fn check(history: &History, findings: &mut Findings) {
    for record in history.records.values().filter(|record| !record.is_terminal()) {
        findings.add("I7", format_args!("{} of {} is {} at the end", record.id, record.task, record.state));
    }
    for earlier in &history.earlier {
        later(earlier, &history.records, findings);
    }
    for pair in history.earlier.windows(2) {
        // An earlier look may have been at unfinished runs only, so who is not in both has not gone.
        let in_both = pair[0].iter().filter(|(id, _)| pair[1].contains_key(*id));
        let in_both = in_both.map(|(id, record)| (id.clone(), record.clone())).collect();
        later(&in_both, &pair[1], findings);
    }
    for (id, record) in &history.records {
        match history.again.get(id) {
            None => findings.add("I14", format_args!("{id} is gone after one more start")),
            Some(again) if again.raw != record.raw => {
                findings.add(
                    "I14",
                    format_args!("{id} was {} and is {} after one more start", record.raw, again.raw),
                );
            }
            Some(_) => {}
        }
    }
    for id in history.again.keys().filter(|id| !history.records.contains_key(*id)) {
        findings.add("I14", format_args!("{id} is new after one more start"));
    }
}

fn later(before: &Records, after: &Records, findings: &mut Findings) {
    for (id, earlier) in before {
        let Some(record) = after.get(id) else {
            findings.add("I6", format_args!("{id} was there and is gone"));
            continue;
        };
        if earlier.is_terminal() && earlier.raw != record.raw {
            let text = format!("{id} had ended as {} and is now {}", earlier.raw, record.raw);
            findings.add("I6", text);
        }
        if earlier.attempt > record.attempt || earlier.epoch > record.epoch {
            findings.add("I6", format_args!("{id}: its attempt or its epoch has fallen"));
        }
    }
}
