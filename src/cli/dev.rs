//! `dev`: a daemon without any configuration, with tasks that show what it does, told in words.

use super::error::CliError;
use super::log::{self, Told};
use super::serve::{egress, found, left};
use super::stopping::{StopSignals, engine_error, stop};
use super::table::printable;
use super::{doors, print_text, task_file};
use clap::Args;
use jiff::Timestamp;
use punctual::coordinator::WriteOutcome;
use punctual::executor::egress::Cidr;
use punctual::executor::output::Content;
use punctual::prelude::*;
use std::io::IsTerminal;
use std::path::PathBuf;
use tokio::sync::mpsc::UnboundedReceiver;

/// The tasks; the file is also what a reader of the repository looks at.
const TASKS: &str = include_str!("../../examples/tasks.toml");

/// Bytes at the end of a run's output in which its last line is looked for.
const TAIL: usize = 400;

/// Characters of the last line of output that are shown.
const SHOWN: usize = 60;

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Where everything is remembered [default: a directory of yours among the temporary files]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A network that requests of tasks may go to besides the public internet, such as 10.0.0.0/8 or 127.0.0.1; more
    /// than one may be given
    #[arg(long, value_name = "CIDR")]
    allow_egress: Vec<Cidr>,
}

impl Dev {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let told = log::to_channel()?;
        let mut signals = StopSignals::listen()?;
        let given = self.data.is_some();
        let data = self.data.unwrap_or_else(usual_place);
        let builder = Punctual::builder().data_dir(&data).egress(egress(&self.allow_egress));
        let punctual = builder.start().await.map_err(engine_error)?;
        print_text(&found(&punctual, &data).await?)?;
        for spec in task_file::parse(TASKS).map_err(CliError::failed)? {
            let written = punctual.tasks().upsert(spec).await.map_err(|error| engine_error(error.into()))?;
            print_text(&introduce(&written))?;
        }
        let (server, listening) = doors::open(&punctual, &data, None, "UTC").await?;
        print_text(&listening)?;
        print_text(&hints(&data.display().to_string(), given))?;
        let teller = tokio::spawn(tell(told, punctual.outputs().clone()));
        tokio::select! {
            _ = signals.next() => {}
            error = punctual.failure() => return Err(engine_error(error)),
        }
        print_text("\nstopping; what is at work may end by itself for ten seconds\n")?;
        server.refuse_writes();
        let stopped = stop(punctual, signals).await?;
        server.close().await;
        teller.abort();
        print_text(&left(&stopped.work))?;
        print_text(&format!(
            "\nEverything is in {0}. Look at it:\n  punctual run list --data {0}\n",
            data.display()
        ))
    }
}

/// One place a user, so that a killed `dev` finds everything again without being told where.
fn usual_place() -> PathBuf {
    std::env::temp_dir().join(format!("punctual-dev-{}", rustix::process::getuid().as_raw()))
}

fn introduce(written: &punctual::coordinator::Written) -> String {
    let spec = &written.stored.task.spec;
    let verb = match written.outcome {
        WriteOutcome::Created => "new",
        WriteOutcome::Updated => "changed",
        WriteOutcome::Unchanged => "known",
    };
    let when =
        written.schedule.schedules.first().map(|explained| explained.sentence.as_str()).unwrap_or_default();
    format!("  {verb:<8} {:<10} {when}\n", spec.name)
}

fn hints(data: &str, given: bool) -> String {
    let pid = std::process::id();
    let again = if given { format!("punctual dev --data {data}") } else { "punctual dev".to_owned() };
    format!(
        "\nTry, in another terminal:\n  punctual run now hello --wait --data {data}\n  \
         punctual logs -f slow --data {data}\n  kill -9 {pid}    then `{again}`: nothing is lost, and what was missed is told\n  \
         Ctrl-C          then `punctual run list --data {data}` and `punctual run show RUN --data {data}`\n  \
         punctual next --cron '30 2 * * *' --tz Europe/Berlin --from 2027-03-26T00:00:00Z\n  \
         punctual explain '0 9 * * 1-5'\n\n"
    )
}

/// Shows each line of the engine's log that tells of a run, in words.
async fn tell(mut told: UnboundedReceiver<Told>, outputs: punctual::executor::Outputs) {
    let colour =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    while let Some(told) = told.recv().await {
        if let Some(line) = line(&told, &outputs, colour) {
            // A terminal that went away is no reason to stop working.
            let _ = print_text(&line);
        }
    }
}

fn line(told: &Told, outputs: &punctual::executor::Outputs, colour: bool) -> Option<String> {
    let (mark, code, text) = match told.message.as_str() {
        "attempt ended" => ended(told, outputs),
        "due time without a run" => ("–", 33, format!("{}: {}", told.get("state"), told.get("reason"))),
        message if told.level <= tracing::Level::WARN => {
            ("!", 31, format!("{message} {}", told.get("error")))
        }
        _ => return None,
    };
    let now =
        jiff::fmt::strtime::format("%H:%M:%S", wall().to_zoned(jiff::tz::TimeZone::system()).datetime())
            .ok()?;
    let mark = if colour { format!("\x1b[{code}m{mark}\x1b[0m") } else { mark.to_owned() };
    Some(format!("{now}  {mark} {:<10} {}\n", told.get("task.name"), printable(&text)))
}

fn wall() -> Timestamp {
    super::expression::now().unwrap_or_default()
}

fn ended(told: &Told, outputs: &punctual::executor::Outputs) -> (&'static str, u8, String) {
    let attempt = told.get("attempt");
    let which = if attempt == "1" { String::new() } else { format!(" at attempt {attempt}") };
    let error = told.get("error");
    match told.get("state") {
        "succeeded" => {
            let last =
                told.get("run.id").parse().ok().and_then(|run| last_line(outputs, run)).unwrap_or_default();
            ("✓", 32, format!("succeeded{which} in {:<8} {last}", short(told.get("took"))))
        }
        state @ ("scheduled" | "queued") => {
            ("↻", 33, format!("attempt {attempt} ended ({error}); {state} for the next one"))
        }
        state => ("✗", 31, format!("{state}{which}: {error}")),
    }
}

/// A duration as the log has it (`12.345678ms`), to three digits or so.
fn short(took: &str) -> String {
    let digits = took.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    match took[..digits].parse::<f64>() {
        Ok(number) if number < 10.0 => format!("{number:.1} {}", &took[digits..]),
        Ok(number) => format!("{number:.0} {}", &took[digits..]),
        Err(_) => took.to_owned(),
    }
}

/// The last line that a run wrote.
fn last_line(outputs: &punctual::executor::Outputs, run: RunId) -> Option<String> {
    let frames = outputs.tail(run, TAIL).ok()?;
    let mut bytes = Vec::new();
    for frame in &frames {
        match &frame.content {
            Content::Bytes { .. } => bytes.extend_from_slice(&frame.content.show()),
            Content::Dropped(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.chars().take(SHOWN).collect())
}
