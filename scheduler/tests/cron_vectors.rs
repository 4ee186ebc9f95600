//! The golden vectors: `tests/data/cron-vectors.jsonl`, one expression a line with its next six
//! instants, made with other implementations and checked by hand where they disagree.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use punctual_model::schedule::{Cron, DstGap, DstOverlap, Schedule};
use punctual_scheduler::schedule::{ScheduleCache, Timeline, Zone};
use serde_json::Value;

const VECTORS: &str = include_str!("../../tests/data/cron-vectors.jsonl");

fn text<'a>(row: &'a Value, key: &str) -> Option<&'a str> {
    row.get(key).and_then(Value::as_str)
}

fn schedule(row: &Value) -> Schedule {
    let mut cron = Cron::new(text(row, "expr").expect("every row has an expression"));
    if let Some(gap) = text(row, "dst_gap") {
        cron.dst_gap = match gap {
            "skip" => DstGap::Skip,
            "run_at_end" => DstGap::RunAtEnd,
            other => panic!("dst_gap {other}"),
        };
    }
    if let Some(overlap) = text(row, "dst_overlap") {
        cron.dst_overlap = match overlap {
            "first" => DstOverlap::First,
            "second" => DstOverlap::Second,
            "both" => DstOverlap::Both,
            other => panic!("dst_overlap {other}"),
        };
    }
    Schedule::Cron(cron)
}

#[test]
fn every_golden_vector_holds() {
    let database = TimeZoneDatabase::bundled();
    let cache = ScheduleCache::new();
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in VECTORS.lines() {
        rows += 1;
        let row: Value = serde_json::from_str(line).expect("a row is JSON");
        let schedules = [schedule(&row)];
        if row.get("error").is_some() {
            if Timeline::compile(&schedules, &Zone::utc()).is_ok() {
                wrong.push(format!("accepted: {line}"));
            }
            continue;
        }
        let name = text(&row, "tz").expect("a zone");
        let zone = cache.zone_of(&database, name).expect("a known zone");
        let timeline = match cache.compile(&schedules, &zone) {
            Ok(timeline) => timeline,
            Err(error) => {
                wrong.push(format!("{error}: {line}"));
                continue;
            }
        };
        let mut after: Timestamp = text(&row, "after").expect("an instant").parse().expect("an instant");
        for expected in row["next"].as_array().expect("instants") {
            let expected: Timestamp = expected.as_str().expect("text").parse().expect("an instant");
            let next = timeline.next(after);
            if next != Some(expected) {
                wrong.push(format!("after {after}: {next:?}, expected {expected}: {line}"));
                break;
            }
            after = expected;
        }
    }
    assert!(wrong.is_empty(), "{} of {rows} rows:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert_eq!(rows, 2_860);
}
