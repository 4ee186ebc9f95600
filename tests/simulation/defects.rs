//! Whether the simulation notices. Each defect stands at one place in the engine and is seeded for this thread; it
//! has to be found within a few seeds, and without it the same seeds are well.

use crate::plan::Scale;
use crate::year::{Report, simulate};
use punctual_faults::{Defect, seed};

/// Seeds within which a defect must be found.
const WITHIN: u64 = 20;

/// Unseeds, whatever happens.
struct Seeded;

impl Drop for Seeded {
    fn drop(&mut self) {
        seed(&[]);
    }
}

/// The first seed that finds it, and what it says.
fn found(defect: Defect) -> Report {
    crate::quiet();
    let _seeded = Seeded;
    seed(&[defect]);
    let report = (1..=WITHIN)
        .map(|number| simulate(number, Scale::Weeks, false))
        .find(|report| !report.wrong.is_empty())
        .unwrap_or_else(|| panic!("{} was not found in {WITHIN} seeds", defect.as_str()));
    println!("{} was found by seed {}: {}", defect.as_str(), report.seed, report.wrong[0]);
    report
}

fn says(defect: Defect, words: &[&str]) {
    let report = found(defect);
    let told = &report.wrong[0];
    assert!(words.iter().any(|word| told.contains(word)), "{} was found as: {told}", defect.as_str());
    let well = simulate(report.seed, Scale::Weeks, false);
    assert!(well.wrong.is_empty(), "seed {} fails without it too: {:?}", report.seed, well.wrong);
}

#[test]
fn a_checkpoint_outside_its_batch_is_found() {
    says(Defect::CheckpointOutsideBatch, &["stored", "expected", "checkpoint"]);
}

#[test]
fn an_epoch_that_nobody_checks_is_found() {
    says(Defect::EpochUnchecked, &["was applied to"]);
}

#[test]
fn a_terminal_record_that_is_overwritten_is_found() {
    says(Defect::TerminalOverwritten, &["and became"]);
}

#[test]
fn a_promise_that_resolves_before_the_record_is_found() {
    says(Defect::PromiseBeforeRecord, &["the promise of"]);
}

#[test]
fn a_due_that_is_swallowed_at_a_clock_change_is_found() {
    says(Defect::DueSwallowedAtClockChange, &["expected", "was to run at"]);
}
