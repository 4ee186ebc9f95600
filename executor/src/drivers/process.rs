//! Runs programs and scripts as children of this process, each in a process group of its own.
//!
//! One supervisor task a child owns it: it reads its pipes, waits for its end, and ends it when told to. What
//! is left of the group when its leader has gone is ended too, so that nothing of an attempt outlives its
//! record. A child does not survive the daemon: what a crash leaves is found by its mark and ended at the next
//! start ([`ProcessDriver::reap_leftovers`]), and its run is lost.

#[cfg(target_os = "linux")]
mod cgroup;
mod command;
#[cfg(target_os = "linux")]
pub(crate) mod control;
mod environment;
mod exit;
mod home;
#[cfg(target_os = "linux")]
mod idle;
#[cfg(target_os = "linux")]
mod keeping;
#[cfg(target_os = "linux")]
mod kept;
mod notes;
mod proc_table;
#[cfg(target_os = "linux")]
pub(crate) mod shim;
mod signal;
#[cfg(target_os = "linux")]
mod spawner;
mod strays;
mod supervisor;
#[cfg(target_os = "linux")]
mod usage;

pub use home::ProcessHome;

use crate::driver::{Attempt, Class, Driver, Handle, Killed, Recovered, RunSink, Seen};
use async_trait::async_trait;
use punctual_clock::Clock;
use punctual_faults::crash_point;
#[cfg(target_os = "linux")]
use punctual_model::Usage;
use punctual_model::{Failure, FailureKind, Outcome, Work};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

/// Runs `process` or `shell` work; one driver each, which may share a home.
#[derive(Debug)]
pub struct ProcessDriver {
    name: &'static str,
    home: Arc<ProcessHome>,
    clock: Arc<dyn Clock>,
    shims: bool,
}

impl ProcessDriver {
    /// Runs argument vectors, without a shell.
    #[must_use]
    pub fn process(home: Arc<ProcessHome>, clock: Arc<dyn Clock>) -> Self {
        Self { name: "process", home, clock, shims: true }
    }

    /// Runs scripts.
    #[must_use]
    pub fn shell(home: Arc<ProcessHome>, clock: Arc<dyn Clock>) -> Self {
        Self { name: "shell", home, clock, shims: true }
    }

    /// Starts all work as children of this process, which end with it.
    #[must_use]
    pub fn without_shims(mut self) -> Self {
        self.shims = false;
        self
    }

    /// Ends what shims of earlier sessions keep that no run asks for, and removes what was left of attempts that
    /// are over. Called once, at start, when every run has been judged.
    pub async fn sweep(home: &ProcessHome, clock: &dyn Clock) {
        #[cfg(target_os = "linux")]
        if let Some(keeping) = home.keeping() {
            keeping.sweep(home, REAP_GRACE, clock).await;
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (home, clock);
    }

    /// Ends all that dead sessions over the same data directory have left alive: politely, then by force.
    /// Answers how many processes that were, and how many could not be ended. Called once, at start, before
    /// any run is judged.
    pub async fn reap_leftovers(home: &ProcessHome, clock: &dyn Clock) -> Reaped {
        let term = rustix::process::Signal::TERM;
        let strays::Ended { found, left } =
            strays::end(|| strays::of_node(home), term, REAP_GRACE, clock).await;
        if found > 0 {
            tracing::warn!(found, left = left.len(), "ended processes that an earlier session had left");
        }
        Reaped { found, left: left.len() }
    }
}

/// The environment of a helper of an attempt, such as a command of a hook: that of its work, without the mark by
/// which the work's own processes are found and ended.
pub(crate) fn environment(attempt: &Attempt) -> std::collections::BTreeMap<String, std::ffi::OsString> {
    environment::of(attempt, &ProcessHome::default())
}

/// How long leftovers of a dead session may take to go by themselves: as long as a task's default grace.
const REAP_GRACE: Duration = Duration::from_secs(5);

/// What [`ProcessDriver::reap_leftovers`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// Processes that carried the mark.
    pub found: usize,
    /// Those that live still.
    pub left: usize,
}

#[async_trait]
impl Driver for ProcessDriver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> Class {
        Class::Process
    }

    async fn start(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Result<Box<dyn Handle>, Failure> {
        #[cfg(target_os = "linux")]
        if self.shims
            && command::wants_shim(&attempt.task.spec.work)
            && let Some(keeping) = self.home.keeping()
            && let Some(program) = keeping.program()
            && let Some(outputs) = sink.outputs()
        {
            let (home, clock) = (&self.home, &self.clock);
            let keeper =
                kept::Keeper { home, keeping, clock, sink: &sink, outputs: &outputs, attempt: &attempt };
            let mut plan = command::plan(&attempt, home).await?;
            // A shim that may have begun has them from now on, also when nobody waits for its word any more.
            let limits = plan.limit(&attempt, home).await?.map(cgroup::Held::hand_over);
            let started = keeper.start(&plan, program).await;
            match (limits, &started) {
                (Some(limits), Ok(_)) => limits.tell(&*sink),
                (Some(limits), Err(_)) => limits.take_back(),
                (None, _) => {}
            }
            return Ok(Box::new(started?));
        }
        #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "no limits are kept there"))]
        let mut plan = command::plan(&attempt, &self.home).await?;
        #[cfg(target_os = "linux")]
        let held = plan.limit(&attempt, &self.home).await?;
        // From the fork to the supervisor nothing is awaited, so a dropped start leaves nothing.
        crash_point("executor.before_spawn");
        let child = command::spawn(&plan, &attempt, &self.home)?;
        crash_point("executor.after_spawn");
        #[cfg(target_os = "linux")]
        held.iter().for_each(|held| held.tell(&*sink));
        let (requests, received) = mpsc::unbounded_channel();
        let (ended, ends) = watch::channel(None);
        let leader = child.identity.pid;
        let supervisor = supervisor::Supervisor::new(
            child,
            &attempt,
            Arc::clone(&self.home),
            Arc::clone(&self.clock),
            sink,
            received,
        );
        #[cfg(target_os = "linux")]
        let supervisor = supervisor.within(supervisor::Limits::of(&attempt, held));
        let stdin = match &attempt.task.spec.work {
            Work::Process { context, .. } | Work::Shell { context, .. } => context.stdin.clone(),
            Work::Handler { .. } | Work::Http(_) => None,
        };
        let watching = async move {
            let end = supervisor.run(stdin).await;
            ended.send_replace(Some(end));
        };
        tokio::spawn(watching.in_current_span());
        Ok(Box::new(ProcessHandle { requests, ended: ends, leader }))
    }

    async fn recover(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Recovered {
        #[cfg(target_os = "linux")]
        if let Some(keeping) = self.home.keeping()
            && let Some(outputs) = sink.outputs()
        {
            let (home, clock) = (&self.home, &self.clock);
            let keeper =
                kept::Keeper { home, keeping, clock, sink: &sink, outputs: &outputs, attempt: &attempt };
            let found = keeper.recover().await;
            if !matches!(found, Recovered::Found(_)) {
                self.home.forget(attempt.run.id);
            }
            return found;
        }
        #[cfg(not(target_os = "linux"))]
        let _ = sink;
        let kill = &attempt.task.spec.kill;
        let signal = signal::parse(&kill.signal).unwrap_or(rustix::process::Signal::TERM);
        let run = attempt.run.id;
        let ended = strays::end(|| strays::of_run(&self.home, run), signal, kill.grace, &*self.clock).await;
        let strays::Ended { found, left } = ended;
        if !left.is_empty() {
            tracing::error!(run.id = %run, pids = ?left, "processes of a lost attempt could not be ended");
        }
        #[cfg(target_os = "linux")]
        if let Some(keeping) = self.home.keeping() {
            cgroup::end(&self.home, &keeping.files(run, attempt.run.life.attempt), &*self.clock).await;
        }
        self.home.forget(run);
        // What has begun as a child of ours has a handle at once; only what an earlier session left is found here.
        if found > 0 { Recovered::Ended } else { Recovered::Nothing }
    }
}

/// A child at work.
#[derive(Debug)]
struct ProcessHandle {
    requests: mpsc::UnboundedSender<supervisor::Request>,
    ended: watch::Receiver<Option<(Outcome, Seen)>>,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there is nothing to look at"))]
    leader: i32,
}

#[async_trait]
impl Handle for ProcessHandle {
    async fn wait(&self) -> Outcome {
        let mut ended = self.ended.clone();
        // The closure's borrow must be gone before the next await; hence the clone.
        let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        end.map(|(outcome, _)| outcome).unwrap_or_else(|| {
            let text = "the supervisor of the process has died; its end was not seen";
            Outcome::failed(Failure::new(FailureKind::Panic, text).recoverable())
        })
    }

    async fn kill(&self, signal: &str, grace: Duration) -> Result<Killed, String> {
        // A stop must not fail for a name; the usual signal is what was meant.
        let signal = signal::parse(signal).unwrap_or_else(|| {
            tracing::warn!(signal, "unknown signal; sending SIGTERM");
            rustix::process::Signal::TERM
        });
        let (answer, answered) = oneshot::channel();
        if self.requests.send(supervisor::Request::Kill { signal, grace, answer }).is_err() {
            return Ok(Killed::ByItself);
        }
        // A supervisor that has gone has seen the end.
        answered.await.unwrap_or(Ok(Killed::ByItself))
    }

    async fn signal(&self, signal: &str) -> Result<(), String> {
        let signal = signal::asked(signal)?;
        let (answer, answered) = oneshot::channel();
        let gone = || "the process has ended".to_owned();
        self.requests.send(supervisor::Request::Signal { signal, answer }).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    fn seen(&self) -> Seen {
        self.ended.borrow().as_ref().map(|(_, seen)| *seen).unwrap_or_default()
    }

    #[cfg(target_os = "linux")]
    async fn stats(&self) -> Option<Usage> {
        if self.ended.borrow().is_some() {
            return None;
        }
        let leader = self.leader;
        tokio::task::spawn_blocking(move || usage::of_tree(leader, true)).await.ok().flatten()
    }

    async fn detach(&self) -> bool {
        // Its pipes end here; only a process with a keeper of its own can go on without us.
        false
    }
}
