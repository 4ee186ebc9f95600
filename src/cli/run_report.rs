//! Runs as text and as JSON.

use super::table::{Table, printable};
use jiff::{SignedDuration, Timestamp, TimestampRound, Unit};
use punctual::model::{Run, RunState, Trigger};
use serde_json::{Value, json};
use std::fmt::Write;

/// One word for the state, and where it helps one more.
pub(crate) fn state(run: &Run) -> String {
    run.state().name().to_string()
}

/// Why the run is where it is, in a few words: the failure, or the reason that its state carries.
pub(crate) fn why(run: &Run) -> String {
    let outcome = run.outcome.as_ref();
    let failure = outcome.and_then(|outcome| outcome.error.as_ref()).map(|failure| failure.message.clone());
    let exit = outcome.and_then(|outcome| outcome.exit).map(|exit| exit.to_string());
    let text = match run.state() {
        RunState::Succeeded => return String::new(),
        RunState::Failed | RunState::TimedOut => failure.or(exit).unwrap_or_default(),
        state => state.reason().or(failure).unwrap_or_default(),
    };
    printable(&text)
}

/// How long the last attempt took, or has taken.
pub(crate) fn took(run: &Run) -> Option<SignedDuration> {
    Some(run.finished_at?.duration_since(run.started_at?))
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

/// An instant to the second, in UTC.
pub(crate) fn instant(at: Timestamp) -> String {
    let second = TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc);
    at.round(second).unwrap_or(at).to_string()
}

pub(crate) fn trigger(trigger: Trigger) -> String {
    match trigger {
        Trigger::Retry { of } => format!("retry of {of}"),
        Trigger::Resume { of } => format!("resume of {of}"),
        other => other.as_str().to_owned(),
    }
}

/// Many runs, for people.
pub(crate) fn table(runs: &[(Run, String)]) -> String {
    let mut table =
        Table::new(["RUN", "TASK", "STATE", "SCHEDULED FOR", "ATTEMPTS", "TOOK", "TRIGGER", "WHY"]);
    for (run, task) in runs {
        table.row([
            run.id.to_string(),
            task.clone(),
            state(run),
            instant(run.scheduled_for),
            run.life.attempt.to_string(),
            took(run).map(short).unwrap_or_default(),
            trigger(run.trigger),
            why(run),
        ]);
    }
    table.to_string()
}

/// One run, for people.
pub(crate) fn full(run: &Run, task: &str) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<14} {value}");
        }
    };
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    line("run", run.id.to_string());
    line("task", format!("{task} ({}, revision {})", run.task, run.revision));
    line("state", state(run));
    line("why", why(run));
    line("trigger", trigger(run.trigger));
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
    }
    line("params", if run.params.is_null() { String::new() } else { run.params.to_string() });
    line("key", run.idempotency_key.as_deref().map(printable).unwrap_or_default());
    if !run.events.is_empty() {
        let _ = writeln!(text, "events");
        let first = run.events.first().len();
        for (n, event) in run.events.iter().enumerate() {
            if n == first && run.events.dropped() > 0 {
                let _ = writeln!(text, "  … {} more", run.events.dropped());
            }
            let _ = writeln!(text, "  {}  {}", event.at, printable(&event.kind.text()));
        }
    }
    text
}

/// One run, for programs.
pub(crate) fn json(run: &Run, task: &str) -> Value {
    let mut value = serde_json::to_value(run).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("task_name".into(), json!(task));
        fields.insert("state".into(), json!(run.state().name()));
        fields.insert("why".into(), json!(why(run)));
    }
    value
}
