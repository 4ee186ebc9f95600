//! From a definition to a child: the program's file, its arguments, its surroundings; and what went wrong in
//! words that help.

use super::home::{Identity, ProcessHome};
use super::{environment, proc_table};
use crate::driver::Attempt;
use punctual_model::work::ProcessContext;
use punctual_model::{Failure, FailureKind, Work};
use rustix::io::Errno;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// A child that was just started, leader of a group of its own.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) identity: Identity,
}

/// What is to be started.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The program's file.
    pub(super) file: PathBuf,
    pub(super) argv: Vec<Cow<'a, str>>,
    pub(super) environment: BTreeMap<String, OsString>,
    pub(super) context: &'a ProcessContext,
}

/// Makes the plan of an attempt.
pub(super) fn plan<'a>(attempt: &'a Attempt, home: &ProcessHome) -> Result<Plan<'a>, Failure> {
    let (argv, context) = what(&attempt.task.spec.work)?;
    let environment = environment::of(attempt, home);
    let program = argv.first().map(Cow::as_ref).unwrap_or_default();
    let file = find(program, environment.get("PATH").map(|path| path.as_os_str()));
    Ok(Plan { file, argv, environment, context })
}

impl Plan<'_> {
    fn program(&self) -> &str {
        self.argv.first().map(Cow::as_ref).unwrap_or_default()
    }

    /// Why it could not be started.
    pub(super) fn failure(&self, error: &io::Error) -> Failure {
        failure(error, self.program(), self.context)
    }
}

/// Starts it as a child of this process and notes who it is.
pub(super) fn spawn(attempt: &Attempt, home: &ProcessHome) -> Result<Spawned, Failure> {
    let plan = plan(attempt, home)?;
    let context = plan.context;
    let mut command = Command::new(&plan.file);
    // What the work may be and use (user, groups, limits of resources) is set here; `shim::birth` is the place for
    // work with a shim.
    command
        .arg0(plan.program())
        .args(plan.argv.iter().skip(1).map(Cow::as_ref))
        .env_clear()
        .envs(&plan.environment)
        .process_group(0)
        .stdin(if context.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(false);
    if let Some(directory) = &context.cwd {
        command.current_dir(directory);
    }
    let child = command.spawn().map_err(|error| plan.failure(&error))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    let start_time = proc_table::stat(pid).map_or(0, |stat| stat.identity.start_time);
    let identity = Identity { pid, start_time };
    home.note(attempt.run.id, identity);
    Ok(Spawned { child, identity })
}

/// Whether a task leaves it to us to let its work outlive the daemon.
#[cfg(target_os = "linux")]
pub(super) fn wants_shim(work: &Work) -> bool {
    match work {
        Work::Process { context, .. } | Work::Shell { context, .. } => context.shim,
        _ => false,
    }
}

fn what(work: &Work) -> Result<(Vec<Cow<'_, str>>, &ProcessContext), Failure> {
    match work {
        Work::Process { argv, context } if !argv.is_empty() => {
            Ok((argv.iter().map(Into::into).collect(), context))
        }
        Work::Process { .. } => Err(Failure::new(FailureKind::Start, "there is no program to start")),
        Work::Shell { script, interpreter, context } => {
            let mut argv: Vec<Cow<'_, str>> = match interpreter {
                Some(interpreter) if !interpreter.is_empty() => interpreter.iter().map(Into::into).collect(),
                _ => Work::SHELL.into_iter().map(Into::into).collect(),
            };
            argv.push(script.into());
            Ok((argv, context))
        }
        Work::Handler { .. } | Work::Http(_) => {
            Err(Failure::new(FailureKind::Start, "the task's work is no process"))
        }
    }
}

/// The file of a program, by the child's search path. Looking here, and not in the child, keeps the standard
/// library on its fast way of starting processes; what is not found is left for the start to refuse.
fn find(program: &str, path: Option<&OsStr>) -> PathBuf {
    let named = PathBuf::from(program);
    if program.is_empty() || program.contains('/') {
        return named;
    }
    let is_program =
        |file: &PathBuf| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file();
    std::env::split_paths(path.unwrap_or_default())
        .map(|dir| dir.join(program))
        .find(is_program)
        .unwrap_or(named)
}

/// Why it could not be started, and whether another attempt could go better.
fn failure(error: &io::Error, program: &str, context: &ProcessContext) -> Failure {
    let directory = context.cwd.as_deref().filter(|directory| !Path::new(directory).is_dir());
    let text = match (directory, Errno::from_io_error(error)) {
        (Some(directory), Some(Errno::NOENT | Errno::NOTDIR)) => {
            format!("working directory {directory:?} is not there: {error}")
        }
        (Some(directory), Some(Errno::ACCESS)) => {
            format!("working directory {directory:?} cannot be entered: {error}")
        }
        (_, Some(Errno::TOOBIG)) => {
            format!("arguments and environment of {program:?} are too large for the system: {error}")
        }
        (_, _) => format!("cannot start {program:?}: {error}"),
    };
    let failure = Failure::new(FailureKind::Start, text);
    // Short of something that may be there again in a moment; a file that is just being written.
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN | Errno::NOMEM | Errno::TXTBSY | Errno::MFILE | Errno::NFILE) => {
            failure.recoverable()
        }
        _ => failure,
    }
}
