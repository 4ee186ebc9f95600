//! One task of a daemon, as `task show` tells of it.

use super::client::Ask;
use super::find::{self, Task};
use super::quote;
use super::target::Target;
use super::task::{meaning, status};
use crate::cli::error::CliError;
use crate::cli::run_report;
use crate::cli::table::printable;
use crate::cli::{Output, OutputArg, print_json, print_text};
use clap::Args;
use punctual::model::{Parameters, Work};
use punctual_server::wire;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Runs that `task show` lists.
const SHOWN_RUNS: usize = 5;

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The task, by name, id, or a beginning of its id
    task: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArg,
}

impl Show {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let client = self.target.client()?;
        let task = find::task(&client, &self.task).await?;
        let id = task.id.to_string();
        let counts: wire::RunCounts = client.ask(Ask::get(&["tasks", &id, "counts"])).await?;
        let runs = super::run::listed(&client, Some(&id), &[], SHOWN_RUNS).await?;
        match self.output.output {
            Output::Json => {
                let mut value = json!(task);
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("counts".into(), json!(counts));
                    fields.insert("runs".into(), json!(runs));
                }
                print_json(&value)
            }
            Output::Text => {
                let mut text = full(&task);
                text.push_str(&meaning(&task));
                if !runs.is_empty() {
                    let _ = writeln!(text, "{:<14} {}", "runs", numbers(&counts));
                    text.push_str(&run_report::table(&runs));
                }
                print_text(&text)
            }
        }
    }
}

/// `2 queued, 98 succeeded, 1 failed`, in the order of a life.
fn numbers(counts: &wire::RunCounts) -> String {
    let mut told: Vec<String> =
        counts.states.iter().map(|(state, number)| format!("{number} {state}")).collect();
    if counts.more {
        told.push("and older ones".to_owned());
    }
    told.join(", ")
}

/// What the other lines show already.
const TOLD: [&str; 5] = ["name", "status", "schedules", "work", "parameters"];

fn full(task: &Task) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<14} {}", printable(&value));
        }
    };
    line("task", find::name(task).unwrap_or_default().to_owned());
    line("id", format!("{}, revision {}", task.id, task.revision));
    line("status", status(task).to_owned());
    if let wire::Owner::File(path) = &task.owner {
        line("file", path.clone());
    }
    line("work", work(task.spec.get("work").unwrap_or(&Value::Null)));
    if let Some(declared) = task.spec.get("parameters") {
        let known = serde_json::from_value::<wire::Parameters>(declared.clone()).map(Parameters::from);
        line("parameters", known.map_or_else(|_| declared.to_string(), |known| known.to_string()));
    }
    for (name, value) in task.spec.as_object().into_iter().flatten() {
        if !TOLD.contains(&name.as_str()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line(name, value);
        }
    }
    let progress = &task.progress;
    line("last", progress.last_status.map(|state| state.to_string()).unwrap_or_default());
    line("last error", progress.last_error.clone().unwrap_or_default());
    let paused = progress.paused_after.map(|failures| format!("after {failures} failures in a row"));
    line("paused", paused.unwrap_or_default());
    text
}

/// The work as it can be typed again.
fn work(work: &Value) -> String {
    let known = serde_json::from_value(work.clone());
    match known {
        Ok(wire::Work::Process(wire::Process { argv, .. })) => quote::words(argv),
        Ok(wire::Work::Shell(wire::Shell { script, interpreter, .. })) => {
            let interpreter = interpreter.unwrap_or_else(|| Work::SHELL.map(str::to_owned).to_vec());
            quote::words(interpreter.into_iter().chain([script]))
        }
        Ok(wire::Work::Handler(wire::Handler { name, args })) => format!("handler {name} {args}"),
        Ok(wire::Work::Http(call)) => format!("{} {}", call.method, call.url),
        Err(_) => work.to_string(),
    }
}
