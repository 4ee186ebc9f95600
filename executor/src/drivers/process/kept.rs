//! An attempt in a shim's hands, as the daemon sees it: begun, found again, talked with until its end is recorded.
//! See [`super::shim`].

use super::command::Plan;
use super::control::Step;
use super::home::ProcessHome;
use super::keeping::{self, Keeping};
use super::shim::files::{Files, State};
use super::shim::messages::{self, Ask, End, Tell};
use super::shim::order::{self, About, Order};
use super::spawner::Program;
use super::strays::{self, FIRST_LOOK, LONGEST_LOOK};
use super::{cgroup, exit, shim, signal, usage};
use crate::driver::{Attempt, Handle, Killed, RunSink, Seen};
use crate::output::{Layout, Outputs};
use async_trait::async_trait;
use jiff::Timestamp;
use punctual_clock::{Chance, Clock};
use punctual_faults::crash_point;
use punctual_model::event::EventKind;
use punctual_model::{Exit, Failure, FailureKind, Outcome, RunId, Task, Usage, duration};
use punctual_store::fjall::FreeSpace;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream as Stream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

/// How long a living shim may take to answer a daemon that comes back: many times what it needs.
const ANSWER: Duration = Duration::from_secs(10);

/// What the parts here share about one attempt.
struct Here {
    home: Arc<ProcessHome>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn RunSink>,
    outputs: Outputs,
    attempt: Attempt,
    files: Files,
    /// It is of an earlier session: it may end, or have ended, before we hear of it.
    is_found: bool,
}

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
    fn here(&self, is_found: bool) -> Here {
        Here {
            home: Arc::clone(self.home),
            clock: Arc::clone(self.clock),
            sink: Arc::clone(self.sink),
            outputs: self.outputs.clone(),
            attempt: self.attempt.clone(),
            files: self.files(),
            is_found,
        }
    }

    fn files(&self) -> Files {
        self.keeping.files(self.attempt.run.id, self.attempt.run.life.attempt)
    }

    /// Has a shim start the work. If this is dropped before it returned, the shim sees its stream end: work that has
    /// not begun by then never does, and the rest is found by [`Self::recover`].
    pub(super) async fn start(&self, plan: &Plan<'_>, program: &Program) -> Result<KeptHandle, Failure> {
        let order =
            self.order(plan).and_then(|order| order.encode()).map_err(|error| plan.failure(&error))?;
        crash_point("executor.before_spawn");
        let started = self.has_started(&order, program).await;
        crash_point("executor.after_spawn");
        match started {
            Ok((stream, buffer)) => Ok(KeptHandle::new(self.here(false), stream, buffer)),
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

    async fn has_started(
        &self,
        order: &[u8],
        program: &Program,
    ) -> Result<(UnixStream, Vec<u8>), NotStarted> {
        self.keeping.prepare()?;
        let mut again = true;
        loop {
            let (ours, theirs) = Stream::pair()?;
            ours.set_nonblocking(true)?;
            self.keeping.spawner.spawn(program, theirs, &**self.clock).await?;
            let mut stream = UnixStream::from_std(ours)?;
            // A shim that has refused already does not read it, and has said why.
            let _ = stream.write_all(order).await;
            let mut buffer = Vec::new();
            match next(&mut stream, &mut buffer).await {
                Some(Tell::Started) => return Ok((stream, buffer)),
                Some(Tell::NotStarted { errno: Some(number), step, .. }) => {
                    return Err(NotStarted::System(step, io::Error::from_raw_os_error(number)));
                }
                Some(Tell::NotStarted { errno: None, text, .. }) => return Err(NotStarted::Other(text)),
                // The spawner died before it made a shim: what has no state was never begun.
                None if again && self.files().state().is_none() => again = false,
                Some(_) | None => {
                    drop(stream);
                    self.here(false).end_what_is_left().await;
                    self.files().remove();
                    return Err(vanished());
                }
            }
        }
    }

    /// Finds an attempt of an earlier session, at work or over.
    pub(super) async fn recover(&self) -> Option<Box<dyn Handle>> {
        let (files, run) = (self.files(), &self.attempt.run);
        if let Some(state) = files.state()
            && let Some(shim) = keeping::living(self.home, &state)
        {
            match reconnect(&files, &state, &**self.clock).await {
                Ok(Some((stream, buffer))) => {
                    self.keeping.take_up(run.id, run.life.attempt);
                    return Some(Box::new(KeptHandle::new(self.here(true), stream, buffer)));
                }
                // It ended just now.
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(run.id = %run.id, %error, "a shim does not answer; its work is ended");
                    let kill = &self.attempt.task.spec.kill;
                    keeping::end_shim(shim, named(&kill.signal), kill.grace, &**self.clock).await;
                    cgroup::end(self.home, &files, &**self.clock).await;
                    return None;
                }
            }
        }
        let here = self.here(true);
        let Some(end) = files.end() else {
            here.end_what_is_left().await;
            return None;
        };
        self.keeping.take_up(run.id, run.life.attempt);
        Some(Box::new(EndedHandle {
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

/// The next message; none at the end of the stream. Messages that only a later build knows are passed over.
async fn next(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<Tell> {
    loop {
        while let Some(told) = messages::take(buffer) {
            if let Ok(told) = told {
                return Some(told);
            }
        }
        match stream.read_buf(buffer).await {
            Ok(read) if read > 0 => {}
            Ok(_) | Err(_) => return None,
        }
    }
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
    tokio::select! {
        biased;
        answer = greet(files, state, clock) => answer,
        () = clock.sleep(ANSWER) => Err(io::ErrorKind::TimedOut.into()),
    }
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

impl Here {
    fn run(&self) -> RunId {
        self.attempt.run.id
    }

    /// What an end says about the attempt.
    fn known(&self, end: &End) -> Known {
        let exit = end.code.map(Exit::Code).or(end.signal.map(Exit::Signal));
        let mut outcome = match exit {
            Some(exit) => exit::outcome(exit),
            None => exit::failed(None, "ended in a way that the system does not tell".to_owned()),
        };
        exit::killed_for_memory(&mut outcome, end.out_of_memory, &self.attempt);
        if end.timed_out {
            let limit = end.timeout.map(Duration::from_millis).or(self.attempt.task.spec.timeout);
            let limit = limit.map(duration::format).unwrap_or_default();
            let text = format!("took longer than its timeout of {limit}");
            outcome.error = Some(Failure::new(FailureKind::Timeout, text).recoverable());
        }
        outcome.output = end.output;
        outcome.usage = end.usage;
        let how = if end.by_force { Killed::ByForce } else { Killed::ByItself };
        // What is heard of as it happens happens by the daemon's own clock.
        let at = Timestamp::from_microsecond(end.at).ok().filter(|_| self.is_found);
        let seen = Seen { at, lost: false, out_of_memory: end.out_of_memory > 0 };
        let message = |text: &String| EventKind::Message { source: "process".to_owned(), text: text.clone() };
        // Told at the start too, which a daemon that was killed may have lost.
        let limits = end.limits.clone().map(|layer| EventKind::LimitsApplied { layer });
        let is_told = |kind: &EventKind| self.attempt.run.events.iter().any(|event| event.kind == *kind);
        let limits = limits.filter(|kind| self.is_found && !is_told(kind));
        let mut events: Vec<EventKind> = limits.into_iter().chain(end.said.iter().map(message)).collect();
        events.extend(end.output_error.clone().map(|error| EventKind::OutputFailed { error }));
        // Whoever has it killed tells that himself.
        events.extend((end.timed_out && end.by_force).then_some(EventKind::Killed));
        Known { outcome, how, seen, events }
    }

    /// Ends whatever a dead shim has left of its run.
    async fn end_what_is_left(&self) -> Vec<i32> {
        let state = self.files.state().filter(|state| keeping::is_ours(&self.home, state));
        let leader = state.map(|state| state.leader).filter(|leader| leader.start_time != 0);
        let (group, kill) = (cgroup::found(&self.home, &self.files), &self.attempt.task.spec.kill);
        let killing = cgroup::Killing::default();
        let begun = self.clock.monotonic();
        let find = || {
            let mut found = strays::of_run(&self.home, self.run());
            let leader = leader.filter(|leader| strays::is_alive(*leader));
            found.extend(leader.filter(|leader| !found.contains(leader)));
            // Whoever is in a session whose leader lives is in that session, and in no later one of that number.
            let session = leader.map(|leader| strays::of_session(leader.pid)).unwrap_or_default();
            for one in session {
                if !found.contains(&one) {
                    found.push(one);
                }
            }
            if let Some(group) = &group {
                if self.clock.monotonic().saturating_sub(begun) >= kill.grace {
                    // One after another, those that multiply faster would never be all.
                    killing.kill(group);
                }
                let members = group.members();
                found.extend(members.into_iter().filter(|one| !found.contains(one)).collect::<Vec<_>>());
            }
            found
        };
        let left = strays::end(find, named(&kill.signal), kill.grace, &*self.clock).await.left;
        if let Some(group) = group {
            cgroup::end_group(group, &self.files, &*self.clock).await;
        }
        left
    }
}

/// What is known of an end.
#[derive(Debug, Clone)]
struct Known {
    outcome: Outcome,
    how: Killed,
    seen: Seen,
    /// For the run's record; told to whoever waits for the end, since an attempt that was found again has no record
    /// of ours before that.
    events: Vec<EventKind>,
}

impl Known {
    /// The outcome, and what goes into the record besides.
    fn told_to(&mut self, sink: &dyn RunSink) -> Outcome {
        self.events.drain(..).for_each(|event| sink.event(event));
        self.outcome.clone()
    }
}

/// What a handle asks for.
#[derive(Debug)]
enum Request {
    Kill {
        signal: Signal,
        grace: Duration,
        answer: oneshot::Sender<Result<Killed, String>>,
    },
    Signal {
        signal: Signal,
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Say it; what was asked before has been said by then.
    Change(Ask),
    Parting {
        answer: oneshot::Sender<()>,
    },
    Recorded,
}

/// Work that a shim keeps. Dropped before its end is recorded, it goes on, or its end is kept: the next session
/// finds it.
pub(super) struct KeptHandle {
    requests: mpsc::UnboundedSender<Request>,
    ended: watch::Receiver<Option<Known>>,
    sink: Arc<dyn RunSink>,
    files: Files,
    told: AtomicBool,
}

impl KeptHandle {
    fn new(here: Here, stream: UnixStream, buffer: Vec<u8>) -> Self {
        let (requests, received) = mpsc::unbounded_channel();
        let (tell, ended) = watch::channel(None);
        let (sink, files) = (Arc::clone(&here.sink), here.files.clone());
        let talk = Talk { here, stream, buffer, tell, kills: Vec::new(), signals: VecDeque::new() };
        tokio::spawn(talk.run(received).in_current_span());
        Self { requests, ended, sink, files, told: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Handle for KeptHandle {
    async fn wait(&self) -> Outcome {
        let mut ended = self.ended.clone();
        // The closure's borrow must be gone before the next await; hence the clone.
        let known = ended.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        match known {
            None => {
                exit::failed(None, "who talked with its keeper has died; its end was not seen".to_owned())
            }
            Some(known) if self.told.swap(true, Ordering::Relaxed) => known.outcome,
            Some(mut known) => known.told_to(&*self.sink),
        }
    }

    async fn kill(&self, signal: &str, grace: Duration) -> Result<Killed, String> {
        let (answer, answered) = oneshot::channel();
        let ended = |ended: &watch::Receiver<Option<Known>>| {
            ended.borrow().as_ref().map_or(Killed::ByItself, |known| known.how)
        };
        if self.requests.send(Request::Kill { signal: named(signal), grace, answer }).is_err() {
            return Ok(ended(&self.ended));
        }
        answered.await.unwrap_or_else(|_| Ok(ended(&self.ended)))
    }

    async fn signal(&self, signal: &str) -> Result<(), String> {
        let signal = signal::parse(signal).ok_or_else(|| format!("unknown signal {signal:?}"))?;
        let (answer, answered) = oneshot::channel();
        let gone = || "the process has ended".to_owned();
        self.requests.send(Request::Signal { signal, answer }).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    fn changed(&self, newest: &Task) {
        let kill = &newest.spec.kill;
        let change = Ask::Change {
            timeout: newest.spec.timeout.map(milliseconds),
            signal: named(&kill.signal).as_raw(),
            grace: milliseconds(kill.grace),
        };
        // Work that is over has no use for it.
        let _ = self.requests.send(Request::Change(change));
    }

    async fn stats(&self) -> Option<Usage> {
        let files = self.files.clone();
        let look = move || {
            let shim = files.state()?.shim;
            // Its number is somebody else's once it is gone.
            strays::is_alive(shim).then(|| usage::of_tree(shim.pid, false)).flatten()
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    fn goes_on(&self) -> bool {
        true
    }

    async fn detach(&self) -> bool {
        // The shim is to have heard everything before we go.
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Parting { answer }).is_ok() {
            let _ = answered.await;
        }
        true
    }

    fn seen(&self) -> Seen {
        self.ended.borrow().as_ref().map(|known| known.seen).unwrap_or_default()
    }

    fn recorded(&self) {
        // Who has died cannot be told; the next start sweeps.
        let _ = self.requests.send(Request::Recorded);
    }
}

/// Work that has ended while nobody watched.
struct EndedHandle {
    files: Files,
    known: Mutex<Known>,
    sink: Arc<dyn RunSink>,
}

impl EndedHandle {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Handle for EndedHandle {
    async fn wait(&self) -> Outcome {
        self.known().told_to(&*self.sink)
    }

    async fn kill(&self, _signal: &str, _grace: Duration) -> Result<Killed, String> {
        Ok(self.known().how)
    }

    async fn signal(&self, _signal: &str) -> Result<(), String> {
        Err("the process has ended".to_owned())
    }

    fn goes_on(&self) -> bool {
        true
    }

    async fn detach(&self) -> bool {
        true
    }

    fn seen(&self) -> Seen {
        self.known().seen
    }

    fn recorded(&self) {
        self.files.remove();
    }
}

/// The conversation with one shim.
struct Talk {
    here: Here,
    stream: UnixStream,
    buffer: Vec<u8>,
    tell: watch::Sender<Option<Known>>,
    kills: Vec<oneshot::Sender<Result<Killed, String>>>,
    signals: VecDeque<oneshot::Sender<Result<(), String>>>,
}

impl Talk {
    /// Talks until the handle is dropped or everything is done.
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    // The stream goes with us, and so the shim knows that it is alone.
                    None => return,
                    Some(Request::Recorded) => {
                        if open {
                            self.ask(&Ask::Recorded).await;
                        } else {
                            self.here.files.remove();
                        }
                        return;
                    }
                    Some(request) => self.request(request).await,
                },
                told = next(&mut self.stream, &mut self.buffer), if open => match told {
                    Some(told) => self.told(told),
                    None => {
                        open = false;
                        self.gone().await;
                    }
                },
            }
        }
    }

    async fn ask(&mut self, ask: &Ask) {
        // A shim that has gone is seen when reading.
        let _ = self.stream.write_all(&messages::line(ask)).await;
    }

    async fn request(&mut self, request: Request) {
        let how = self.tell.borrow().as_ref().map(|known| known.how);
        match request {
            Request::Kill { signal, grace, answer } => match how {
                Some(how) => drop(answer.send(Ok(how))),
                None => {
                    self.kills.push(answer);
                    self.ask(&Ask::Kill { signal: signal.as_raw(), grace: milliseconds(grace) }).await;
                }
            },
            Request::Signal { signal, answer } => match how {
                Some(_) => drop(answer.send(Err("the process has ended".to_owned()))),
                None => {
                    self.signals.push_back(answer);
                    self.ask(&Ask::Signal { signal: signal.as_raw() }).await;
                }
            },
            Request::Change(change) if how.is_none() => self.ask(&change).await,
            Request::Parting { answer } => drop(answer.send(())),
            Request::Change(_) | Request::Recorded => {}
        }
    }

    fn told(&mut self, told: Tell) {
        match told {
            Tell::Hello { .. } | Tell::Started | Tell::NotStarted { .. } => {}
            Tell::Output => self.here.outputs.wake(self.here.run()),
            Tell::Signaled { error } => {
                if let Some(answer) = self.signals.pop_front() {
                    let _ = answer.send(error.map_or(Ok(()), Err));
                }
            }
            Tell::Alive { pids } => {
                for answer in self.kills.drain(..) {
                    let _ = answer.send(Err(format!("killed, and still alive: processes {pids:?}")));
                }
            }
            Tell::Ended(end) => {
                self.here.outputs.wake(self.here.run());
                let known = self.here.known(&end);
                self.over(known);
            }
        }
    }

    fn over(&mut self, known: Known) {
        let how = known.how;
        self.tell.send_replace(Some(known));
        for answer in self.kills.drain(..) {
            let _ = answer.send(Ok(how));
        }
        for answer in self.signals.drain(..) {
            let _ = answer.send(Err("the process has ended".to_owned()));
        }
    }

    /// The shim has gone. If it said nothing before, nobody has seen the end of its work.
    async fn gone(&mut self) {
        if self.tell.borrow().is_some() {
            return;
        }
        tracing::error!("who kept the process has died; its end is not seen");
        let left = self.here.end_what_is_left().await;
        if !left.is_empty() {
            tracing::error!(pids = ?left, "processes of a lost attempt could not be ended");
        }
        self.over(Known {
            outcome: exit::failed(None, "what kept the process was killed; its end was not seen".to_owned()),
            how: Killed::ByForce,
            seen: Seen { lost: true, ..Seen::default() },
            events: Vec::new(),
        });
    }
}
