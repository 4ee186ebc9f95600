//! Runs of a daemon: start one, list, show, wait, cancel, restart, signal, retry, resume.

use super::client::{Ask, Client};
use super::find;
use super::target::Target;
use super::wait::{Waiter, exit_code};
use crate::cli::error::{CliError, Exit};
use crate::cli::{Output, OutputArg, print_bytes, print_json, print_text, run_report};
use clap::Args;
use jiff::Timestamp;
use punctual::model::{RunStateName, TraceParent, duration};
use punctual_server::wire;
use serde_json::{Map, Value, json};
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Now {
    /// The task, by name, id, or a beginning of its id
    task: String,
    #[command(flatten)]
    target: Target,
    /// A parameter as text, laid over the task's arguments; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    param: Vec<(String, String)>,
    /// All parameters as a JSON object, or @FILE with one
    #[arg(long, value_name = "JSON")]
    params: Option<String>,
    /// The logical time that the work is told [default: when it runs]
    #[arg(long, value_name = "INSTANT")]
    scheduled_for: Option<Timestamp>,
    /// Run then instead of now
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    /// Makes asking twice harmless: the second time gets the run of the first, and is refused if it asks for another
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Do not wait for the task's other runs
    #[arg(long)]
    force: bool,
    /// Wait for the end, and exit as the run did (125: punctual itself failed)
    #[arg(long)]
    wait: bool,
    /// Show the log as it is written, wait for the end, and exit as the run did
    #[arg(short, long)]
    follow: bool,
    /// Wait no longer than this, then exit with 124; the run goes on
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArg,
}

/// `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    if key.is_empty() { Err("expected KEY=VALUE".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

impl Now {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let waits = self.wait || self.follow || self.timeout.is_some();
        let done = self.accept(waits).await;
        // A script has to tell the run's own failure from ours.
        if waits { done.map_err(CliError::while_waiting) } else { done }
    }

    async fn accept(self, waits: bool) -> Result<(), CliError> {
        let request = wire::RunNow {
            params: self.parameters()?,
            scheduled_for: self.scheduled_for,
            run_at: self.at,
            idempotency_key: self.key.clone(),
            force: self.force,
        };
        let client = self.target.client()?;
        let task = find::task(&client, &self.task).await?;
        let mut ask = Ask::verb(&["tasks", &task.id.to_string()], "run").body(&request);
        // Whoever calls from within a trace need not say so twice; what is none is left out.
        let trace = std::env::var("TRACEPARENT").ok().and_then(|text| text.parse::<TraceParent>().ok());
        if let Some(trace) = trace {
            ask = ask.header("traceparent", trace);
        }
        let run: wire::Run = client.ask(ask).await?;
        if waits {
            if self.output.output == Output::Text {
                eprintln!("run {} of {}", run.id, run.task_name);
            }
            let waiter = Waiter::new(&client, &self.target, self.follow)?;
            let run = waiter.end_of(run.id, self.timeout).await?;
            return told(&[run], self.output.output);
        }
        match self.output.output {
            Output::Json => print_json(&json!(run)),
            Output::Text => print_text(&format!("run {} of {}: {}\n", run.id, run.task_name, run.state)),
        }
    }

    fn parameters(&self) -> Result<Value, CliError> {
        let mut all = match &self.params {
            None => Map::new(),
            Some(text) => {
                let text = match text.strip_prefix('@') {
                    Some(path) => std::fs::read_to_string(path)
                        .map_err(|error| CliError::usage(format_args!("{path}: {error}")))?,
                    None => text.clone(),
                };
                serde_json::from_str(&text).map_err(|error| {
                    CliError::usage(format_args!("--params: expected a JSON object: {error}"))
                })?
            }
        };
        all.extend(self.param.iter().map(|(key, value)| (key.clone(), json!(value))));
        Ok(if all.is_empty() { Value::Null } else { all.into() })
    }
}

/// Tells how runs ended, and exits as the first that did not succeed.
fn told(runs: &[wire::Run], output: Output) -> Result<(), CliError> {
    match (output, runs) {
        (Output::Json, [run]) => print_json(&json!(run))?,
        (Output::Json, runs) => print_json(&json!({"runs": runs}))?,
        // The log has standard output for itself.
        (Output::Text, runs) => runs.iter().for_each(|run| eprintln!("{}", run_report::line(run))),
    }
    match runs.iter().map(exit_code).find(|code| *code != 0) {
        Some(code) => Err(CliError::silent(code)),
        None => Ok(()),
    }
}

/// Runs of a daemon, newest first.
pub(crate) async fn listed(
    client: &Client,
    task: Option<&str>,
    states: &[RunStateName],
    number: usize,
) -> Result<Vec<wire::Run>, CliError> {
    let mut ask = Ask::get(&["runs"]);
    if let Some(text) = task {
        // The id of a task that was deleted still has its history.
        let id = match text.parse() {
            Ok(id) => id,
            Err(_) => find::task(client, text).await?.id,
        };
        ask = ask.with("task", id);
    }
    for state in states {
        ask = ask.with("state", state);
    }
    let (mut runs, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut ask = ask.clone().with("limit", (number - runs.len()).min(500));
        if let Some(after) = after {
            ask = ask.with("after", after);
        }
        let page: wire::Page<wire::Run> = client.ask(ask).await?;
        runs.extend(page.items);
        after = page.next_cursor;
        if after.is_none() || runs.len() >= number {
            return Ok(runs);
        }
    }
}

/// The run and its output; none if that is kept no more.
pub(crate) async fn shown(client: &Client, text: &str) -> Result<(wire::Run, Option<Vec<u8>>), CliError> {
    let run = find::run(client, text).await?;
    let mut stream = match client.stream(Ask::get(&["runs", &run.id.to_string(), "logs"])).await {
        Err(failure) if failure.is_gone() => return Ok((run, None)),
        stream => stream?,
    };
    let mut bytes = Vec::new();
    while let Some(more) = stream.next().await? {
        bytes.extend_from_slice(&more);
    }
    Ok((run, Some(bytes)))
}

/// Writes the whole log of a run to standard output.
pub(crate) async fn print_log(client: &Client, ask: Ask) -> Result<(), CliError> {
    let mut stream = client.stream(ask).await?;
    while let Some(bytes) = stream.next().await? {
        print_bytes(&bytes)?;
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Runs, by id or a beginning of it; a task's name means its newest run
    #[arg(required = true)]
    runs: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// Wait no longer than this for each, then exit with 124
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,
    #[command(flatten)]
    output: OutputArg,
}

impl Wait {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        self.wait().await.map_err(CliError::while_waiting)
    }

    async fn wait(self) -> Result<(), CliError> {
        let client = self.target.client()?;
        let waiter = Waiter::new(&client, &self.target, false)?;
        let mut ended = Vec::with_capacity(self.runs.len());
        for text in &self.runs {
            let run = find::run(&client, text).await?;
            ended.push(waiter.end_of(run.id, self.timeout).await?);
        }
        told(&ended, self.output.output)
    }
}

/// What a verb on runs needs.
#[derive(Debug, Args)]
struct Those {
    /// Runs, by id or a beginning of it; a task's name means its newest run
    #[arg(required = true)]
    runs: Vec<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArg,
}

impl Those {
    async fn each(self, verb: &str) -> Result<(), CliError> {
        self.each_with(verb, json!({})).await
    }

    async fn each_with(self, verb: &str, body: Value) -> Result<(), CliError> {
        let client = self.target.client()?;
        let mut failed = None;
        for text in &self.runs {
            let done = async {
                let run = find::run(&client, text).await?;
                let ask = Ask::verb(&["runs", &run.id.to_string()], verb).body(&body);
                Ok::<wire::Run, CliError>(client.ask(ask).await?)
            };
            match done.await {
                Ok(run) if self.output.output == Output::Json => print_json(&json!(run))?,
                Ok(run) => print_text(&format!("run {} of {}: {}\n", run.id, run.task_name, run.state))?,
                // The others are not to blame.
                Err(error) if self.runs.len() > 1 => {
                    eprintln!("error: {text}: {error}");
                    failed = Some(error.exit);
                }
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(()), |exit: Exit| Err(CliError::silent(exit as u8)))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    those: Those,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    those: Those,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    those: Those,
}

#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    those: Those,
    /// Why, for the runs' history
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Signal {
    /// The run, by id or a beginning of it; a task's name means its newest run
    run: String,
    /// The signal, by its name (HUP, SIGHUP) or number
    signal: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArg,
}

impl Restart {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        self.those.each_with("restart", json!({"reason": self.reason})).await
    }
}

impl Signal {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let Self { run, signal, target, output } = self;
        Those { runs: vec![run], target, output }.each_with("signal", json!({"signal": signal})).await
    }
}

impl Cancel {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        self.those.each("cancel").await
    }
}

impl Retry {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        self.those.each("retry").await
    }
}

impl Resume {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        self.those.each("resume").await
    }
}
