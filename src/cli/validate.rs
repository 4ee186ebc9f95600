//! `task validate`: checks task files as the daemon would, without one.

use super::error::{CliError, Exit};
use super::expression::now;
use super::{Output, print_json, print_text, task_file};
use punctual::coordinator::{ScheduleReport, check};
use punctual::model::TaskSpec;
use punctual::scheduler::schedule::Zone;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

pub(crate) fn run(paths: &[PathBuf], output: Output) -> Result<(), CliError> {
    let now = now()?;
    let zone = Zone::utc();
    let mut tasks = Vec::new();
    let mut errors = Vec::new();
    for path in paths {
        match task_file::read_all(path) {
            Err(error) => errors.push(error),
            Ok(files) => {
                for file in files {
                    for spec in file.tasks {
                        match check(&spec, &zone, now) {
                            Ok(report) => tasks.push((file.path.clone(), spec, report)),
                            Err(error) => {
                                errors.push(format!(
                                    "{}: task {:?}: {error}",
                                    file.path.display(),
                                    spec.name
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    match output {
        Output::Json => print_json(&json!({
            "valid": errors.is_empty(),
            "tasks": tasks.iter().map(|(path, spec, report)| task_json(path, spec, report)).collect::<Vec<_>>(),
            "errors": errors,
        }))?,
        Output::Text => {
            let mut text = String::new();
            for (_, spec, report) in &tasks {
                write_task(&mut text, spec, report);
            }
            if errors.is_empty() {
                let _ = writeln!(text, "{}", count(tasks.len(), "task", "all valid"));
            }
            print_text(&text)?;
        }
    }
    match errors.len() {
        0 => Ok(()),
        n => {
            let text = format!(
                "{}:\n  {}",
                count(n, "mistake", "so nothing of it would be applied"),
                errors.join("\n  ")
            );
            Err(CliError::new(Exit::Usage, text))
        }
    }
}

/// `1 task, all valid`, `no tasks`.
fn count(n: usize, noun: &str, more: &str) -> String {
    match n {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}, {more}"),
        n => format!("{n} {noun}s, {more}"),
    }
}

fn task_json(path: &std::path::Path, spec: &TaskSpec, report: &ScheduleReport) -> Value {
    json!({
        "file": path,
        "name": spec.name,
        "timezone": report.zone,
        "parameters": spec.parameters,
        "schedules": report.schedules.iter().map(|explained| json!({
            "normalised": explained.normalised,
            "sentence": explained.sentence,
            "warnings": explained.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "next": report.next.iter().map(|preview| preview.at.to_string()).collect::<Vec<_>>(),
    })
}

/// A task with what its schedule means, for people.
pub(crate) fn write_task(text: &mut String, spec: &TaskSpec, report: &ScheduleReport) {
    let _ = writeln!(text, "{}", spec.name);
    for explained in &report.schedules {
        let _ = writeln!(text, "  {}", explained.sentence);
        for warning in &explained.warnings {
            let _ = writeln!(text, "  note: {warning}");
        }
    }
    match report.next.first() {
        Some(next) => {
            let _ = writeln!(text, "  next {next}");
        }
        None if report.schedules.is_empty() => {
            let _ = writeln!(text, "  runs only when told to");
        }
        None => {}
    }
    if !spec.parameters.is_empty() {
        let _ = writeln!(text, "  parameters: {}", spec.parameters);
    }
}
