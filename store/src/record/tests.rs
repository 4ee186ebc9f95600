use super::*;
use crate::ledger::{Digest, Head, HeadStatus, Meta};
use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use punctual_model::event::{Event, EventKind, EventLog};
use punctual_model::outcome::OutputSummary;
use punctual_model::overlap::SkipWhy;
use punctual_model::restart::{RestartCount, RestartPolicy};
use punctual_model::schedule::{Cron, DstGap, DstOverlap, Every};
use punctual_model::state::{Missed, MissedWhy};
use punctual_model::task::{Concurrency, Kill, Metadata};
use punctual_model::*;
use serde_json::{Value, json};
use std::time::Duration;

const NOON: Timestamp = Timestamp::constant(1_767_268_800, 0);

/// An id as the generator makes it, `after` the given time after noon.
fn run_id(after: Duration) -> RunId {
    let millis = (NOON.as_millisecond() - 1_577_836_800_000) as u64 + after.as_millis() as u64;
    RunId::new(millis << 22 | 7).unwrap()
}

/// A run of a handler without arguments that was due at noon and ended at once: the common case.
fn finished_noop() -> Run {
    let at = |micros: i64| NOON + SignedDuration::from_nanos(micros * 1_000 + 123);
    Run {
        id: run_id(Duration::from_millis(1)),
        task: TaskId::new(run_id(Duration::ZERO).get() - (1 << 40)).unwrap(),
        revision: 3,
        trigger: Trigger::Schedule,
        scheduled_for: NOON,
        run_at: NOON,
        accepted_at: at(1_400),
        life: Life { state: RunState::Succeeded, attempt: 1, epoch: 12 },
        started_at: Some(at(1_900)),
        finished_at: Some(at(2_600)),
        forced: false,
        params: Value::Null,
        idempotency_key: None,
        trace: None,
        usage: None,
        restarts: RestartCount::default(),
        outcome: Some(Outcome::success()),
        saved: Value::Null,
        local: Value::Null,
        events: EventLog::default(),
    }
}

/// The kinds of events that came after the first ones.
fn later_kinds() -> Vec<EventKind> {
    let text = |text: &str| text.to_owned();
    vec![
        EventKind::Setup { text: text("a user is looked up") },
        EventKind::SetupFailed { error: text("no such user") },
        EventKind::BuildingDirectory,
        EventKind::DownloadingArtifacts { count: 2 },
        EventKind::ArtifactFailed { artifact: text("https://example.org/a"), error: text("404") },
        EventKind::DriverFailed { error: text("no room") },
        EventKind::Started { attempt: 1, pid: None },
        EventKind::Started { attempt: 2, pid: Some(4711) },
        EventKind::Terminated { attempt: 1, exit: Some(Exit::Signal(9)), message: text("core dumped") },
        EventKind::Terminated { attempt: 2, exit: None, message: String::new() },
        EventKind::OutOfMemory { attempt: 2 },
        EventKind::Killing { signal: text("SIGTERM"), grace: Duration::new(5, 1) },
        EventKind::Signaling { signal: text("SIGHUP"), reason: String::new() },
        EventKind::Signaling { signal: text("SIGHUP"), reason: text("a new certificate") },
        EventKind::HookFailed { phase: text("prestart"), hook: text("warm"), error: text("exit code 1") },
        EventKind::ShutdownDelay { delay: Duration::from_secs(2) },
        EventKind::ShutdownDelaySkipped { reason: text("it has ended") },
        EventKind::RestoreFailed { error: text("no such process") },
        EventKind::Updated { revision: 7 },
        EventKind::UpdateDeferred { revision: 8, parts: text("another program") },
        EventKind::LimitsApplied { layer: text("a control group") },
        EventKind::TaskPaused { failures: 3 },
    ]
}

/// A run that uses the fields that came after the first ones.
fn later_run() -> Run {
    let at = |secs| NOON + SignedDuration::from_secs(secs);
    let mut events = EventLog::default();
    for (n, kind) in later_kinds().into_iter().enumerate() {
        events.push(Event { at: at(n as i64), kind });
    }
    Run {
        life: Life { state: RunState::Running, attempt: 2, epoch: 12 },
        restarts: RestartCount { count: 1, window_start: Some(at(5)), first_start: Some(at(1)) },
        local: json!({"hooks": {"warm": {"done": true}}}),
        finished_at: None,
        outcome: None,
        events,
        ..finished_noop()
    }
}

/// A run that tells of the end of another one.
fn told_run() -> Run {
    let cause = RunId::new(99).unwrap();
    Run {
        trigger: Trigger::OnFailure { of: cause },
        params: json!({"cause_run": "0000000000000063"}),
        ..finished_noop()
    }
}

/// A run with a trace of its caller's and what its work has taken.
fn traced_run() -> Run {
    let user = Duration::from_micros(1_250);
    let usage = Some(Usage { user, system: Duration::from_secs(2), memory: 3 << 20 });
    Run {
        trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
        outcome: Some(Outcome { usage, ..Outcome::success() }),
        ..finished_noop()
    }
}

/// A run that uses every field of the first layout.
fn full_run() -> Run {
    let at = |secs| NOON + SignedDuration::from_secs(secs);
    let kinds = [
        EventKind::Restarting {
            attempt: 1,
            end: "exit code 1".into(),
            reason: "restart 1 of 3".into(),
            delay: Duration::new(15, 250_000_000),
        },
        EventKind::NotRestarting { reason: "no restarts left".into() },
        EventKind::Stopping { why: StopWhy::Timeout },
        EventKind::Killed,
        EventKind::KillFailed { error: "ESRCH".into() },
        EventKind::Interrupted { attempt: 2 },
        EventKind::LostAttempt { attempt: 3 },
        EventKind::Reattached,
        EventKind::OutputFailed { error: "ENOSPC".into() },
        EventKind::Message { source: "driver".into(), text: "größer".into() },
    ];
    let mut events = EventLog::default();
    for round in 0..4 {
        for (n, kind) in kinds.iter().enumerate() {
            events.push(Event { at: at(round * 10 + n as i64), kind: kind.clone() });
        }
    }
    Run {
        trigger: Trigger::Retry { of: RunId::new(99).unwrap() },
        run_at: at(60),
        life: Life {
            state: RunState::Stopping { why: StopWhy::Replaced, since: at(70) },
            attempt: 4,
            epoch: 13,
        },
        forced: true,
        params: json!({"a": [1, 2.5, null], "b": "ü"}),
        idempotency_key: Some("key-1".into()),
        restarts: RestartCount { count: 3, window_start: Some(at(5)), first_start: None },
        outcome: Some(Outcome {
            exit: Some(Exit::Signal(15)),
            error: Some(Failure::new(FailureKind::Timeout, "took longer than 5s").recoverable()),
            result: Some(Value::Null),
            output: Some(OutputSummary { bytes: 10 << 20, dropped: 17 }),
            usage: None,
        }),
        saved: json!({"page": 7}),
        events,
        ..finished_noop()
    }
}

fn full_task() -> Task {
    let spec = TaskSpec {
        description: "copies the day".into(),
        labels: [("team".to_owned(), "data".to_owned())].into(),
        status: TaskStatus::Paused,
        schedules: vec![
            Schedule::Cron(Cron {
                expr: "30 2 * * 1-5".into(),
                dst_gap: DstGap::Skip,
                dst_overlap: DstOverlap::Both,
            }),
            Schedule::Every(Every { interval: Duration::from_secs(90), anchor: Some(NOON) }),
            Schedule::At(NOON),
        ],
        timezone: Some("Europe/Berlin".into()),
        offset: SignedDuration::from_secs(-90),
        jitter: Duration::from_secs(30),
        splay: Duration::from_millis(1500),
        grace: Duration::from_secs(20),
        catch_up: CatchUp { policy: CatchUpPolicy::All, limit: 7, ..CatchUp::default() },
        overlap: Overlap::QueueAll { max: 5 },
        concurrency: Some(Concurrency { limit: 2, key: Some("db".into()) }),
        priority: -3,
        restart: RestartPolicy::attempts(3, Duration::from_secs(1)),
        idempotent: true,
        timeout: Some(Duration::from_secs(3600)),
        kill: Kill { signal: "INT".into(), grace: Duration::from_secs(9) },
        retention: punctual_model::task::Retention { runs: 5, age: Duration::from_secs(60) },
        max_output: 1 << 10,
        ..TaskSpec::new("copy", Work::process(["cp", "-r", "a", "b"]))
    };
    let mut metadata = Metadata::new();
    metadata.insert("check".into(), json!({"level": 0.1}));
    Task {
        id: TaskId::new(0x0123_4567_89ab_cdef).unwrap(),
        kind: TaskType::new("checks"),
        revision: 4,
        created_at: NOON,
        updated_at: NOON + SignedDuration::from_nanos(1),
        owner: Owner::File("/etc/punctual/copy.toml".into()),
        metadata,
        spec,
    }
}

fn full_head() -> Head {
    let at = |secs| Some(NOON + SignedDuration::from_secs(secs));
    Head {
        revision: 4,
        oldest_revision: 2,
        status: HeadStatus::Paused,
        digest: Digest::of(&full_task().spec),
        progress: TaskProgress {
            checkpoint: at(0),
            latest_scheduled: at(1),
            latest_completed: at(2),
            latest_success: at(3),
            latest_failure: at(4),
            last_status: Some(RunStateName::Failed),
            last_error: Some("exit code 1".into()),
            last_finished_at: at(5),
            failures_in_row: 0,
            failing: false,
            paused_after: None,
        },
        kept_runs: 100,
        kept_marks: 3,
        history_from: Some(run_id(Duration::ZERO)),
    }
}

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

fn all_states() -> Vec<RunState> {
    vec![
        RunState::Scheduled { at: NOON },
        RunState::Queued,
        RunState::Starting,
        RunState::Running,
        RunState::Stopping { why: StopWhy::Deleted, since: NOON },
        RunState::Succeeded,
        RunState::Failed,
        RunState::TimedOut,
        RunState::Canceled { why: CancelWhy::Replaced },
        RunState::Lost { why: LostWhy::Vanished },
        RunState::Skipped { why: SkipWhy::Unfinished(run_id(Duration::ZERO)) },
        RunState::Missed(Missed {
            from: NOON,
            to: NOON + SignedDuration::from_hours(5),
            count: 300,
            at_least: true,
            why: MissedWhy::OutsideWindow,
        }),
    ]
}

prop_compose! {
    fn instant()(near in any::<bool>(), nanos in -10_000_000_000i128..10_000_000_000, far in
        Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond()) -> Timestamp {
        Timestamp::from_nanosecond(if near { NOON.as_nanosecond() + nanos } else { far }).unwrap()
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
    let stop =
        proptest::sample::select(&[StopWhy::Cancel, StopWhy::Timeout, StopWhy::Replaced, StopWhy::Deleted]);
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
    fn every_head_reads_back_as_it_was(
        at in option::of(instant()),
        error in option::of(any::<String>()),
        numbers in any::<(u64, u64, bool, i8, u32)>(),
        age in any::<Duration>(),
        from in option::of(1u64..),
    ) {
        let mut head = full_head();
        let (revision, kept_runs, serial, priority, rate) = numbers;
        head.revision = revision;
        head.kept_runs = kept_runs;
        head.digest = Digest { serial, priority, catch_up_rate: rate.max(1), shared: None, ..head.digest };
        head.digest.retention.age = age;
        head.progress.checkpoint = at;
        head.progress.last_error = error;
        (head.progress.failures_in_row, head.progress.paused_after) = (rate, from.map(|_| rate));
        head.digest.pause_after = from.map(|_| rate);
        head.history_from = from.and_then(RunId::new);
        prop_assert_eq!(decode_head(&encode_head(&head)), Ok(head));
    }
}
