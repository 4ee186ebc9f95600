//! From a definition to a child: the program's file, its arguments, its surroundings; and what went wrong in
//! words that help.

#[cfg(target_os = "linux")]
use super::cgroup;
#[cfg(target_os = "linux")]
use super::control::{self, Resolved, Step};
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
    /// What it may be and use.
    #[cfg(target_os = "linux")]
    pub(super) resolved: Resolved,
}

/// Makes the plan of an attempt.
pub(super) async fn plan<'a>(attempt: &'a Attempt, home: &ProcessHome) -> Result<Plan<'a>, Failure> {
    let (argv, context) = what(&attempt.task.spec.work)?;
    #[cfg(not(target_os = "linux"))]
    refuse_control(context)?;
    #[cfg(target_os = "linux")]
    let resolved = resolve(context).await?;
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "nobody else's work is done there"))]
    let mut environment = environment::of(attempt, home);
    #[cfg(target_os = "linux")]
    for (name, value) in resolved.account.iter().flat_map(control::Account::variables) {
        if !context.env.contains_key(name) {
            environment.insert(name.to_owned(), value.into());
        }
    }
    let program = argv.first().map(Cow::as_ref).unwrap_or_default();
    let file = find(program, environment.get("PATH").map(|path| path.as_os_str()));
    Ok(Plan {
        file,
        argv,
        environment,
        context,
        #[cfg(target_os = "linux")]
        resolved,
    })
}

impl Plan<'_> {
    /// Makes the control group of an attempt that has limits; its child will enter it.
    #[cfg(target_os = "linux")]
    pub(super) async fn limit(
        &mut self,
        attempt: &Attempt,
        home: &ProcessHome,
    ) -> Result<Option<cgroup::Held>, Failure> {
        let held = cgroup::begin(home, attempt, &self.context.resources).await?;
        self.resolved.control.cgroup = held.as_ref().map(|held| held.group().clone());
        Ok(held)
    }

    fn program(&self) -> &str {
        self.argv.first().map(Cow::as_ref).unwrap_or_default()
    }

    /// Why it could not be started.
    pub(super) fn failure(&self, error: &io::Error) -> Failure {
        failure(error, self.program(), self.context)
    }

    /// Why it could not be started, by the step at which the child was.
    #[cfg(target_os = "linux")]
    pub(super) fn failure_at(&self, step: Step, error: &io::Error) -> Failure {
        match step.text(self.context, error) {
            Some(text) => classed(Failure::new(FailureKind::Start, text), error),
            None => self.failure(error),
        }
    }
}

/// Looks up who the work is, where nothing waits for it.
#[cfg(target_os = "linux")]
async fn resolve(context: &ProcessContext) -> Result<Resolved, Failure> {
    if context.user.is_none() && context.group.is_none() && context.groups.is_none() {
        return control::resolve(context);
    }
    let context = context.clone();
    let resolved = tokio::task::spawn_blocking(move || control::resolve(&context)).await;
    resolved.unwrap_or_else(|error| Err(Failure::new(FailureKind::Panic, error.to_string()).recoverable()))
}

/// What cannot be kept here must not be taken for kept.
#[cfg(not(target_os = "linux"))]
fn refuse_control(context: &ProcessContext) -> Result<(), Failure> {
    let asks = context.user.is_some()
        || context.group.is_some()
        || context.groups.is_some()
        || context.no_new_privs
        || context.umask.is_some()
        || context.nice.is_some()
        || !context.rlimits.is_empty()
        || !context.resources.is_unlimited();
    let text = "users, groups and limits of processes are kept on Linux only";
    if asks { Err(Failure::new(FailureKind::Start, text)) } else { Ok(()) }
}

/// Starts it as a child of this process and notes who it is.
pub(super) fn spawn(plan: &Plan<'_>, attempt: &Attempt, home: &ProcessHome) -> Result<Spawned, Failure> {
    let context = plan.context;
    let mut command = Command::new(&plan.file);
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
    #[cfg(target_os = "linux")]
    let child = controlled(command, plan)?;
    #[cfg(not(target_os = "linux"))]
    let child = command.spawn().map_err(|error| plan.failure(&error))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    let start_time = proc_table::stat(pid).map_or(0, |stat| stat.identity.start_time);
    let identity = Identity { pid, start_time };
    home.note(attempt.run.id, identity);
    Ok(Spawned { child, identity })
}

/// Starts it with what it may be and use, which is set in the child; `shim::birth` does the same with a shim.
#[cfg(target_os = "linux")]
fn controlled(mut command: Command, plan: &Plan<'_>) -> Result<Child, Failure> {
    use rustix::pipe::{PipeFlags, pipe_with};
    let control = &plan.resolved.control;
    if control.is_nothing() {
        return command.spawn().map_err(|error| plan.failure(&error));
    }
    let ready = control.ready();
    // The standard library tells of a child that could not go on by the number of its error only.
    let (asked, tells) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|error| plan.failure(&io::Error::from(error)))?;
    super::shim::in_child(&mut command, move || {
        ready.apply().map_err(|refused| {
            let _ = rustix::io::write(&tells, &[refused.step.0]);
            refused.error.into()
        })
    });
    command.spawn().map_err(|error| {
        let mut step = [Step::START.0];
        // A child that got further has written nothing.
        let _ = rustix::io::read(&asked, &mut step);
        plan.failure_at(Step(step[0]), &error)
    })
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

/// Why it could not be started.
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
    classed(Failure::new(FailureKind::Start, text), error)
}

/// Whether another attempt could go better.
fn classed(failure: Failure, error: &io::Error) -> Failure {
    // Short of something that may be there again in a moment; a file that is just being written.
    match Errno::from_io_error(error) {
        Some(Errno::AGAIN | Errno::NOMEM | Errno::TXTBSY | Errno::MFILE | Errno::NFILE) => {
            failure.recoverable()
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_a_start_has_its_text_and_its_class() {
        let here = ProcessContext::default();
        let nowhere = ProcessContext { cwd: Some("/no/such/directory".to_owned()), ..Default::default() };
        for (error, context, part, recoverable) in [
            (Errno::NOENT, &here, "cannot start \"p\": No such file", false),
            (Errno::ACCESS, &here, "cannot start \"p\": Permission denied", false),
            (Errno::PERM, &here, "cannot start \"p\": Operation not permitted", false),
            (Errno::NOEXEC, &here, "cannot start \"p\": Exec format error", false),
            (Errno::NOTDIR, &here, "cannot start \"p\": Not a directory", false),
            (Errno::LOOP, &here, "cannot start \"p\"", false),
            (Errno::TOOBIG, &here, "too large for the system", false),
            (Errno::NOENT, &nowhere, "working directory \"/no/such/directory\" is not there", false),
            (Errno::NOTDIR, &nowhere, "working directory \"/no/such/directory\" is not there", false),
            (Errno::ACCESS, &nowhere, "working directory \"/no/such/directory\" cannot be entered", false),
            (Errno::AGAIN, &here, "cannot start \"p\"", true),
            (Errno::NOMEM, &here, "cannot start \"p\"", true),
            (Errno::MFILE, &here, "cannot start \"p\"", true),
            (Errno::NFILE, &here, "cannot start \"p\"", true),
            (Errno::TXTBSY, &here, "cannot start \"p\"", true),
        ] {
            let failure = failure(&error.into(), "p", context);
            assert_eq!((failure.kind, failure.recoverable), (FailureKind::Start, recoverable), "{error}");
            assert!(failure.message.contains(part), "{}", failure.message);
        }
    }
}
