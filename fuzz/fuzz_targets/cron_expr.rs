//! Any text as a cron expression, in a zone with every kind of clock change: it must be refused
//! with an error or walk strictly forward, never panic, never stand still.
//!
//! Run with `cargo +nightly fuzz run cron_expr -- -dict=fuzz/cron.dict`.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use punctual_model::schedule::{Cron, DstGap, DstOverlap, Schedule};
use punctual_scheduler::schedule::{Timeline, Zone, explain};
use std::sync::LazyLock;

/// Half an hour, two hours, a day left out, negative summer time, changes at midnight.
static ZONES: LazyLock<Vec<Zone>> = LazyLock::new(|| {
    ["Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Europe/Dublin", "America/Havana"]
        .into_iter()
        .filter_map(|name| Zone::get(name).ok())
        .chain([Zone::utc()])
        .collect()
});

fuzz_target!(|input: (&str, i64, u8)| {
    let (expr, second, rules) = input;
    let zone = &ZONES[usize::from(rules >> 3) % ZONES.len()];
    let cron = Cron {
        expr: expr.to_owned(),
        dst_gap: if rules & 1 == 0 { DstGap::RunAtEnd } else { DstGap::Skip },
        dst_overlap: [DstOverlap::First, DstOverlap::Second, DstOverlap::Both][usize::from(rules >> 1 & 3) % 3],
    };
    let schedule = Schedule::Cron(cron);
    let Ok(timeline) = Timeline::compile(std::slice::from_ref(&schedule), zone) else { return };
    let start = Timestamp::from_second(second % 5_000_000_000).expect("within the range of instants");
    explain(&schedule, zone, start).expect("what compiles can be explained");
    let mut after = start;
    for _ in 0..16 {
        let Some(next) = timeline.next(after) else { break };
        assert!(next > after);
        assert!(timeline.includes(next));
        after = next;
    }
    assert!(after == start || timeline.latest(start, after) == Some(after));
});
