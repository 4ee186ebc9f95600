//! `status`: how a daemon is, on one screen.

use super::client::Ask;
use super::target::Target;
use crate::cli::error::{CliError, Exit};
use crate::cli::run_report::{instant, short};
use crate::cli::table::printable;
use crate::cli::{Output, OutputArg, print_json, print_text};
use clap::Args;
use punctual_server::wire;
use serde_json::{Value, json};
use std::fmt::Write;

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArg,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let answer: Value = self.target.client()?.ask(Ask::get(&["health"])).await?;
        let understood = serde_json::from_value::<wire::Health>(answer.clone());
        match self.output.output {
            Output::Json => print_json(&json!(answer))?,
            Output::Text => {
                let health = understood.as_ref().map_err(|error| {
                    CliError::failed(format_args!("the answer is of another version: {error}"))
                })?;
                print_text(&screen(health))?;
            }
        }
        match answer.get("status").and_then(Value::as_str) {
            Some("ok") => Ok(()),
            _ => Err(CliError::silent(Exit::Failed as u8)),
        }
    }
}

fn screen(health: &wire::Health) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<14} {value}");
    };
    line("status", health.status.clone());
    line("version", health.version.clone());
    line(
        "time",
        format!(
            "{}; zone {}, zones from {}",
            instant(health.now),
            health.time_zones.default,
            health.time_zones.source
        ),
    );
    let scheduler = &health.scheduler;
    line("active tasks", format!("{}, {} with a next due time", scheduler.tasks, scheduler.waiting));
    line("next due", scheduler.next_run_at.map_or("none".to_owned(), instant));
    line(
        "unrecorded due",
        match health.oldest_unrecorded_due {
            None => "none".to_owned(),
            Some(due) => format!("since {} ({})", instant(due), short(health.now.duration_since(due))),
        },
    );
    line("runs", format!("{} at work, {} waiting", health.runs.at_work, health.runs.waiting));
    line("store", format!("{} commits for {} requests", health.store.commits, health.store.requests));
    for task in &health.unschedulable {
        line("unschedulable", format!("{} ({}): {}", task.name, task.task, printable(&task.reason)));
    }
    for record in &health.quarantined {
        line("quarantined", format!("{} {}: {}", record.kind, record.key, printable(&record.reason)));
    }
    text
}
