//! An attempt in a shim's hands, as the daemon sees it: begun, found again, talked with until its end is recorded.
//! See [`super::shim`].

mod handle;
mod here;
mod left;
mod talk;

use super::command::Plan;
use super::control::Step;
use super::home::ProcessHome;
use super::idle::Free;
use super::keeping::{self, Keeping};
use super::shim::files::Files;
use super::shim::messages::{self, Ask, Tell};
use super::shim::note::{self, State};
use super::shim::order::{self, About, Order};
use super::spawner::Program;
use super::strays::{self, FIRST_LOOK, LONGEST_LOOK};
use super::{cgroup, shim, signal};
use crate::driver::{Attempt, Recovered, RunSink};
use crate::output::{Layout, Outputs};
use handle::{EndedHandle, KeptHandle};
use here::Here;
use punctual_clock::{Chance, Clock};
use punctual_faults::crash_point;
use punctual_model::{Failure, FailureKind};
use punctual_store::fjall::FreeSpace;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use talk::next;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

/// How often a daemon that comes back looks whether a living shim has answered, and how long each time: its disk may stand
/// still while it makes the output durable, and who gives up on it loses a true end. Looks and not one long time, so that
/// what the daemon itself stands still for does not count.
const LOOKS: u32 = 60;
const LOOK: Duration = Duration::from_secs(1);

/// What it takes to begin or find an attempt.
pub(super) struct Keeper<'a> {
    pub(super) home: &'a Arc<ProcessHome>,
    pub(super) keeping: &'a Keeping,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) sink: &'a Arc<dyn RunSink>,
    pub(super) outputs: &'a Outputs,
    pub(super) attempt: &'a Attempt,
}

impl Keeper<'_> {
    fn here(&self, note: Option<PathBuf>, is_found: bool) -> Here {
        Here {
            home: Arc::clone(self.home),
            clock: Arc::clone(self.clock),
            sink: Arc::clone(self.sink),
            outputs: self.outputs.clone(),
            attempt: self.attempt.clone(),
            files: self.files(),
            note,
            is_found,
        }
    }

    fn files(&self) -> Files {
        self.keeping.files(self.attempt.run.id, self.attempt.run.life.attempt)
    }

    /// Has a shim start the work. If this is dropped before it returned, the shim sees its stream end: work that has
    /// not begun by then never does, and the rest is found by [`Self::recover`].
    pub(super) async fn start(&self, plan: &Plan<'_>, program: &Program) -> Result<KeptHandle, Failure> {
        let mut order = self.order(plan).map_err(|error| plan.failure(&error))?;
        crash_point("executor.before_spawn");
        let started = self.has_started(&mut order, program).await;
        crash_point("executor.after_spawn");
        match started {
            Ok((shim, buffer)) => Ok(KeptHandle::new(self.here(Some(shim.note), false), shim.stream, buffer)),
            Err(NotStarted::System(step, error)) => Err(plan.failure_at(step, &error)),
            Err(NotStarted::Other(text)) => Err(Failure::new(FailureKind::Start, text).recoverable()),
        }
    }

    fn order(&self, plan: &Plan<'_>) -> io::Result<Order> {
        let (run, task) = (&self.attempt.run, &self.attempt.task);
        let environment = plan.environment.iter().map(|(name, value)| {
            let mut text = std::ffi::OsString::from(name);
            text.push("=");
            text.push(value);
            order::text(text)
        });
        Ok(Order {
            about: About {
                run: run.id,
                attempt: run.life.attempt,
                // That of whoever will take it.
                note: String::new(),
                node: self.home.mark().unwrap_or_default().to_owned(),
                token: format!("{:016x}", Chance::from_os().bits()),
                timeout: task.spec.timeout.map(milliseconds),
                signal: named(&task.spec.kill.signal).as_raw(),
                grace: milliseconds(task.spec.kill.grace),
                layout: Layout::of(&task.spec),
                free_space: match self.outputs.free_space() {
                    FreeSpace::Usual => None,
                    FreeSpace::Bytes(bytes) => Some(bytes),
                },
                control: plan.resolved.control.clone(),
            },
            states: self.keeping.directory().to_owned(),
            outputs: self.outputs.root().map(order::absolute).unwrap_or_default(),
            file: order::text(&plan.file)?,
            directory: plan.context.cwd.as_ref().map(order::text).transpose()?,
            arguments: plan.argv.iter().map(|text| order::text(&**text)).collect::<io::Result<_>>()?,
            environment: environment.collect::<io::Result<_>>()?,
            input: plan.context.stdin.clone().map(String::into_bytes),
        })
    }

    async fn has_started(&self, order: &mut Order, program: &Program) -> Result<(Free, Vec<u8>), NotStarted> {
        let mut again = true;
        let mut idle = self.keeping.idle.take();
        loop {
            let is_new = idle.is_none();
            let mut shim = match idle.take() {
                Some(shim) => shim,
                None => self.new_shim(program).await?,
            };
            let name = shim.note.file_name().and_then(OsStr::to_str).unwrap_or_default();
            name.clone_into(&mut order.about.note);
            // A shim that has refused already does not read it, and has said why.
            let _ = shim.stream.write_all(&order.encode()?).await;
            let mut buffer = Vec::new();
            match next(&mut shim.stream, &mut buffer).await {
                Some(Tell::Started) => return Ok((shim, buffer)),
                Some(Tell::NotStarted { errno: Some(number), step, .. }) => {
                    return Err(NotStarted::System(step, io::Error::from_raw_os_error(number)));
                }
                Some(Tell::NotStarted { errno: None, text, .. }) => return Err(NotStarted::Other(text)),
                // It died while it waited for work, or the spawner before it made a shim: what is not noted was never
                // begun.
                None if (again || !is_new) && !self.is_noted(&shim.note) => {
                    let _ = std::fs::remove_file(&shim.note);
                    again &= !is_new;
                }
                Some(_) | None => {
                    drop(shim.stream);
                    let here = self.here(Some(shim.note), false);
                    here.end_what_is_left().await;
                    here.remove_all();
                    return Err(vanished());
                }
            }
        }
    }

    async fn new_shim(&self, program: &Program) -> io::Result<Free> {
        self.keeping.prepare()?;
        let (ours, theirs) = Stream::pair()?;
        ours.set_nonblocking(true)?;
        self.keeping.spawner.spawn(program, theirs, &**self.clock).await?;
        Ok(Free { stream: UnixStream::from_std(ours)?, note: self.keeping.new_note() })
    }

    /// Whether this attempt stands in this note.
    fn is_noted(&self, note: &Path) -> bool {
        let run = &self.attempt.run;
        note::read(note).is_some_and(|state| state.is_of(run.id, run.life.attempt))
    }

    /// Finds an attempt of an earlier session, at work or over.
    pub(super) async fn recover(&self) -> Recovered {
        let (files, run) = (self.files(), &self.attempt.run);
        let noted = self.keeping.state(run.id, run.life.attempt);
        if let Some((note, state)) = &noted
            && let Some(shim) = keeping::living(self.home, state)
        {
            match reconnect(&files, state, &**self.clock).await {
                Ok(Some((stream, buffer))) => {
                    self.keeping.take_up(run.id, run.life.attempt);
                    let here = self.here(Some(note.clone()), true);
                    return Recovered::Found(Box::new(KeptHandle::new(here, stream, buffer)));
                }
                // It ended just now.
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(run.id = %run.id, %error, "a shim does not answer; its work is ended");
                    let kill = &self.attempt.task.spec.kill;
                    keeping::end_shim(shim, named(&kill.signal), kill.grace, &**self.clock).await;
                    cgroup::end(self.home, &files, &**self.clock).await;
                    return Recovered::Ended;
                }
            }
        }
        let here = self.here(noted.map(|(note, _)| note), true);
        let Some(end) = files.end() else {
            let ended = here.end_what_is_left().await;
            // The note is there before the work begins, and a shim that did not let it begin takes its note back.
            let has_begun = ended.found > 0 || here.noted().is_some();
            return if has_begun { Recovered::Ended } else { Recovered::Nothing };
        };
        self.keeping.take_up(run.id, run.life.attempt);
        Recovered::Found(Box::new(EndedHandle {
            files,
            known: Mutex::new(here.known(&end)),
            sink: Arc::clone(self.sink),
        }))
    }
}

enum NotStarted {
    System(Step, io::Error),
    Other(String),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self::System(Step::START, error)
    }
}

fn vanished() -> NotStarted {
    NotStarted::Other("what was to keep the process has died while it started it".to_owned())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn named(signal: &str) -> Signal {
    signal::parse(signal).unwrap_or_else(|| {
        // A stop must not fail for a name; the usual signal is what was meant.
        tracing::warn!(signal, "unknown signal; sending SIGTERM");
        Signal::TERM
    })
}

/// A stream to a shim that has lost its daemon; none if it has ended meanwhile.
async fn reconnect(
    files: &Files,
    state: &State,
    clock: &dyn Clock,
) -> io::Result<Option<(UnixStream, Vec<u8>)>> {
    let mut greeting = std::pin::pin!(greet(files, state, clock));
    for _ in 0..LOOKS {
        tokio::select! {
            biased;
            answer = &mut greeting => return answer,
            () = clock.sleep(LOOK) => {}
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Waits until it listens, which it does as soon as it has seen that its daemon is gone, and shows that we may talk.
async fn greet(files: &Files, state: &State, clock: &dyn Clock) -> io::Result<Option<(UnixStream, Vec<u8>)>> {
    let path = files.socket();
    let directory = File::open(path.parent().unwrap_or(&path))?;
    // The length of a socket's name is bounded, and that of a directory is not.
    let short = shim::through(&directory, path.file_name().unwrap_or_default());
    let mut pause = FIRST_LOOK;
    while strays::is_alive(state.shim) {
        if let Ok(mut stream) = UnixStream::connect(&short).await {
            // Whose socket it is tells the system; it cannot be a stranger that has got the number since.
            let is_it = rustix::net::sockopt::socket_peercred(&stream)
                .is_ok_and(|who| who.pid.as_raw_nonzero().get() == state.shim.pid);
            let (mut buffer, token) = (Vec::new(), state.token.clone());
            let asked = stream.write_all(&messages::line(&Ask::Hello { token: token.clone() })).await;
            if is_it && asked.is_ok() && next(&mut stream, &mut buffer).await == Some(Tell::Hello { token }) {
                return Ok(Some((stream, buffer)));
            }
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_LOOK);
    }
    Ok(None)
}
