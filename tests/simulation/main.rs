//! A simulated world with the whole node in it, on one thread and a virtual clock: one seed, one trace.

mod deeds;
#[cfg(feature = "inject")]
mod defects;
mod definitions;
mod jumps;
mod oracle;
mod plan;
#[path = "../../scheduler/tests/cron_oracle/spec.rs"]
mod spec;
mod trace;
mod truth;
#[expect(dead_code, reason = "the scheduler's own test also reads where a wall ends")]
#[path = "../../scheduler/tests/cron_oracle/wall.rs"]
mod wall;
mod watched;
mod work;
mod year;

use plan::Scale;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use truth::Counts;
use year::{Report, simulate};

/// Seeds of a plain test run: some ten seconds of a debug build. `.ci/simulation` lives through many more.
const SEEDS: u64 = 6;

/// What a failed seed has to say: what was wrong, what went before, and how to see it again.
fn told(report: &Report, scale: Scale) -> String {
    let weeks = if scale == Scale::Weeks { "--weeks " } else { "" };
    format!(
        "seed {seed}: {wrong}\n\n... {last}\n\nagain: cargo run --profile simulation --features testing --example simulate -- {weeks}--seed {seed}\n",
        seed = report.seed,
        wrong = report.wrong.join("\n"),
        last = report.last.join("\n... "),
    )
}

/// Lives through seeds on all cores; answers what each came to, in order.
fn live(seeds: std::ops::Range<u64>, scale: Scale) -> Vec<Report> {
    // Panics of drivers are part of the plot.
    quiet();
    let next = AtomicU64::new(seeds.start);
    let reports = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = simulate(seed, scale, false);
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    reports.sort_by_key(|report| report.seed);
    reports
}

/// Scripted panics say nothing; all others what they always say.
fn quiet() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.payload().downcast_ref::<&str>().copied().unwrap_or_default();
            if !text.starts_with("scripted panic") {
                usual(panic);
            }
        }));
    });
}

#[test]
fn every_invariant_holds_in_weeks_around_clock_changes_and_in_whole_years() {
    // A year takes seconds in an optimised build, and minutes in any other.
    let scale = if cfg!(debug_assertions) { Scale::Weeks } else { Scale::Year };
    let reports = live(1..SEEDS + 1, scale);
    let failed: Vec<String> = { reports.iter() }
        .filter(|report| !report.wrong.is_empty())
        .map(|report| told(report, scale))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // What did not happen was not tested.
    let sum = |of: fn(&Counts) -> u64| reports.iter().map(|report| of(&report.counts)).sum::<u64>();
    for (what, often) in [
        ("runs", sum(|c| c.runs)),
        ("missed", sum(|c| c.missed)),
        ("skipped", sum(|c| c.skipped)),
        ("caught up", sum(|c| c.caught_up)),
        ("started", sum(|c| c.started)),
        ("recovered", sum(|c| c.recovered)),
        ("lost", sum(|c| c.lost)),
        ("canceled", sum(|c| c.canceled)),
        ("crashes", sum(|c| c.crashes)),
        ("faults of the store", sum(|c| c.store_faults)),
        ("stops", sum(|c| c.stops)),
        ("jumps", sum(|c| c.jumps)),
        ("freezes", sum(|c| c.freezes)),
        ("unreadable records", sum(|c| c.spoilt)),
        ("changes", sum(|c| c.changes)),
        ("promises kept", sum(|c| c.promises)),
        ("stale reports", sum(|c| c.stale)),
        ("refused for want of room", sum(|c| c.refused)),
        ("calls of a replaced node refused", sum(|c| c.fenced)),
        ("pruned", sum(|c| c.pruned)),
        ("told by a run of its own", sum(|c| c.told)),
    ] {
        println!("{what}: {often}");
        assert!(often >= SEEDS, "{what}: only {often}");
    }
}

#[test]
fn one_seed_has_one_trace() {
    let [first, second, other] = [4, 4, 1].map(|seed| simulate(seed, Scale::Weeks, false));
    assert_eq!((first.hash, first.lines), (second.hash, second.lines), "{}", told(&first, Scale::Weeks));
    assert_ne!(first.hash, other.hash, "two seeds are two worlds");
}
