//! Owns one child from its start until nothing of it lives.
//!
//! ```text
//!            request: kill / signal      deadline: KILL to the group
//!                      │                        │
//!  pipes ──► pumps ──► supervisor ──► wait for the leader ──► what is left of the group ──► drain ──► outcome
//! ```
//!
//! Every wait listens to the requests too. Nothing here decides why a child shall end.

mod limits;

pub(super) use limits::Limits;

use super::command::Spawned;
use super::exit::{self, failed};
use super::home::{Identity, ProcessHome};
use super::proc_table;
use super::strays::{self, FIRST_LOOK, LONGEST_LOOK, PROOF};
use crate::driver::{Attempt, Killed, RunSink, Seen, Stream};
use punctual_clock::{Clock, Wait};
use punctual_model::event::EventKind;
use punctual_model::{Exit, Outcome, RunId};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};

/// How long output is read after the leader and its group have gone: what is in the pipes is there at once;
/// only a process that left the group and kept them open makes us wait.
pub(super) const DRAIN: Duration = Duration::from_millis(250);

/// In so many looks: a machine that stands still for longer than all of it takes up one, not the rest.
const DRAIN_LOOKS: u32 = 10;

/// Read at once from a pipe, which holds as much by default.
pub(super) const PIPE: usize = 64 << 10;

/// What a handle asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// End it.
    Kill { signal: Signal, grace: Duration, answer: oneshot::Sender<Result<Killed, String>> },
    /// Send a signal.
    Signal { signal: Signal, answer: oneshot::Sender<Result<(), String>> },
}

pub(super) struct Supervisor {
    child: Child,
    leader: Identity,
    run: RunId,
    home: Arc<ProcessHome>,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn RunSink>,
    requests: mpsc::UnboundedReceiver<Request>,
    /// How the leader ended.
    exit: Option<std::io::Result<ExitStatus>>,
    ending: Option<Ending>,
    drained: bool,
    limits: Limits,
    /// What is left behind within its limits by a leader that has gone by itself is killed until this time.
    sweeping: Option<Sweeping>,
}

struct Sweeping {
    until: Duration,
    look: Duration,
}

/// An end that was asked for.
struct Ending {
    answers: Vec<oneshot::Sender<Result<Killed, String>>>,
    /// On the monotonic clock: when it becomes impolite, then when it is called a failure.
    deadline: Duration,
    how: Killed,
    look: Duration,
}

enum Happened {
    Exit(std::io::Result<ExitStatus>),
    Drained,
    Asked(Request),
    Look,
}

impl Supervisor {
    pub(super) fn new(
        spawned: Spawned,
        attempt: &Attempt,
        home: Arc<ProcessHome>,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn RunSink>,
        requests: mpsc::UnboundedReceiver<Request>,
    ) -> Self {
        Self {
            child: spawned.child,
            leader: spawned.identity,
            run: attempt.run.id,
            home,
            clock,
            sink,
            requests,
            exit: None,
            ending: None,
            drained: false,
            limits: Limits::default(),
            sweeping: None,
        }
    }

    /// The same, of a child with limits.
    #[cfg(target_os = "linux")]
    pub(super) fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Watches it to its end.
    pub(super) async fn run(mut self, stdin: Option<String>) -> (Outcome, Seen) {
        let (out, err, input) = (self.child.stdout.take(), self.child.stderr.take(), self.child.stdin.take());
        let (out_sink, err_sink) = (Arc::clone(&self.sink), Arc::clone(&self.sink));
        let pumps = async move {
            let feed = async move {
                if let (Some(mut input), Some(text)) = (input, stdin) {
                    // A child that does not read its input is none of our errors.
                    let _ = input.write_all(text.as_bytes()).await;
                }
            };
            tokio::join!(pump(out, Stream::Stdout, out_sink), pump(err, Stream::Stderr, err_sink), feed);
        };
        let mut pumps = Box::pin(pumps);
        while !self.is_over() {
            match self.next(&mut pumps).await {
                Happened::Exit(status) => self.leader_gone(status),
                Happened::Drained => self.drained = true,
                Happened::Asked(request) => self.asked(request),
                Happened::Look => self.look(),
            }
        }
        if !self.drained && !self.drain(&mut pumps).await {
            self.say("its output was left open by a process outside its group");
        }
        self.home.forget(self.run);
        let mut outcome = outcome_of(self.exit.take());
        let out_of_memory = self.limits.close(&mut outcome).await;
        self.answer_all();
        (outcome, Seen { out_of_memory, ..Seen::default() })
    }

    /// Reads what is left in the pipes; answers whether they are closed.
    async fn drain(&self, pumps: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        for _ in 0..DRAIN_LOOKS {
            tokio::select! {
                biased;
                () = &mut *pumps => return true,
                () = self.clock.sleep(DRAIN / DRAIN_LOOKS) => {}
            }
            // Where everything stood still, time is up before anybody was told that there is something to read.
            tokio::task::yield_now().await;
        }
        false
    }

    async fn next(&mut self, pumps: &mut (impl Future<Output = ()> + Unpin)) -> Happened {
        let look = self.next_look();
        tokio::select! {
            biased;
            Some(request) = self.requests.recv() => Happened::Asked(request),
            status = self.child.wait(), if self.exit.is_none() => Happened::Exit(status),
            () = pumps, if !self.drained => Happened::Drained,
            () = look => Happened::Look,
        }
    }

    /// When to look at what is left, or at the clock; never, while nothing is to end.
    fn next_look(&self) -> Wait {
        match (&self.ending, &self.sweeping) {
            (None, None) => Box::pin(std::future::pending()),
            (None, Some(sweeping)) => self.clock.sleep(sweeping.look),
            (Some(ending), _) => {
                let until_deadline = ending.deadline.saturating_sub(self.clock.monotonic());
                // While the leader lives, its end wakes us.
                let pause =
                    if self.exit.is_some() { ending.look.min(until_deadline) } else { until_deadline };
                self.clock.sleep(pause)
            }
        }
    }

    fn is_over(&self) -> bool {
        self.exit.is_some()
            && match self.ending {
                Some(_) => self.left().is_empty() && self.limits.is_empty(),
                None => self.sweeping.is_none() || self.limits.is_empty(),
            }
    }

    fn leader_gone(&mut self, status: std::io::Result<ExitStatus>) {
        self.exit = Some(status);
        if self.ending.is_none() {
            let (mut left, limited) = (self.left_in_group(), self.limits.members());
            if !self.limits.is_empty() {
                // Within its limits is within its run, also outside of the group.
                let until = self.clock.monotonic().saturating_add(PROOF);
                self.sweeping = Some(Sweeping { until, look: FIRST_LOOK });
                left.extend(limited.iter().map(|one| one.pid));
                left.sort_unstable();
                left.dedup();
                self.limits.kill();
            }
            if !left.is_empty() {
                // Gone in between is what is wanted.
                let _ = self.group(Signal::KILL);
                self.say(&format!("{} of its processes were left behind and killed", left.len()));
            }
        }
    }

    fn asked(&mut self, request: Request) {
        match request {
            Request::Signal { signal, answer } => {
                let sent = if self.exit.is_some() {
                    Err("the process has ended".to_owned())
                } else {
                    self.group(signal)
                };
                let _ = answer.send(sent);
            }
            Request::Kill { signal, grace, answer } => {
                let deadline = self.clock.monotonic().saturating_add(grace);
                match &mut self.ending {
                    Some(ending) => {
                        ending.answers.push(answer);
                        if ending.how == Killed::ByItself {
                            ending.deadline = ending.deadline.min(deadline);
                        }
                    }
                    None => {
                        // The rest of a leader that has gone by itself is being killed; now that is waited for.
                        self.sweeping = None;
                        let answers = vec![answer];
                        let how = Killed::ByItself;
                        self.ending = Some(Ending { answers, deadline, how, look: FIRST_LOOK });
                        self.send(signal);
                    }
                }
            }
        }
    }

    /// Looks at the clock, and what is past its deadline is dealt with.
    fn look(&mut self) {
        let now = self.clock.monotonic();
        if self.ending.is_none()
            && let Some(sweeping) = &mut self.sweeping
        {
            sweeping.look = (sweeping.look * 2).min(LONGEST_LOOK);
            if now >= sweeping.until {
                // To wait for ever for what cannot be ended would hold the run and its seat for ever.
                self.sweeping = None;
                let left: Vec<i32> = self.limits.members().iter().map(|one| one.pid).collect();
                self.say(&format!("processes of it could not be ended: {left:?}"));
            } else {
                self.limits.kill();
            }
        }
        let Some(ending) = &mut self.ending else { return };
        ending.look = (ending.look * 2).min(LONGEST_LOOK);
        if now < ending.deadline {
            return;
        }
        match ending.how {
            Killed::ByItself => {
                ending.how = Killed::ByForce;
                ending.deadline = now.saturating_add(PROOF);
                self.send(Signal::KILL);
            }
            Killed::ByForce => {
                let answers = std::mem::take(&mut ending.answers);
                let left = if self.exit.is_none() { vec![self.leader.pid] } else { self.left() };
                for answer in answers {
                    let _ = answer.send(Err(format!("killed, and still alive: processes {left:?}")));
                }
                // Not given up: an exit ends it all the same, and the next request tries again.
                if let Some(ending) = &mut self.ending {
                    ending.deadline = now.saturating_add(PROOF);
                }
                self.send(Signal::KILL);
            }
        }
    }

    fn answer_all(&mut self) {
        if let Some(ending) = self.ending.take() {
            for answer in ending.answers {
                let _ = answer.send(Ok(ending.how));
            }
        }
        // Requests that came too late find that there is nothing left to end.
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Kill { answer, .. } => drop(answer.send(Ok(Killed::ByItself))),
                Request::Signal { answer, .. } => drop(answer.send(Err("the process has ended".to_owned()))),
            }
        }
    }

    /// To the group, and to those of the run that have left it.
    fn send(&self, signal: Signal) {
        // A group that is gone is what is wanted.
        let _ = self.group(signal);
        let outside = self.outside();
        for stray in &outside {
            strays::send(*stray, signal);
        }
        if signal == Signal::KILL {
            self.limits.kill();
        } else {
            // A second one means "now" to many programs.
            let has_it = |pid| {
                let in_group = |stat: proc_table::Stat| stat.group == self.leader.pid;
                outside.iter().any(|stray| stray.pid == pid) || proc_table::stat(pid).is_some_and(in_group)
            };
            self.limits.signal(signal, has_it);
        }
    }

    /// To the group. Its number is ours as long as anything of it lives, the leader as a zombie included.
    fn group(&self, signal: Signal) -> Result<(), String> {
        let group = Pid::from_raw(self.leader.pid).ok_or("the process has no number")?;
        kill_process_group(group, signal).map_err(|error| error.to_string())
    }

    /// Everything of this run that lives.
    fn left(&self) -> Vec<i32> {
        let mut left = self.left_in_group();
        left.extend(self.outside().iter().map(|stray| stray.pid));
        left.extend(self.limits.members().iter().map(|one| one.pid));
        left.sort_unstable();
        left.dedup();
        left
    }

    fn left_in_group(&self) -> Vec<i32> {
        let Some(group) = Pid::from_raw(self.leader.pid) else { return Vec::new() };
        match rustix::process::test_kill_process_group(group) {
            Err(rustix::io::Errno::SRCH) => Vec::new(),
            // Zombies that nobody reaps are members too; they do not count.
            _ if proc_table::is_readable() => proc_table::members(self.leader.pid),
            _ => vec![self.leader.pid],
        }
    }

    /// Processes of this run outside of its group.
    fn outside(&self) -> Vec<Identity> {
        let mut found = strays::of_run(&self.home, self.run);
        found.retain(|identity| {
            proc_table::stat(identity.pid).is_some_and(|stat| stat.group != self.leader.pid)
        });
        found
    }

    fn say(&self, text: &str) {
        self.sink.event(EventKind::Message { source: "process".to_owned(), text: text.to_owned() });
    }
}

/// Hands on what comes out of a pipe, until it is closed.
async fn pump(pipe: Option<impl AsyncRead + Unpin>, stream: Stream, sink: Arc<dyn RunSink>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = Vec::with_capacity(PIPE);
    loop {
        match pipe.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => sink.output(stream, &buffer),
        }
        buffer.clear();
    }
}

fn outcome_of(exit: Option<std::io::Result<ExitStatus>>) -> Outcome {
    match exit {
        Some(Ok(status)) => match status.code().map(Exit::Code).or(status.signal().map(Exit::Signal)) {
            Some(exit) => exit::outcome(exit),
            None => failed(None, "ended in a way that the system does not tell".to_owned()),
        },
        Some(Err(error)) => failed(None, format!("its end could not be seen: {error}")),
        None => failed(None, "its end was not seen".to_owned()),
    }
}
