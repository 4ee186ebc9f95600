//! `store check` and `store repair`: on a data directory that no daemon holds, and never on its original.

use super::error::{CliError, Exit};
use super::expression::now;
use super::stopping::engine_error;
use super::{Output, OutputArg, print_json, print_text};
use clap::{Args, Subcommand};
use punctual::store::fjall::{RepairError, Repaired, Survey, repair, survey};
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Say what a data directory holds and whether a daemon would start on it; changes nothing
    Check(Check),
    /// Copy what can be saved of a damaged data directory, and say what the copy lacks
    Repair(Repair),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The data directory; no daemon may be at work on it
    #[arg(long, value_name = "DIR", env = "PUNCTUAL_DATA")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The data directory; no daemon may be at work on it, and nothing in it is changed
    #[arg(long, value_name = "DIR", env = "PUNCTUAL_DATA")]
    data: PathBuf,
    /// Where the copy is made: an empty directory, or a path where there is nothing
    #[arg(long, value_name = "COPY")]
    to: PathBuf,
    #[command(flatten)]
    output: OutputArg,
}

impl StoreCommand {
    pub(crate) fn run(self) -> Result<(), CliError> {
        match self {
            Self::Check(check) => check.run(),
            Self::Repair(repair) => repair.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<(), CliError> {
        let found = survey(&self.data).map_err(failed)?;
        match self.output.output {
            Output::Json => print_json(&json!({
                "sound": found.problem.is_none(),
                "problem": found.problem,
                "sealed_commit": found.sealed,
                "found_commit": found.found,
                "stopped_in_order": found.stopped,
                "journals": found.journals.iter().map(|(name, bytes, problem)| json!({
                    "name": name, "bytes": bytes, "problem": problem,
                })).collect::<Vec<_>>(),
                "bytes": found.bytes,
            }))?,
            Output::Text => print_text(&surveyed(&self.data, &found))?,
        }
        match found.problem {
            None => Ok(()),
            Some(problem) => Err(CliError::failed(problem)),
        }
    }
}

fn surveyed(data: &Path, found: &Survey) -> String {
    let mut text = format!("{}: {} bytes in the database\n", data.display(), found.bytes);
    let _ = match found.sealed {
        Some(sealed) => {
            writeln!(text, "  commits up to {sealed} were acknowledged, as far as the seal knows")
        }
        None => writeln!(text, "  the seal cannot be read"),
    };
    let stop = if found.stopped { "in order" } else { "by a crash, or it is still to be stopped" };
    let _ = writeln!(text, "  the last stop was {stop}");
    for (name, bytes, problem) in &found.journals {
        let problem = problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
        let _ = writeln!(text, "  journal {name}: {bytes} bytes{problem}");
    }
    if let Some(commit) = found.found {
        let _ = writeln!(text, "  the journals hold commits up to {commit}");
    }
    if found.problem.is_none() {
        text.push_str("sound, as far as can be told without opening it\n");
    }
    text
}

impl Repair {
    fn run(self) -> Result<(), CliError> {
        let repaired = repair(&self.data, &self.to, now()?).map_err(failed)?;
        match self.output.output {
            Output::Json => print_json(&json!({
                "copy": self.to,
                "sealed_commit": repaired.sealed,
                "found_commit": repaired.found,
                "missing_commits_at_least": repaired.missing,
                "damage": repaired.damage,
                "journals_from": repaired.aside,
                "ahead": repaired.ahead,
                "broken": repaired.broken,
                "unreadable": repaired.unreadable.iter().map(|record| json!({
                    "kind": record.kind, "key": record.key, "reason": record.reason,
                })).collect::<Vec<_>>(),
                "id_floor": format!("{:016x}", repaired.id_floor),
                "epoch_floor": repaired.epoch,
            })),
            Output::Text => print_text(&told(&self.data, &self.to, &repaired)),
        }
    }
}

fn told(data: &Path, to: &Path, repaired: &Repaired) -> String {
    let mut text = format!("copied what can be saved of {} to {}\n", data.display(), to.display());
    let found = repaired.found;
    let _ = match repaired.sealed {
        Some(sealed) => writeln!(text, "  sealed:  commits up to {sealed} were acknowledged"),
        None => writeln!(text, "  sealed:  unknown, the seal cannot be read"),
    };
    let _ = writeln!(text, "  found:   commits up to {found} are in the copy");
    let _ = match repaired.missing {
        Some(0) => writeln!(text, "  missing: nothing that is known to have been acknowledged"),
        Some(missing) => writeln!(text, "  missing: {missing} acknowledged commits at least"),
        None => writeln!(text, "  missing: cannot be told without a seal"),
    };
    if let Some(damage) = &repaired.damage {
        let _ = writeln!(text, "  damage:  {damage}");
    }
    if let Some(aside) = &repaired.aside {
        let _ = writeln!(text, "  the journals were taken from {}", aside.display());
    }
    if !repaired.ahead.is_empty() {
        let parts = repaired.ahead.join(", ");
        let _ =
            writeln!(text, "  ahead:   {parts} hold later commits too; some records tell of what is lost");
    }
    for broken in &repaired.broken {
        let _ = writeln!(text, "  broken:  {broken}");
    }
    for record in &repaired.unreadable {
        let _ = writeln!(text, "  {} {} cannot be read: {}", record.kind, record.key, record.reason);
    }
    let _ = writeln!(
        text,
        "  new runs and tasks get ids above {:016x}, so that none that was seen outside comes again",
        repaired.id_floor
    );
    let _ = writeln!(
        text,
        "nothing in {} was changed; start with: punctual serve --data {}",
        data.display(),
        to.display()
    );
    text
}

fn failed(error: RepairError) -> CliError {
    match error {
        RepairError::Open(error) => engine_error(error.into()),
        error @ RepairError::NoStore { .. } => CliError::new(Exit::NotFound, error),
        error @ RepairError::Occupied { .. } => CliError::usage(error),
        error => CliError::failed(error),
    }
}
