//! Records as they are in life, written out.

use crate::ledger::{Digest, Head, HeadStatus};
use jiff::{SignedDuration, Timestamp};
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

pub(super) const NOON: Timestamp = Timestamp::constant(1_767_268_800, 0);

/// An id as the generator makes it, `after` the given time after noon.
pub(super) fn run_id(after: Duration) -> RunId {
    let millis = (NOON.as_millisecond() - 1_577_836_800_000) as u64 + after.as_millis() as u64;
    RunId::new(millis << 22 | 7).unwrap()
}

/// A run of a handler without arguments that was due at noon and ended at once: the common case.
pub(super) fn finished_noop() -> Run {
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
pub(super) fn later_kinds() -> Vec<EventKind> {
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
pub(super) fn later_run() -> Run {
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
pub(super) fn told_run() -> Run {
    let cause = RunId::new(99).unwrap();
    Run {
        trigger: Trigger::OnFailure { of: cause },
        params: json!({"cause_run": "0000000000000063"}),
        ..finished_noop()
    }
}

/// A run with a trace of its caller's and what its work has taken.
pub(super) fn traced_run() -> Run {
    let user = Duration::from_micros(1_250);
    let usage = Some(Usage { user, system: Duration::from_secs(2), memory: 3 << 20 });
    Run {
        trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
        outcome: Some(Outcome { usage, ..Outcome::success() }),
        ..finished_noop()
    }
}

/// A run that uses every field of the first layout.
pub(super) fn full_run() -> Run {
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

pub(super) fn full_task() -> Task {
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

/// A head that knows the type of its task.
pub(super) fn typed_head() -> Head {
    Head { digest: digest(), ..full_head() }
}

/// A head that keeps what decides the dues of its task, of a build that kept no type.
pub(super) fn timed_head() -> Head {
    Head { digest: Digest { kind: None, ..digest() }, ..full_head() }
}

fn digest() -> Digest {
    let task = full_task();
    Digest::of(&task.kind, &task.spec)
}

/// A head that uses every field of the first layout.
pub(super) fn full_head() -> Head {
    let at = |secs| Some(NOON + SignedDuration::from_secs(secs));
    Head {
        revision: 4,
        oldest_revision: 2,
        status: HeadStatus::Paused,
        digest: Digest { timing: None, kind: None, ..digest() },
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

pub(super) fn all_states() -> Vec<RunState> {
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
