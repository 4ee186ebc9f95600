//! Tasks of a daemon: create, list, pause, resume, delete.

use super::client::Ask;
use super::find::{self, Task};
use super::quote;
use super::run::pair;
use super::target::Target;
use crate::cli::error::{CliError, Exit};
use crate::cli::run_report::instant;
use crate::cli::table::{Table, printable};
use crate::cli::{Output, OutputArg, print_json, print_text};
use clap::{ArgGroup, Args, ValueEnum};
use jiff::Timestamp;
use punctual::model::restart::RestartPolicy;
use punctual::model::task::TaskStatus;
use punctual::model::work::ProcessContext;
use punctual::model::{CatchUpPolicy, Overlap, TaskSpec, Work, duration};
use punctual_server::wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write as _};
use std::time::Duration;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("when").required(true).multiple(true).args(["cron", "every", "at", "manual"])))]
#[command(group(ArgGroup::new("what").required(true).args(["shell", "command"])))]
pub(crate) struct Create {
    /// Its name: letters, digits, space, '.', '_', '-'
    name: String,
    #[command(flatten)]
    target: Target,
    /// A cron expression; may be given several times
    #[arg(long, value_name = "EXPR")]
    cron: Vec<String>,
    /// A fixed interval
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    every: Vec<Duration>,
    /// Once, then
    #[arg(long, value_name = "INSTANT")]
    at: Vec<Timestamp>,
    /// Only when told to
    #[arg(long, conflicts_with_all = ["cron", "every", "at"])]
    manual: bool,
    /// On whose wall clock cron is read [default: the daemon's]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Longest time one attempt may take
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// While an earlier run is unfinished: allow, skip, queue_one, queue_all=MAX or replace
    #[arg(long, value_name = "POLICY", value_parser = overlap)]
    overlap: Option<Overlap>,
    /// After downtime
    #[arg(long, value_enum, value_name = "POLICY")]
    catch_up: Option<CatchUp>,
    /// Attempts after a failed one
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Pause before each of them
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "retries")]
    retry_delay: Option<Duration>,
    /// Doing the work twice does no harm: a lost attempt is made again
    #[arg(long)]
    idempotent: bool,
    /// A variable of its environment; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Its working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// For filters; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Without dues until it is resumed
    #[arg(long)]
    paused: bool,
    /// A script for /bin/sh
    #[arg(long, value_name = "SCRIPT")]
    shell: Option<String>,
    #[command(flatten)]
    output: OutputArg,
    /// A program and its arguments, run without a shell
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CatchUp {
    Skip,
    Latest,
    All,
}

fn overlap(text: &str) -> Result<Overlap, String> {
    match text.replace('-', "_").as_str() {
        "allow" => Ok(Overlap::Allow),
        "skip" => Ok(Overlap::Skip),
        "queue_one" => Ok(Overlap::QueueOne),
        "replace" => Ok(Overlap::Replace),
        other => {
            let max = other.strip_prefix("queue_all=").and_then(|max| max.parse().ok());
            let max = max.ok_or("expected allow, skip, queue_one, queue_all=MAX or replace")?;
            Ok(Overlap::QueueAll { max })
        }
    }
}

impl Create {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let client = self.target.client()?;
        let (output, again) = (self.output.output, self.target.again());
        let spec = wire::TaskSpec::from(self.spec());
        let task: Value = client.ask(Ask::post(&["tasks"]).body(&spec)).await?;
        match output {
            Output::Json => print_json(&task),
            Output::Text => {
                let task = understood(task)?;
                let mut text = format!("created {} ({})\n", spec.name, task.id);
                text.push_str(&meaning(&task));
                let _ =
                    writeln!(text, "  run it: punctual run now {} --wait{again}", quote::word(&spec.name));
                print_text(&text)
            }
        }
    }

    fn spec(self) -> TaskSpec {
        let context = ProcessContext {
            env: self.env.into_iter().collect(),
            cwd: self.cwd,
            ..ProcessContext::default()
        };
        let work = match self.shell {
            Some(script) => Work::Shell { script, interpreter: None, context },
            None => Work::Process { argv: self.command, context },
        };
        let mut spec = TaskSpec::new(self.name, work);
        spec = self.cron.into_iter().fold(spec, |spec, expr| spec.cron(expr));
        spec = self.every.into_iter().fold(spec, |spec, interval| spec.every(interval));
        spec = self.at.into_iter().fold(spec, |spec, at| spec.at(at));
        spec.timezone = self.tz;
        spec.timeout = self.timeout;
        spec.overlap = self.overlap.unwrap_or_default();
        if let Some(policy) = self.catch_up {
            spec.catch_up = match policy {
                CatchUp::Skip => CatchUpPolicy::Skip,
                CatchUp::Latest => CatchUpPolicy::Latest,
                CatchUp::All => CatchUpPolicy::All,
            }
            .into();
        }
        if let Some(attempts) = self.retries {
            let usual = RestartPolicy::default();
            spec.restart =
                RestartPolicy { attempts, delay: self.retry_delay.unwrap_or(usual.delay), ..usual };
        }
        spec.idempotent = self.idempotent;
        spec.labels = self.label.into_iter().collect::<BTreeMap<_, _>>();
        spec.description = self.description.unwrap_or_default();
        if self.paused {
            spec.status = TaskStatus::Paused;
        }
        spec
    }
}

fn understood(task: Value) -> Result<Task, CliError> {
    serde_json::from_value(task)
        .map_err(|error| CliError::failed(format_args!("the answer is of another version: {error}")))
}

/// The schedule in words, the next dues, and what may surprise.
pub(super) fn meaning(task: &Task) -> String {
    let mut text = String::new();
    let schedule = &task.schedule;
    if schedule.schedules.is_empty() {
        text.push_str("  only when told to\n");
    }
    for explained in &schedule.schedules {
        let _ = writeln!(text, "  {}", explained.sentence);
        for warning in &explained.warnings {
            let _ = writeln!(text, "  mind: {}", warning.text);
        }
    }
    for due in &schedule.next {
        let _ = writeln!(text, "  next  {}", due.text);
    }
    text
}

pub(super) fn status(task: &Task) -> &str {
    task.spec.get("status").and_then(Value::as_str).unwrap_or("active")
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    target: Target,
    /// Only active or only paused ones
    #[arg(long, value_parser = ["active", "paused"])]
    status: Option<String>,
    /// Only those with this label; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    #[command(flatten)]
    output: OutputArg,
}

impl List {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let mut ask = Ask::get(&["tasks"]);
        if let Some(status) = self.status {
            ask = ask.with("status", status);
        }
        for (key, value) in self.label {
            ask = ask.with("label", format!("{key}={value}"));
        }
        let tasks = find::tasks(&self.target.client()?, ask).await?;
        if self.output.output == Output::Json {
            return print_json(&json!({"tasks": tasks}));
        }
        if tasks.is_empty() {
            return print_text("no tasks\n");
        }
        let mut table = Table::new(["NAME", "STATUS", "SCHEDULE", "NEXT", "LAST", "ID"]);
        for task in &tasks {
            let normalised: Vec<&str> =
                task.schedule.schedules.iter().map(|schedule| schedule.normalised.as_str()).collect();
            let schedule = if normalised.is_empty() { "manual".to_owned() } else { normalised.join(" | ") };
            let next = task.schedule.next.first().filter(|_| status(task) == "active");
            table.row([
                find::name(task).map(printable).unwrap_or_default(),
                status(task).to_owned(),
                schedule,
                next.map(|due| instant(due.at)).unwrap_or_default(),
                task.progress.last_status.map(|state| state.to_string()).unwrap_or_default(),
                task.id.to_string(),
            ]);
        }
        print_text(&table.to_string())
    }
}

/// What a verb on tasks needs.
#[derive(Debug, Args)]
struct Those {
    /// Tasks, by name, id, or a beginning of an id
    #[arg(required = true)]
    tasks: Vec<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    those: Those,
}

impl Pause {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        self.those.each("paused", |id| Ask::verb(&["tasks", id], "pause")).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    those: Those,
    /// Treat the dues of the pause as those of downtime, by the task's catch-up policy, instead of forgetting them
    #[arg(long)]
    catch_up: bool,
}

impl Resume {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let dues = if self.catch_up { wire::Resumption::CatchUp } else { wire::Resumption::FromNow };
        let body = wire::TaskResume { dues };
        self.those.each("active", |id| Ask::verb(&["tasks", id], "resume").body(&body)).await
    }
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    those: Those,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Delete {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        if !self.yes {
            sure(&self.those.tasks)?;
        }
        self.those.each("deleted", |id| Ask::delete(&["tasks", id])).await
    }
}

/// Asks a person; refuses where none is.
fn sure(tasks: &[String]) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage("deleting a task has to be confirmed: say --yes"));
    }
    eprint!("delete {}? Its waiting runs are canceled, those at work are ended. [y/N] ", tasks.join(", "));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(CliError::failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::usage("nothing was deleted")),
    }
}

impl Those {
    async fn each(self, now: &str, ask: impl Fn(&str) -> Ask) -> Result<(), CliError> {
        let client = self.target.client()?;
        let mut failed = None;
        for text in &self.tasks {
            let done = async {
                let task = find::task(&client, text).await?;
                let answer: Value = client.ask(ask(&task.id.to_string())).await?;
                Ok::<_, CliError>((task, answer))
            };
            match done.await {
                Ok((task, answer)) if self.output.output == Output::Json => {
                    print_json(&if answer.is_null() {
                        json!({"id": task.id, "deleted": true})
                    } else {
                        answer
                    })?;
                }
                Ok((task, _)) => {
                    let name = find::name(&task).map(printable).unwrap_or_default();
                    print_text(&format!("{name} ({}): {now}\n", task.id))?;
                }
                // The others are not to blame.
                Err(error) if self.tasks.len() > 1 => {
                    eprintln!("error: {text}: {error}");
                    failed = Some(error.exit);
                }
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(()), |exit: Exit| Err(CliError::silent(exit as u8)))
    }
}
