//! `run list` and `run show`: of the daemon at work, or of a data directory that none holds.

use super::error::{CliError, Exit};
use super::remote::{self, Target};
use super::stopping::engine_error;
use super::{Output, OutputArg, print_bytes, print_json, print_text, run_report};
use clap::{Args, Subcommand};
use punctual::clock::{Clock, SystemClock};
use punctual::executor::Outputs;
use punctual::model::{Run, RunId, RunStateName, TaskId, TaskType};
use punctual::store::fjall::{FjallStore, Options};
use punctual::store::{RunFilter, RunStore, TaskStore};
use punctual_server::wire;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most runs that one call lists.
const MAX_LISTED: u64 = 100_000;

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first
    List(List),
    /// Show one run: its life, its events, its output
    Show(Show),
    /// Run a task now, or at a time of your own
    Now(Box<remote::Now>),
    /// Wait until runs have ended, and exit as the first that did not succeed
    Wait(remote::Wait),
    /// End runs, waiting or at work
    Cancel(remote::Cancel),
    /// End the work of runs the usual way and begin it again at once, as their next attempt
    Restart(remote::Restart),
    /// Give the process of a run at work a signal
    Signal(remote::Signal),
    /// Run once more for the same logical time
    Retry(remote::Retry),
    /// Go on with a run that was lost, with the state it had saved
    Resume(remote::Resume),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs of this task, by name or id
    task: Option<String>,
    #[command(flatten)]
    target: Target,
    /// Only runs in this state; may be given several times
    #[arg(long, value_parser = state)]
    state: Vec<RunStateName>,
    /// How many
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=MAX_LISTED))]
    number: u64,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The run's id, or a beginning of it that only one run has
    run: String,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    output: OutputArg,
}

fn state(text: &str) -> Result<RunStateName, String> {
    RunStateName::parse(text).ok_or_else(|| {
        let known: Vec<&str> = RunStateName::ALL.iter().map(|state| state.as_str()).collect();
        format!("expected one of {}", known.join(", "))
    })
}

impl RunCommand {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Now(now) => now.run().await,
            Self::Wait(wait) => wait.run().await,
            Self::Cancel(cancel) => cancel.run().await,
            Self::Restart(restart) => restart.run().await,
            Self::Signal(signal) => signal.run().await,
            Self::Retry(retry) => retry.run().await,
            Self::Resume(resume) => resume.run().await,
        }
    }
}

/// A store that nobody works on, with the names of its tasks.
struct Shelf {
    store: FjallStore,
    names: HashMap<TaskId, String>,
}

impl Shelf {
    fn open(data: &Path) -> Result<Self, CliError> {
        // Opening makes a directory that is not there; looking at one must not.
        if !data.join("FORMAT").exists() {
            let text =
                format!("{} is no data directory of punctual: there is no FORMAT in it", data.display());
            return Err(CliError::new(Exit::NotFound, text));
        }
        let clock =
            SystemClock::new().map_err(|error| CliError::failed(format_args!("no clock: {error}")))?;
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let store =
            FjallStore::open(data, clock, &Options::default()).map_err(|error| engine_error(error.into()))?;
        Ok(Self { store, names: HashMap::new() })
    }

    async fn task(&self, name_or_id: &str) -> Result<TaskId, CliError> {
        if let Ok(id) = name_or_id.parse() {
            return Ok(id);
        }
        let found = self.store.task_by_name(&TaskType::default(), name_or_id).await;
        match found.map_err(|error| engine_error(error.into()))? {
            Some(stored) => Ok(stored.task.id),
            None => Err(CliError::new(Exit::NotFound, format_args!("no task is named {name_or_id:?}"))),
        }
    }

    /// With the task's name when the run was made; also of a task that is gone.
    async fn named(&mut self, run: Run) -> wire::Run {
        let name = match self.names.get(&run.task) {
            Some(name) => name.clone(),
            None => {
                let task = self.store.task_revision(run.task, run.revision).await.ok().flatten();
                let name = task.map_or_else(|| run.task.to_string(), |task| task.spec.name.clone());
                self.names.insert(run.task, name.clone());
                name
            }
        };
        wire::Run::new(run, name)
    }

    /// The one run whose id begins so.
    async fn find(&self, text: &str) -> Result<Run, CliError> {
        let fail = |error: punctual::store::Error| engine_error(error.into());
        let missing =
            || CliError::new(Exit::NotFound, format_args!("no run has an id that begins with {text:?}"));
        if let Ok(id) = text.parse::<RunId>() {
            return self.store.run(id).await.map_err(fail)?.ok_or_else(missing);
        }
        let mut found: Option<Run> = None;
        let mut after = None;
        loop {
            let filter = RunFilter { after, limit: 1_000, ..RunFilter::default() };
            let page = self.store.runs(&filter).await.map_err(fail)?;
            for run in page.items.into_iter().filter(|run| run.id.to_string().starts_with(text)) {
                if let Some(other) = &found {
                    let text = format!("{text:?} begins several ids: {}, {} …", other.id, run.id);
                    return Err(CliError::new(Exit::NotFound, text));
                }
                found = Some(run);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return found.ok_or_else(missing),
            }
        }
    }
}

impl List {
    async fn run(self) -> Result<(), CliError> {
        let number = usize::try_from(self.number).unwrap_or(usize::MAX);
        let runs = match self.target.client_if_any().await? {
            Some(client) => remote::listed(&client, self.task.as_deref(), &self.state, number).await?,
            None => self.look(number).await?,
        };
        match self.output.output {
            Output::Json => print_json(&json!({"runs": runs})),
            Output::Text if runs.is_empty() => print_text("no runs\n"),
            Output::Text => print_text(&run_report::table(&runs)),
        }
    }

    async fn look(&self, limit: usize) -> Result<Vec<wire::Run>, CliError> {
        let mut shelf = Shelf::open(&directory(&self.target)?)?;
        let task = match &self.task {
            Some(text) => Some(shelf.task(text).await?),
            None => None,
        };
        let filter = RunFilter { task, states: self.state.clone(), limit, ..RunFilter::default() };
        let page = shelf.store.runs(&filter).await.map_err(|error| engine_error(error.into()))?;
        let mut runs = Vec::with_capacity(page.items.len());
        for run in page.items {
            runs.push(shelf.named(run).await);
        }
        Ok(runs)
    }
}

impl Show {
    async fn run(self) -> Result<(), CliError> {
        let (run, bytes) = match self.target.client_if_any().await? {
            Some(client) => remote::shown(&client, &self.run).await?,
            None => self.look().await?,
        };
        match self.output.output {
            Output::Json => {
                let mut value = json!(run);
                if let Some(fields) = value.as_object_mut() {
                    // None if it is kept no more.
                    fields.insert("output".into(), json!(bytes.as_deref().map(String::from_utf8_lossy)));
                }
                print_json(&value)
            }
            Output::Text => {
                print_text(&run_report::full(&run))?;
                match bytes {
                    None => print_text("output was removed by its retention\n"),
                    Some(bytes) if bytes.is_empty() => Ok(()),
                    Some(bytes) => {
                        print_text("output\n")?;
                        // Exact bytes: this is what the run wrote, for whoever pipes it on.
                        print_bytes(&bytes)
                    }
                }
            }
        }
    }

    async fn look(&self) -> Result<(wire::Run, Option<Vec<u8>>), CliError> {
        let data = directory(&self.target)?;
        let mut shelf = Shelf::open(&data)?;
        let run = shelf.find(&self.run).await?;
        let outputs = Outputs::in_directory(data.join("output"));
        let unreadable =
            |error| CliError::failed(format_args!("the output of run {} cannot be read: {error}", run.id));
        let mut reader = outputs.read(run.id);
        let mut bytes = Vec::new();
        while let Some(frame) = reader.next_frame().map_err(unreadable)? {
            bytes.extend_from_slice(&frame.content.show());
        }
        let wrote = run.outcome.as_ref().and_then(|outcome| outcome.output).is_some_and(|it| it.bytes > 0);
        let is_gone = wrote && run.life.state.is_terminal() && !outputs.is_kept(run.id);
        Ok((shelf.named(run).await, (!is_gone).then_some(bytes)))
    }
}

/// The data directory, where there is no daemon to ask.
fn directory(target: &Target) -> Result<PathBuf, CliError> {
    target.data().ok_or_else(|| CliError::usage("which data directory? Say --data DIR, or set PUNCTUAL_DATA"))
}
