//! The command line: reads arguments, wires the engine, prints. Decides nothing about runs.

mod dev;
mod doors;
mod error;
mod expression;
mod inherited;
mod log;
mod remote;
mod run_report;
mod runs;
mod serve;
mod stopping;
mod store;
mod table;
mod task_file;
mod validate;

use clap::{Parser, Subcommand, ValueEnum};
use error::{CliError, Exit};
use std::path::PathBuf;
use std::process::ExitCode;

/// What a person or a script wants to know after the list of commands.
const AFTER_HELP: &str = "\
New here? `punctual dev` shows it at work within seconds.

Exit codes: 0 done; 1 failed; 2 a wrong option, file or expression; 3 not found, or several; 4 not allowed;
5 in use, or changed by somebody else; 6 no daemon answers; 70 the store failed, and nothing more was acknowledged:
start it again. Waiting for a run takes the run's own code; 121 lost, 124 out of time, 125 punctual itself failed,
126 and 127 the program could not be started, 128+N ended by signal N, 130 canceled or Ctrl-C";

/// The durable task scheduler that keeps its promises.
#[derive(Debug, Parser)]
#[command(name = "punctual", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: a daemon without configuration, with a few tasks, told in words
    Dev(dev::Dev),
    /// Run the daemon
    Serve(serve::Serve),
    /// Start, look at, wait for and end runs
    #[command(subcommand)]
    Run(runs::RunCommand),
    /// Show what a run has written
    Logs(remote::Logs),
    /// Make a daemon's tasks what files say
    Apply(remote::Apply),
    /// Show how a daemon is
    Status(remote::Status),
    /// Look at a data directory, or save what can be saved of a damaged one
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Show the next instants at which a cron expression fires
    Next(expression::Next),
    /// Say in words what a cron expression means, and what to mind
    Explain(expression::Explain),
    /// Work with task definitions
    #[command(subcommand)]
    Task(TaskCommand),
}

#[derive(Debug, Subcommand)]
enum TaskCommand {
    /// Create a task
    Create(Box<remote::Create>),
    /// List tasks
    List(remote::List),
    /// Show one task: its definition, its next due times, its runs by state, the newest ones
    Show(remote::Show),
    /// No more due times, until it is resumed; what is at work goes on
    Pause(remote::Pause),
    /// Due times again
    Resume(remote::TaskResume),
    /// Delete tasks; their history stays for its time
    Delete(remote::Delete),
    /// Check files of task definitions without running anything
    #[command(visible_alias = "lint")]
    Validate {
        /// TOML files, or directories of them
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputArg,
    },
}

#[derive(Debug, Clone, Copy, clap::Args)]
struct OutputArg {
    /// For people, or for programs
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(crate) fn main() -> ExitCode {
    inherited::keep_from_jobs();
    // clap prints its own errors and ends with 2, or with 0 for help.
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Dev(dev) => in_runtime(dev.run()),
        Command::Serve(serve) => in_runtime(serve.run()),
        Command::Run(run) => in_runtime(run.run()),
        Command::Store(store) => store.run(),
        Command::Next(next) => next.run(),
        Command::Explain(explain) => explain.run(),
        Command::Logs(logs) => in_runtime(logs.run()),
        Command::Apply(apply) => in_runtime(apply.run()),
        Command::Status(status) => in_runtime(status.run()),
        Command::Task(task) => match task {
            TaskCommand::Create(create) => in_runtime(create.run()),
            TaskCommand::List(list) => in_runtime(list.run()),
            TaskCommand::Show(show) => in_runtime(show.run()),
            TaskCommand::Pause(pause) => in_runtime(pause.run()),
            TaskCommand::Resume(resume) => in_runtime(resume.run()),
            TaskCommand::Delete(delete) => in_runtime(delete.run()),
            TaskCommand::Validate { files, output } => validate::run(&files, output.output),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                eprintln!("error: {error}");
            }
            ExitCode::from(error.code())
        }
    }
}

/// How long tasks may take to go when everything is over; only a read of a dead disk takes longer.
const LAST_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

fn in_runtime(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed(format_args!("cannot start: {error}")))?;
    let done = runtime.block_on(work);
    // The store seals itself when the last task that holds it is gone.
    runtime.shutdown_timeout(LAST_WAIT);
    done
}

/// Prints one JSON value on a line of its own.
fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    print_text(&format!("{value}\n"))
}

/// Prints text.
fn print_text(text: &str) -> Result<(), CliError> {
    print_bytes(text.as_bytes())
}

/// Prints, and takes a reader that went away (`| head`) for a reader who has seen enough.
fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    // At once: whoever follows a log does not want to wait for the end of a line.
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Failed, format_args!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
