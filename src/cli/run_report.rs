//! Runs as text, wherever they come from.

use super::table::{Table, printable};
use jiff::{SignedDuration, Timestamp, TimestampRound, Unit};
use punctual_server::wire::{Run, Usage};
use serde_json::Value;
use std::fmt::Write;

/// How long the last attempt took, or has taken.
fn took(run: &Run) -> Option<SignedDuration> {
    Some(run.finished_at?.duration_since(run.started_at?))
}

/// One run in a line: how it ended.
pub(crate) fn line(run: &Run) -> String {
    let took = took(run).map(|took| format!(" in {}", short(took))).unwrap_or_default();
    let why = if run.why.is_empty() { String::new() } else { format!(": {}", printable(&run.why)) };
    format!("run {} of {} {}{took}{why}", run.id, printable(&run.task_name), run.state)
}

/// A duration as a person says it: three digits are enough.
pub(crate) fn short(duration: SignedDuration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{}m{:02}s", (s / 60.0) as u64, s as u64 % 60),
        s => format!("{}h{:02}m", (s / 3600.0) as u64, s as u64 / 60 % 60),
    }
}

fn cpu(usage: &Usage) -> String {
    let said = |time| short(SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX));
    format!("{} user, {} system", said(usage.user), said(usage.system))
}

/// Bytes as a person says them.
fn size(bytes: u64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    match bytes as f64 / MIB {
        mib if mib < 1024.0 => format!("{mib:.1} MiB"),
        mib => format!("{:.1} GiB", mib / 1024.0),
    }
}

/// An instant to the second, in UTC.
pub(crate) fn instant(at: Timestamp) -> String {
    let second = TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc);
    at.round(second).unwrap_or(at).to_string()
}

/// Many runs, for people.
pub(crate) fn table(runs: &[Run]) -> String {
    let mut table =
        Table::new(["RUN", "TASK", "STATE", "SCHEDULED FOR", "ATTEMPTS", "TOOK", "TRIGGER", "WHY"]);
    for run in runs {
        table.row([
            run.id.to_string(),
            printable(&run.task_name),
            run.state.to_string(),
            instant(run.scheduled_for),
            run.life.attempt.to_string(),
            took(run).map(short).unwrap_or_default(),
            run.trigger.to_string(),
            printable(&run.why),
        ]);
    }
    table.to_string()
}

/// One run, for people.
pub(crate) fn full(run: &Run) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<14} {value}");
        }
    };
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    line("run", run.id.to_string());
    line("task", format!("{} ({}, revision {})", printable(&run.task_name), run.task, run.revision));
    line("state", run.state.to_string());
    line("why", printable(&run.why));
    line("trigger", run.trigger.to_string());
    line("scheduled for", run.scheduled_for.to_string());
    line("run at", run.run_at.to_string());
    line("accepted", run.accepted_at.to_string());
    line("started", at(run.started_at));
    line("finished", at(run.finished_at));
    line("took", took(run).map(short).unwrap_or_default());
    line("attempts", run.life.attempt.to_string());
    if let Some(outcome) = &run.outcome {
        line("exit", outcome.exit.map(|exit| exit.to_string()).unwrap_or_default());
        line("result", outcome.result.as_ref().map(Value::to_string).unwrap_or_default());
        if let Some(output) = outcome.output {
            let dropped =
                if output.dropped > 0 { format!(", {} dropped", output.dropped) } else { String::new() };
            line("output", format!("{} bytes{dropped}", output.bytes));
        }
        if let Some(usage) = outcome.usage {
            line("cpu", cpu(&usage));
            line("memory", format!("{} at most in one process", size(usage.memory)));
        }
    }
    if let Some(usage) = run.usage {
        line("cpu so far", cpu(&usage));
        line("memory now", size(usage.memory));
    }
    line("trace", run.trace.map(|trace| trace.to_string()).unwrap_or_default());
    line("params", if run.params.is_null() { String::new() } else { run.params.to_string() });
    line("key", run.idempotency_key.as_deref().map(printable).unwrap_or_default());
    if !run.events.is_empty() {
        let _ = writeln!(text, "events");
        for (n, event) in run.events.iter().enumerate() {
            if n == Run::FIRST_EVENTS && run.events_dropped > 0 {
                let _ = writeln!(text, "  … {} more", run.events_dropped);
            }
            let _ = writeln!(text, "  {}  {}", event.at, printable(&event.text));
        }
    }
    text
}
