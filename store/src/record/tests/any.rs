//! Whatever is written reads back, and nothing that is read panics.

use super::samples::{NOON, all_states, full_head};
use super::*;
use crate::ledger::{Digest, kind_name};
use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use punctual_model::event::{Event, EventKind, EventLog};
use punctual_model::outcome::OutputSummary;
use punctual_model::overlap::SkipWhy;
use punctual_model::restart::RestartCount;
use punctual_model::schedule::{Cron, DstGap, DstOverlap, Every};
use punctual_model::state::{Missed, MissedWhy};
use punctual_model::*;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

prop_compose! {
    fn instant()(near in any::<bool>(), nanos in -10_000_000_000i128..10_000_000_000, far in
        Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond()) -> Timestamp {
        Timestamp::from_nanosecond(if near { NOON.as_nanosecond() + nanos } else { far }).unwrap()
    }
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let gap = proptest::sample::select(&[DstGap::RunAtEnd, DstGap::Skip]);
    let overlap = proptest::sample::select(&[DstOverlap::First, DstOverlap::Second, DstOverlap::Both]);
    let cron = (any::<String>(), gap, overlap)
        .prop_map(|(expr, dst_gap, dst_overlap)| Schedule::Cron(Cron { expr, dst_gap, dst_overlap }));
    let every = (any::<Duration>(), option::of(instant()))
        .prop_map(|(interval, anchor)| Schedule::Every(Every { interval, anchor }));
    prop_oneof![cron, every, instant().prop_map(Schedule::At)]
}

prop_compose! {
    fn timing()(
        schedules in vec(schedule(), 0..4),
        timezone in option::of(any::<String>()),
        offset in (any::<i64>(), 0i32..1_000_000_000),
        spans in any::<(bool, Duration, Duration, Duration)>(),
    ) -> Arc<Timing> {
        let (plain, jitter, splay, grace) = spans;
        let timing = Timing { schedules, timezone, ..Timing::default() };
        let offset = SignedDuration::new(offset.0, offset.1 * if offset.0 < 0 { -1 } else { 1 });
        Arc::new(if plain { timing } else { Timing { offset, jitter, splay, grace, ..timing } })
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no infinities", |f| f.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn state() -> impl Strategy<Value = RunState> {
    let stop = proptest::sample::select(&[
        StopWhy::Cancel,
        StopWhy::Timeout,
        StopWhy::Replaced,
        StopWhy::Deleted,
        StopWhy::Restart,
    ]);
    let missed =
        (instant(), instant(), any::<u64>(), any::<bool>()).prop_map(|(from, to, count, at_least)| {
            RunState::Missed(Missed { from, to, count, at_least, why: MissedWhy::OverLimit })
        });
    prop_oneof![
        proptest::sample::select(all_states()),
        instant().prop_map(|at| RunState::Scheduled { at }),
        (stop, instant()).prop_map(|(why, since)| RunState::Stopping { why, since }),
        any::<u64>().prop_map(|waiting| RunState::Skipped { why: SkipWhy::QueueFull { waiting } }),
        missed,
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        (any::<u32>(), any::<String>(), any::<u64>(), 0..1_000_000_000u32).prop_map(
            |(attempt, end, secs, nanos)| EventKind::Restarting {
                attempt,
                reason: end.clone(),
                end,
                delay: Duration::new(secs, nanos)
            }
        ),
        any::<u32>().prop_map(|attempt| EventKind::LostAttempt { attempt }),
        Just(EventKind::Reattached),
        any::<(String, String)>().prop_map(|(source, text)| EventKind::Message { source, text }),
        proptest::sample::select(later_kinds()),
    ];
    (instant(), kind).prop_map(|(at, kind)| Event { at, kind })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let exit = prop_oneof![any::<i32>().prop_map(Exit::Code), any::<i32>().prop_map(Exit::Signal)];
    let error = (any::<String>(), any::<bool>()).prop_map(|(message, recoverable)| Failure {
        kind: FailureKind::Panic,
        message,
        recoverable,
    });
    let output = any::<(u64, u64)>().prop_map(|(bytes, dropped)| OutputSummary { bytes, dropped });
    let usage = any::<(u32, u32, u64)>().prop_map(|(user, system, memory)| Usage {
        user: Duration::from_micros(user.into()),
        system: Duration::from_micros(system.into()),
        memory,
    });
    (option::of(exit), option::of(error), option::of(json_value()), option::of(output), option::of(usage))
        .prop_map(|(exit, error, result, output, usage)| Outcome { exit, error, result, output, usage })
}

prop_compose! {
    fn any_run()(
        numbers in any::<(u64, u64, u64, u32, u64, bool)>(),
        trigger in any::<u8>(),
        times in (instant(), instant(), instant(), option::of(instant()), option::of(instant())),
        state in state(),
        params in json_value(),
        saved in json_value(),
        key in option::of(any::<String>()),
        restarts in (any::<u32>(), option::of(instant()), option::of(instant())),
        local in json_value(),
        outcome in option::of(outcome()),
        log in vec(event(), 0..40),
        trace in option::of((1u128.., 1u64.., any::<u8>())),
    ) -> Run {
        let (id, task, revision, attempt, epoch, forced) = numbers;
        let of = RunId::new(task.max(1)).unwrap();
        let mut events = EventLog::default();
        log.into_iter().for_each(|event| events.push(event));
        Run {
            id: RunId::new(id.max(1)).unwrap(),
            task: TaskId::new(task.max(1)).unwrap(),
            revision,
            trigger: match trigger % 7 {
                0 => Trigger::Schedule,
                1 => Trigger::CatchUp,
                2 => Trigger::Manual,
                3 => Trigger::Retry { of },
                4 => Trigger::Resume { of },
                5 => Trigger::OnFailure { of },
                _ => Trigger::OnRecovered { of },
            },
            scheduled_for: times.0,
            run_at: times.1,
            accepted_at: times.2,
            life: Life { state, attempt, epoch },
            started_at: times.3,
            finished_at: times.4,
            forced,
            params,
            idempotency_key: key,
            trace: trace.map(|(trace, span, flags)| TraceParent { trace, span, flags }),
            usage: None,
            restarts: RestartCount { count: restarts.0, window_start: restarts.1, first_start: restarts.2 },
            outcome,
            saved,
            local,
            events,
        }
    }
}

proptest! {
    #[test]
    fn every_run_reads_back_as_it_was(run in any_run()) {
        prop_assert_eq!(decode_run(run.id, &encode_run(&run)), Ok(run));
    }

    #[test]
    fn no_bytes_panic(id in 1u64.., mut bytes in vec(any::<u8>(), 0..200)) {
        let id = RunId::new(id).unwrap();
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        let _ = decode_run(id, &bytes);
        let _ = decode_head(&bytes);
        let _ = decode_meta(&bytes);
        let _ = decode_task(&bytes);
    }

    #[test]
    fn no_damage_to_a_record_panics(run in any_run(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut record = encode_run(&run);
        let at = at.index(record.len());
        record[at] = byte;
        let _ = decode_run(run.id, &record);
        let _ = decode_run(run.id, &record[..at]);
    }

    #[test]
    fn no_damage_to_a_head_panics(timing in timing(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut head = full_head();
        head.digest.timing = Some(timing);
        let mut record = encode_head(&head);
        let at = at.index(record.len());
        record[at] = byte;
        let _ = decode_head(&record);
        let _ = decode_head(&record[..at]);
    }

    #[test]
    fn every_head_reads_back_as_it_was(
        at in option::of(instant()),
        error in option::of(any::<String>()),
        numbers in any::<(u64, u64, bool, i8, u32)>(),
        age in any::<Duration>(),
        from in option::of(1u64..),
        timing in option::of(timing()),
        kind in option::of("[a-z]{1,9}|system"),
    ) {
        let mut head = full_head();
        head.digest.kind = kind.map(|kind| kind_name(&kind));
        let (revision, kept_runs, serial, priority, rate) = numbers;
        head.revision = revision;
        head.kept_runs = kept_runs;
        head.digest = Digest { serial, priority, catch_up_rate: rate.max(1), shared: None, ..head.digest };
        head.digest.retention.age = age;
        head.digest.timing = timing;
        head.progress.checkpoint = at;
        head.progress.last_error = error;
        (head.progress.failures_in_row, head.progress.paused_after) = (rate, from.map(|_| rate));
        head.digest.pause_after = from.map(|_| rate);
        head.history_from = from.and_then(RunId::new);
        prop_assert_eq!(decode_head(&encode_head(&head)), Ok(head));
    }
}
