//! A short command of a hook: a child in a process group of its own that ends with the hook.
//!
//! Its output is no output of the run; of a failure the end of it is told.

use punctual_clock::Clock;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// How much of a hook's output is told when it fails: the lines that say why fit in, and an event has room for it.
const TAIL: usize = 512;

/// How long the pipes of a command may stay open after its end, held by what it started and left behind.
const DRAIN: Duration = Duration::from_millis(200);

/// What to run.
pub(super) struct Spec<'a> {
    pub(super) argv: &'a [String],
    pub(super) env: BTreeMap<String, OsString>,
    pub(super) cwd: Option<PathBuf>,
}

/// Ends the whole group, whatever becomes of the future that waits for its leader.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Gone already is what was wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Runs it to its end; dropped, it ends it and what it has started.
///
/// # Errors
/// In words: it could not be started, or it failed, with the end of what it wrote.
pub(super) async fn run(spec: Spec<'_>, clock: &dyn Clock) -> Result<(), String> {
    let [program, arguments @ ..] = spec.argv else { return Err("there is no program to start".to_owned()) };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&spec.env)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let mut child = command.spawn().map_err(|error| format!("cannot start {program:?}: {error}"))?;
    let group = Group(child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let tail = std::sync::Mutex::new(VecDeque::new());
    let reading = async { tokio::join!(read(stdout, &tail), read(stderr, &tail)) };
    let mut reading = std::pin::pin!(reading);
    let mut closed = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = &mut reading, if !closed => closed = true,
        }
    };
    // What it has left behind ends with it.
    drop(group);
    if !closed {
        tokio::select! {
            _ = &mut reading => {}
            () = clock.sleep(DRAIN) => {}
        }
    }
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let tail = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let bytes: Vec<u8> = tail.iter().copied().collect();
            let said = String::from_utf8_lossy(&bytes).trim().to_owned();
            Err(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
        }
        Err(error) => Err(format!("its end was not seen: {error}")),
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, tail: &std::sync::Mutex<VecDeque<u8>>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut piece).await {
        let mut tail = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tail.extend(&piece[..count]);
        let surplus = tail.len().saturating_sub(TAIL);
        tail.drain(..surplus);
    }
}
