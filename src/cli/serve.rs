//! `serve`: the daemon.

use super::error::CliError;
use super::expression::now;
use super::log::{self, Format};
use super::stopping::{StopSignals, engine_error, stop};
use super::task_file::TaskFile;
use super::{doors, print_text, task_file};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use punctual::coordinator::{FileReport, FileSet, StartReport, check};
use punctual::executor::egress::{Cidr, Egress};
use punctual::model::{Owner, TaskId, duration};
use punctual::prelude::*;
use punctual::scheduler::schedule::Zone;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where everything is remembered; made if it is not there
    #[arg(long, value_name = "DIR", env = "PUNCTUAL_DATA")]
    data: PathBuf,
    /// A file of task definitions, or a directory of them; read again on SIGHUP
    #[arg(long, value_name = "PATH")]
    tasks: Option<PathBuf>,
    /// Listen on TCP too, on an address of this machine; callers have to show the token in DATA/admin-token
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = doors::loopback)]
    listen: Option<SocketAddr>,
    /// Zone of tasks that name none
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// How long work may go on after a stop was asked for, before it is cut short
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    stop_grace: Duration,
    /// A network that requests of tasks may go to besides the public internet, such as 10.0.0.0/8 or 127.0.0.1; more
    /// than one may be given
    #[arg(long, value_name = "CIDR")]
    allow_egress: Vec<Cidr>,
    /// Where runs that want a directory of their own have it, in place of DATA/work, which other users than the
    /// daemon's cannot enter; made if it is not there
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// How many processes of runs may be at work at once; 4 for each core, and at least 16, if not given
    #[arg(long, value_name = "COUNT")]
    max_processes: Option<NonZeroUsize>,
    /// How log lines on standard error are written
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    log_format: Format,
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        log::to_stderr(self.log_format)?;
        // Wrong files are told before anything is opened or made.
        let files = self.tasks.as_deref().map(task_file::read_all).transpose().map_err(CliError::usage)?;
        self.check(files.as_deref().unwrap_or_default())?;
        let mut signals = StopSignals::listen()?;
        let mut reload = signal(SignalKind::hangup()).map_err(CliError::failed)?;
        let builder = Punctual::builder()
            .data_dir(&self.data)
            .default_timezone(&self.timezone)
            .stop_grace(self.stop_grace)
            .limits(self.limits())
            .egress(egress(&self.allow_egress));
        let builder = match &self.work_dir {
            Some(place) => builder.work_dir(place),
            None => builder,
        };
        let mut punctual = builder.open().await.map_err(engine_error)?;
        print_text(&found(&punctual, &self.data).await?)?;
        // Before anything runs: a task that has left the files while nobody looked is not run once more.
        if let Some(files) = files
            && let Err(error) = apply(&punctual, files).await
        {
            stop(punctual, signals).await?;
            return Err(error);
        }
        let server = match doors::open(&punctual, &self.data, self.listen, &self.timezone).await {
            Ok((server, text)) => {
                print_text(&text)?;
                server
            }
            Err(error) => {
                stop(punctual, signals).await?;
                return Err(error);
            }
        };
        punctual.begin();
        loop {
            tokio::select! {
                signal = signals.next() => {
                    let grace = duration::format(self.stop_grace);
                    print_text(&format!(
                        "{signal}: stopping; what is at work may go on for {grace}, unless it is told once more\n"
                    ))?;
                    break;
                }
                error = punctual.failure() => return Err(engine_error(error)),
                _ = reload.recv() => self.reload(&punctual).await?,
            }
        }
        server.refuse_writes();
        let stopped = stop(punctual, signals).await?;
        server.close().await;
        print_text(&left(&stopped.work))
    }

    fn limits(&self) -> punctual::executor::Limits {
        let usual = punctual::executor::Limits::default();
        let processes = self.max_processes.map_or(usual.processes, NonZeroUsize::get);
        punctual::executor::Limits { processes, ..usual }
    }

    /// Refuses definitions that could not be created, before a directory is.
    fn check(&self, files: &[TaskFile]) -> Result<(), CliError> {
        let zone = Zone::get(&self.timezone).map_err(CliError::usage)?;
        // A date that has passed is a mistake in a new task and none in a known one; only the store can tell them
        // apart, so where there is one it is asked.
        let is_new = !self.data.join("FORMAT").exists();
        let now = if is_new { now()? } else { Timestamp::UNIX_EPOCH };
        let wrong: Vec<String> = files
            .iter()
            .flat_map(|file| file.tasks.iter().map(move |spec| (file, spec)))
            .filter_map(|(file, spec)| {
                let error = check(spec, &zone, now).err()?;
                Some(format!("{}: task {:?}: {error}", file.path.display(), spec.name))
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(CliError::usage(wrong.join("\n  "))) }
    }

    /// Reads the files again. What is wrong with them changes nothing and is told.
    async fn reload(&self, punctual: &Punctual) -> Result<(), CliError> {
        let Some(path) = &self.tasks else {
            tracing::warn!("SIGHUP: there are no task files to read again (--tasks)");
            return Ok(());
        };
        let applied = match task_file::read_all(path) {
            Ok(files) => apply(punctual, files).await,
            Err(error) => Err(CliError::usage(error)),
        };
        match applied {
            Err(error) if error.exit == super::error::Exit::Usage => {
                tracing::error!(%error, "the task files are wrong; all tasks stay as they are");
                Ok(())
            }
            applied => applied,
        }
    }
}

/// Makes the tasks of files exactly what the files say. Files that are gone take their tasks along.
async fn apply(punctual: &Punctual, files: Vec<TaskFile>) -> Result<(), CliError> {
    let tasks = punctual.tasks();
    let mut sets: Vec<FileSet> =
        files.into_iter().map(|file| FileSet { path: absolute(&file.path), specs: file.tasks }).collect();
    let gone = file_owners(&tasks).await?.into_iter().filter(|path| sets.iter().all(|set| set.path != *path));
    let gone: Vec<FileSet> = gone.map(|path| FileSet { path, specs: Vec::new() }).collect();
    sets.extend(gone);
    let paths: Vec<String> = sets.iter().map(|set| set.path.clone()).collect();
    let reports = tasks.apply_file_sets(sets).await.map_err(|error| match error {
        punctual::coordinator::Error::Invalid(error) => CliError::usage(error),
        error => engine_error(error.into()),
    })?;
    for (path, report) in paths.iter().zip(&reports) {
        let FileReport { created, updated, deleted, unchanged } = report;
        tracing::info!(path, ?created, ?updated, ?deleted, unchanged, "task file applied");
        print_text(&told(path, report))?;
    }
    Ok(())
}

/// The public internet and these networks.
pub(crate) fn egress(allowed: &[Cidr]) -> Egress {
    allowed.iter().fold(Egress::public_only(), |egress, network| egress.allow(*network))
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// What a file has changed, in words.
fn told(path: &str, report: &FileReport) -> String {
    let FileReport { created, updated, deleted, unchanged } = report;
    let counts = [("new", created.len()), ("changed", updated.len()), ("deleted", deleted.len())];
    let mut parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    if *unchanged > 0 || parts.is_empty() {
        parts.push(format!("{unchanged} unchanged"));
    }
    format!("  tasks of {path}: {}\n", parts.join(", "))
}

/// The files that tasks belong to.
async fn file_owners(tasks: &Tasks) -> Result<BTreeSet<String>, CliError> {
    let mut owners = BTreeSet::new();
    let mut after: Option<TaskId> = None;
    loop {
        let query = TaskQuery { after, ..TaskQuery::default() };
        let page = tasks.list(query).await.map_err(|error| engine_error(error.into()))?;
        owners.extend(page.items.iter().filter_map(|stored| match &stored.task.owner {
            Owner::File(path) => Some(path.clone()),
            Owner::Local | Owner::Named(_) => None,
        }));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(owners),
        }
    }
}

/// What the start found, and what became of each run that had begun.
pub(crate) async fn found(punctual: &Punctual, data: &Path) -> Result<String, CliError> {
    let StartReport { resumed, deletions, scheduled, paused, unschedulable, quarantined } =
        punctual.start_report();
    let mut text = format!(
        "punctual {} on {}: found {scheduled} active tasks and {paused} paused; time zones from {}\n",
        env!("CARGO_PKG_VERSION"),
        data.display(),
        zone_source(),
    );
    let tasks = punctual.tasks();
    for resumed in resumed {
        let name = match tasks.get(resumed.task).await {
            Ok(stored) => stored.task.spec.name.clone(),
            Err(_) => resumed.task.to_string(),
        };
        if resumed.state.is_at_work() {
            let _ = writeln!(text, "  run {} of {name} had begun: taken up again", resumed.run);
            continue;
        }
        let reason = resumed.state.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let _ =
            writeln!(text, "  run {} of {name} had begun: now {}{reason}", resumed.run, resumed.state.name());
    }
    for task in deletions {
        let _ = writeln!(text, "  task {task} was being deleted: done");
    }
    for task in unschedulable {
        let _ = writeln!(text, "  task {} has no dues until it is changed: {}", task.name, task.reason);
    }
    for record in quarantined {
        let _ = writeln!(
            text,
            "  {} {} cannot be read and is set aside: {}",
            record.kind, record.key, record.reason
        );
    }
    Ok(text)
}

pub(crate) fn zone_source() -> &'static str {
    // Looked up by a name that every database has and that jiff does not know by itself.
    match (TimeZone::get("Europe/Berlin"), Path::new("/usr/share/zoneinfo").exists()) {
        (Ok(_), true) => "the system",
        (Ok(_), false) => "the bundled database",
        (Err(_), _) => "nowhere: only UTC is known",
    }
}

/// What a stop left behind.
pub(crate) fn left(work: &punctual::executor::StopReport) -> String {
    let mut text = format!("stopped: {} runs ended since the start", work.completed);
    if !work.interrupted.is_empty() {
        let _ = write!(text, ", {} cut short by the stop", work.interrupted.len());
    }
    if !work.detached.is_empty() {
        let _ = write!(text, ", {} at work go on and are taken up by the next start", work.detached.len());
    }
    if !work.left.is_empty() {
        let runs: Vec<String> = work.left.iter().map(ToString::to_string).collect();
        let _ = write!(text, ", {} left at work: {}", work.left.len(), runs.join(", "));
    }
    text.push('\n');
    text
}
