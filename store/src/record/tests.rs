mod any;
mod samples;

use super::*;
use crate::ledger::Meta;
use punctual_model::*;
use samples::*;
use serde_json::Value;
use std::time::Duration;

#[test]
fn a_finished_noop_run_is_small() {
    let record = encode_run(&finished_noop());
    // The goal is 60 to 80 bytes; what is reached is kept.
    assert!(record.len() <= 44, "{} bytes", record.len());
    assert_eq!(decode_run(finished_noop().id, &record), Ok(finished_noop()));
}

#[test]
fn records_of_version_1_are_read_and_written_byte_for_byte() {
    let task = full_task();
    let run = |run: Run| (encode_run(&run), decode_run(run.id, &encode_run(&run)) == Ok(run));
    let states = all_states().into_iter().map(|state| {
        let life = Life { state, ..finished_noop().life };
        let name = format!("run-{}", state.name());
        (name, run(Run { life, ..finished_noop() }))
    });
    let records = states.chain([
        ("run-noop".to_owned(), run(finished_noop())),
        ("run-full".to_owned(), run(full_run())),
        ("run-later".to_owned(), run(later_run())),
        ("run-told".to_owned(), run(told_run())),
        ("run-traced".to_owned(), run(traced_run())),
        ("task".to_owned(), {
            let record = encode_task(&task).unwrap();
            let back = decode_task(&record) == Ok(task);
            (record, back)
        }),
        ("head".to_owned(), {
            let record = encode_head(&full_head());
            let back = decode_head(&record) == Ok(full_head());
            (record, back)
        }),
        ("head-timed".to_owned(), {
            let record = encode_head(&timed_head());
            let back = decode_head(&record) == Ok(timed_head());
            (record, back)
        }),
        ("head-typed".to_owned(), {
            let record = encode_head(&typed_head());
            let back = decode_head(&record) == Ok(typed_head());
            (record, back)
        }),
        ("meta".to_owned(), {
            let meta = Meta { epoch: 12, id_floor: run_id(Duration::ZERO).get() };
            let record = encode_meta(meta);
            let back = decode_meta(&record) == Ok(meta);
            (record, back)
        }),
    ]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/1");
    for (name, (record, back)) in records {
        assert!(back, "{name} does not read back");
        let path = format!("{folder}/{name}");
        // A new kind of record gets its file by hand: run once with PUNCTUAL_WRITE_GOLDEN set.
        if std::env::var_os("PUNCTUAL_WRITE_GOLDEN").is_some() && std::fs::metadata(&path).is_err() {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(&path, &record).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(record, golden, "the layout of {name} has changed: that takes a new version byte");
    }
}

#[test]
fn fields_of_a_later_build_are_passed_over() {
    let run = finished_noop();
    let record = encode_run(&run);
    // The array has 12 elements; a later build appends the reserved thirteenth (empty) and a fourteenth.
    assert_eq!(record[1], 0x8c);
    let mut later = record.clone();
    later[1] = 0x8e;
    later.extend([0xa0, 0x63, b'n', b'e', b'w']);
    assert_eq!(decode_run(run.id, &later), Ok(run));
}

/// A schedule of a kind that a later build may have: the definition is asked then.
#[test]
fn a_timing_that_is_not_understood_is_none_and_the_head_is_read() {
    let mut record = encode_head(&timed_head());
    // The map of the timing begins with its schedules (0), of which the first is a cron (0) of three parts.
    let begin = [0x00, 0x83, 0x82, 0x00, 0x83];
    let at = record.windows(begin.len()).position(|bytes| bytes == begin).unwrap();
    record[at + 3] = 0x17;
    assert_eq!(decode_head(&record), Ok(full_head()));
}

#[test]
fn a_local_state_that_cannot_be_read_is_none_and_in_nobodys_way() {
    let run = later_run();
    let mut record = encode_run(&run);
    let text = br#"{"hooks""#;
    let at = record.windows(text.len()).position(|bytes| bytes == text).unwrap();
    record[at] = b'!';
    assert_eq!(decode_run(run.id, &record), Ok(Run { local: Value::Null, ..run }));
}

#[test]
fn what_is_no_record_is_an_error_that_says_why() {
    let id = finished_noop().id;
    assert_eq!(decode_run(id, &[]), Err(Unreadable::Empty));
    assert_eq!(decode_run(id, &[2, 0]), Err(Unreadable::Version(2)));
    let mut long = encode_run(&finished_noop());
    long.push(0);
    assert!(matches!(decode_run(id, &long), Err(Unreadable::Content(_))));
    assert!(matches!(decode_task(&[1, b'{']), Err(Unreadable::Content(_))));
}
