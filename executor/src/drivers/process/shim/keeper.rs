//! Keeps one attempt: from the order to the moment at which its end is recorded, or lies on the disk for whoever
//! comes to record it.
//!
//! ```text
//!                  a daemon, or nobody ◄──► line
//!                                            │ kill, signal
//! pipes ──► output file      children ──► keeper ──► tree is empty ──► output is synced ──► told, or written down
//!                                            │ time is up and nobody there
//! ```
//!
//! One loop over one `poll`. It decides nothing about the run but what was ordered: when the time is up while no
//! daemon is there to say so.

use super::super::cgroup::{self, Group};
use super::super::control::Step;
use super::super::home::Identity;
use super::super::proc_table::Stat;
use super::super::strays::{self, FIRST_LOOK, LONGEST_LOOK, PROOF};
use super::super::supervisor::{DRAIN, PIPE};
use super::super::usage;
use super::birth::{self, Born, Stillborn};
use super::files::Files;
use super::line::Line;
use super::messages::{Ask, End, Tell};
use super::order::Order;
use super::{system, time, tree};
use crate::driver::Stream;
use crate::output::{Outputs, Writer};
use punctual_store::fjall::FreeSpace;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// The shortest time between two words about more output: a reader sees it as it comes, and a flood does not
/// become a flood of words.
const HINTS: Duration = Duration::from_millis(20);

/// How long to wait before an end is written once more that could not be: the disk is full or broken, and an end
/// that nobody knows of is a run that is lost.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps an attempt to its end. The stream is the daemon's that ordered it.
pub(super) fn keep(mut stream: UnixStream, me: Identity) {
    let Ok(order) = Order::decode(&mut stream) else { return };
    let files = Files::new(&order.states, order.about.run, order.about.attempt);
    // Before the fork: an end that comes early is told all the same.
    let children = match system::watch_children() {
        Ok(children) => children,
        Err(error) => return refuse(&mut stream, &error),
    };
    let prepared = rustix::process::set_child_subreaper(Pid::from_raw(me.pid))
        .map_err(std::io::Error::from)
        .and_then(|()| Line::new(stream.try_clone()?, true));
    let mut line = match prepared {
        Ok(line) => line,
        Err(error) => return refuse(&mut stream, &error),
    };
    let mut early = Vec::new();
    let born = birth::start(&order, &files, me, || {
        let (asked, open) = line.hear();
        early = asked;
        open
    });
    drop(stream);
    match born {
        Ok(born) => {
            line.tell(&Tell::Started);
            let mut keeper = Keeper::new(order, files, line, children, born);
            early.into_iter().for_each(|ask| keeper.asked(ask));
            keeper.run();
        }
        Err(Stillborn::Unwanted) => files.remove(),
        Err(Stillborn::Error(step, error)) => {
            files.remove();
            let text = error.to_string();
            line.tell(&Tell::NotStarted { errno: error.raw_os_error(), text, step });
        }
    }
}

/// Says that nothing comes of it.
fn refuse(stream: &mut UnixStream, error: &std::io::Error) {
    let (errno, text) = (error.raw_os_error(), error.to_string());
    let told = Tell::NotStarted { errno, text, step: Step::START };
    // Who does not hear it sees the stream end.
    let _ = stream.write_all(&super::messages::line(&told));
}

struct Keeper {
    files: Files,
    token: String,
    me: i32,
    leader: Pid,
    line: Option<Line>,
    /// Once no daemon was there.
    listener: Option<UnixListener>,
    children: OwnedFd,
    exit: Option<WaitStatus>,
    /// When the leader's end was seen.
    ended_at: jiff::Timestamp,
    /// No child is left: nothing of the run lives.
    is_empty: bool,
    /// With the time until which it is read, once everything else is over.
    pipes: [Option<(Stream, File)>; 2],
    drain_until: Option<Duration>,
    input: Option<(File, Vec<u8>)>,
    writer: Option<Writer>,
    /// When it began, and how much time it has.
    begun: Duration,
    timeout: Option<Duration>,
    kill: (Signal, Duration),
    /// If it has limits. Nobody of it is anywhere else.
    group: Option<Group>,
    ending: Option<Ending>,
    /// What is left behind by a leader that has gone by itself is killed until this time.
    sweeping_until: Option<Duration>,
    /// When that was looked at last, and how long it is until the next time.
    looked: Duration,
    look: Duration,
    timed_out: bool,
    hinted: Duration,
    hint_due: bool,
    said: Vec<String>,
    over: Option<Over>,
    buffer: Vec<u8>,
}

/// An end that was asked for.
struct Ending {
    /// When it becomes impolite, then when it is called a failure.
    deadline: Duration,
    by_force: bool,
}

/// Everything is over; somebody has to know.
struct Over {
    end: End,
    written: bool,
    try_at: Duration,
}

/// What one `poll` looks at.
#[derive(Clone, Copy)]
enum Source {
    Children,
    Line,
    Listener,
    Pipe(usize),
    Input,
}

impl Keeper {
    fn new(order: Order, files: Files, line: Line, children: OwnedFd, born: Born) -> Self {
        let Order { about, outputs, input, .. } = order;
        let space = about.free_space.map_or(FreeSpace::Usual, FreeSpace::Bytes);
        let outputs = Outputs::in_place(outputs, space);
        let input = born.input.zip(input).map(|(pipe, text)| (File::from(pipe), text));
        if let Some((pipe, _)) = &input {
            // A child that does not read must not hold us up. It cannot fail for a pipe that is open.
            let _ = rustix::io::ioctl_fionbio(pipe, true);
        }
        let mut keeper = Self {
            files,
            token: about.token,
            me: i32::try_from(std::process::id()).unwrap_or_default(),
            leader: born.leader,
            line: Some(line),
            listener: None,
            children,
            exit: None,
            ended_at: time::wall(),
            is_empty: false,
            pipes: [
                Some((Stream::Stdout, File::from(born.output))),
                Some((Stream::Stderr, File::from(born.errors))),
            ],
            drain_until: None,
            input,
            writer: Some(outputs.writer(about.run, about.layout)),
            begun: time::monotonic(),
            timeout: about.timeout.map(Duration::from_millis),
            kill: (named(about.signal), Duration::from_millis(about.grace)),
            group: about.control.cgroup,
            ending: None,
            sweeping_until: None,
            looked: Duration::ZERO,
            look: FIRST_LOOK,
            timed_out: false,
            hinted: Duration::ZERO,
            hint_due: false,
            said: Vec::new(),
            over: None,
            buffer: Vec::new(),
        };
        keeper.feed();
        keeper
    }

    fn run(&mut self) {
        loop {
            if self.over.is_none() && self.is_over() {
                self.finish();
            }
            if self.is_settled() {
                return;
            }
            let ready = self.wait();
            for source in ready {
                self.handle(source);
            }
            self.look_at_the_clock();
        }
    }

    /// Nothing lives, and nothing is to be read.
    fn is_over(&self) -> bool {
        self.is_empty && self.pipes.iter().all(Option::is_none)
    }

    /// Returns what has come, or nothing when it is time for something.
    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![(Source::Children, self.children.as_fd(), PollFlags::IN)];
        if let Some(line) = &self.line {
            let flags = if line.wants_to_write() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            sources.push((Source::Line, line.as_fd(), flags));
        }
        // One daemon at a time: the next one waits at the door.
        if let Some(listener) = self.listener.as_ref().filter(|_| self.line.is_none()) {
            sources.push((Source::Listener, listener.as_fd(), PollFlags::IN));
        }
        for (index, pipe) in self.pipes.iter().enumerate() {
            if let Some((_, file)) = pipe {
                sources.push((Source::Pipe(index), file.as_fd(), PollFlags::IN));
            }
        }
        if let Some((file, _)) = &self.input {
            sources.push((Source::Input, file.as_fd(), PollFlags::OUT));
        }
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = self.next_look().map(time::until);
        if poll(&mut polled, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        sources
            .iter()
            .zip(&polled)
            .filter(|(_, polled)| ready(polled))
            .map(|((source, ..), _)| *source)
            .collect()
    }

    /// When there is something to do without anything having come.
    fn next_look(&self) -> Option<Duration> {
        let hint = self.hint_due.then(|| self.hinted.saturating_add(HINTS));
        let again = self.over.as_ref().filter(|_| self.line.is_none()).map(|over| over.try_at);
        [self.look_at(), hint, again, self.time_is_up_at(), self.drain_until].into_iter().flatten().min()
    }

    /// When to look at what is to end and has not.
    fn look_at(&self) -> Option<Duration> {
        let next = self.looked.saturating_add(self.look);
        match &self.ending {
            _ if self.is_empty => None,
            // While the leader lives and has time, its end wakes us.
            Some(ending) if self.exit.is_none() => Some(ending.deadline),
            Some(ending) => Some(ending.deadline.min(next)),
            None => self.sweeping_until.map(|until| until.min(next)),
        }
    }

    /// Whose time is up is the matter of a daemon, as long as one is there.
    fn time_is_up_at(&self) -> Option<Duration> {
        let is_mine = self.line.is_none() && self.exit.is_none() && self.ending.is_none();
        self.timeout.filter(|_| is_mine).map(|timeout| self.begun.saturating_add(timeout))
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Children => self.reap(),
            Source::Line => self.hear(),
            Source::Listener => self.open_the_door(),
            Source::Pipe(index) => self.read(index),
            Source::Input => self.feed(),
        }
    }

    fn look_at_the_clock(&mut self) {
        let now = time::monotonic();
        if self.time_is_up_at().is_some_and(|at| at <= now) {
            self.timed_out = true;
            let (signal, grace) = self.kill;
            self.end_it(signal, grace);
        }
        if self.hint_due && now >= self.hinted.saturating_add(HINTS) {
            self.hint();
        }
        if self.drain_until.is_some_and(|until| until <= now) {
            self.said.push("its output was left open by a process that is none of its own".to_owned());
            self.pipes = [None, None];
            self.drain_until = None;
        }
        if self.look_at().is_some_and(|at| at <= now) {
            self.look_at_the_rest(now);
        }
        if self.over.as_ref().is_some_and(|over| over.try_at <= now) {
            self.write_end();
        }
    }

    /// Ends what is to end and has not.
    fn look_at_the_rest(&mut self, now: Duration) {
        (self.looked, self.look) = (now, (self.look * 2).min(LONGEST_LOOK));
        if self.group.is_some() {
            // Who is within its limits and no child of ours ends without a signal to us.
            self.reap();
            if self.is_empty {
                return;
            }
        }
        let Some(ending) = &mut self.ending else {
            let left = tree::below(self.me);
            if self.sweeping_until.is_some_and(|until| until <= now) {
                // To wait for ever for what cannot be ended would hold the run and its seat for ever.
                self.said.push(format!("processes of it could not be ended: {:?}", tree::pids(&left)));
                self.nothing_left();
            } else {
                self.kill(&left);
            }
            return;
        };
        if now >= ending.deadline {
            let failed = std::mem::replace(&mut ending.by_force, true);
            ending.deadline = now.saturating_add(PROOF);
            if failed {
                let pids = tree::pids(&tree::below(self.me));
                self.tell(&Tell::Alive { pids });
            }
            self.signal_all(Signal::KILL);
        } else if ending.by_force {
            // What was killed may have had children in between.
            self.signal_all(Signal::KILL);
        }
    }

    fn nothing_left(&mut self) {
        (self.is_empty, self.sweeping_until) = (true, None);
        if self.pipes.iter().any(Option::is_some) {
            self.drain_until = Some(time::monotonic().saturating_add(DRAIN));
        }
    }

    /// Takes the ends of all children that have ended.
    fn reap(&mut self) {
        let mut signals = [0; 1024];
        // Which ones is asked below; several ends may be one signal.
        let _ = rustix::io::read(&self.children, &mut signals);
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.leader => {
                    (self.exit, self.ended_at) = (Some(status), time::wall());
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) if self.group.as_ref().is_none_or(Group::is_empty) => {
                    return self.nothing_left();
                }
                // Somebody else has put others within its limits.
                Err(_) => break,
            }
        }
        if self.exit.is_none() {
            return;
        }
        // What is left, with the children that those had who have just gone.
        match &self.ending {
            None => {
                if self.sweeping_until.is_none() {
                    let left = tree::below(self.me);
                    if !left.is_empty() {
                        self.said
                            .push(format!("{} of its processes were left behind and killed", left.len()));
                    }
                    (self.looked, self.look) = (time::monotonic(), FIRST_LOOK);
                    self.sweeping_until = Some(self.looked.saturating_add(PROOF));
                    self.kill(&left);
                }
            }
            Some(ending) if ending.by_force => self.signal_all(Signal::KILL),
            Some(_) => {}
        }
    }

    fn read(&mut self, index: usize) {
        let Some((stream, file)) = &mut self.pipes[index] else { return };
        self.buffer.resize(PIPE, 0);
        match file.read(&mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.pipes[index] = None,
            Ok(read) => {
                if let Some(writer) = &mut self.writer {
                    writer.write(time::wall(), *stream, &self.buffer[..read]);
                }
                self.hint();
            }
        }
        if self.pipes.iter().all(Option::is_none) {
            self.drain_until = None;
        }
    }

    fn hint(&mut self) {
        let now = time::monotonic();
        self.hint_due = false;
        if now < self.hinted.saturating_add(HINTS) {
            self.hint_due = true;
        } else if let Some(line) = &mut self.line {
            line.hint();
            self.hinted = now;
        }
    }

    fn feed(&mut self) {
        let Some((file, text)) = &mut self.input else { return };
        while !text.is_empty() {
            match file.write(text) {
                Ok(written) if written > 0 => drop(text.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A child that does not read its input is none of our errors.
                Ok(_) | Err(_) => break,
            }
        }
        self.input = None;
    }

    fn hear(&mut self) {
        let Some(line) = &mut self.line else { return };
        line.flush();
        let (asked, open) = line.hear();
        for ask in asked {
            match (&ask, self.line.as_mut()) {
                (Ask::Hello { token }, Some(line)) if *token == self.token => {
                    line.trusted = true;
                    line.tell(&Tell::Hello { token: token.clone() });
                    if let Some(over) = &self.over {
                        line.tell(&Tell::Ended(over.end.clone()));
                    }
                }
                (_, Some(line)) if line.trusted => self.asked(ask),
                (_, _) => {
                    self.line = None;
                    return;
                }
            }
        }
        if !open && !self.is_settled() {
            self.line = None;
            self.listen();
            if let Some(over) = &mut self.over {
                over.try_at = time::monotonic();
            }
        }
    }

    /// From now on the next daemon can find us.
    fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        let path = self.files.socket();
        let directory = path.parent().unwrap_or(&path);
        // The length of a socket's name is bounded, and that of a directory is not.
        let bound = File::open(directory).and_then(|directory| {
            let name = path.file_name().unwrap_or_default();
            let short = super::through(&directory, name);
            let _ = std::fs::remove_file(&path);
            rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO | rustix::fs::Mode::XUSR);
            UnixListener::bind(short)
        });
        // Without it the work goes on, and its end is written down.
        self.listener = bound.ok().filter(|listener| listener.set_nonblocking(true).is_ok());
    }

    fn open_the_door(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Ok((stream, _)) = listener.accept() else { return };
        let us = rustix::process::geteuid();
        let is_ours = rustix::net::sockopt::socket_peercred(&stream)
            .is_ok_and(|who| who.uid == us || who.uid.is_root());
        if is_ours {
            self.line = Line::new(stream, false).ok();
        }
    }

    fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Hello { .. } => {}
            Ask::Kill { signal, grace } => self.end_it(named(signal), Duration::from_millis(grace)),
            Ask::Signal { signal } => {
                let error = match self.exit {
                    Some(_) => Some("the process has ended".to_owned()),
                    None => rustix::process::kill_process_group(self.leader, named(signal))
                        .err()
                        .map(|error| error.to_string()),
                };
                self.tell(&Tell::Signaled { error });
            }
            Ask::Change { timeout, signal, grace } => {
                self.timeout = timeout.map(Duration::from_millis);
                self.kill = (named(signal), Duration::from_millis(grace));
            }
            Ask::Recorded => {
                if let Some(over) = &mut self.over {
                    self.files.remove();
                    over.written = true;
                }
            }
        }
    }

    /// Begins to end it, or makes an end that has begun come sooner.
    fn end_it(&mut self, signal: Signal, grace: Duration) {
        let deadline = time::monotonic().saturating_add(grace);
        match &mut self.ending {
            Some(ending) if !ending.by_force => ending.deadline = ending.deadline.min(deadline),
            Some(_) => {}
            None if self.is_empty => {}
            None => {
                // The rest of a leader that has gone by itself is being killed already; now that is waited for.
                self.sweeping_until = None;
                self.ending = Some(Ending { deadline, by_force: signal == Signal::KILL && grace.is_zero() });
                (self.looked, self.look) = (time::monotonic(), FIRST_LOOK);
                self.signal_all(signal);
            }
        }
    }

    /// To the group, whose number is ours until its leader has been waited for, and to all that have left it.
    fn signal_all(&self, signal: Signal) {
        let mut rest = tree::below(self.me);
        if self.exit.is_none() {
            // A group that is gone is what is wanted.
            let _ = rustix::process::kill_process_group(self.leader, signal);
            rest.retain(|stat| stat.group != self.leader.as_raw_nonzero().get());
        }
        if signal == Signal::KILL {
            self.kill(&rest);
        } else {
            send(&rest, signal);
        }
    }

    /// Kills these, and at once with them all that are within the limits.
    fn kill(&self, these: &[Stat]) {
        self.group.iter().for_each(Group::kill);
        send(these, Signal::KILL);
    }

    fn tell(&mut self, message: &Tell) {
        if let Some(line) = &mut self.line {
            line.tell(message);
        }
    }

    /// Closes the output and tells the end.
    fn finish(&mut self) {
        let group = self.group.take();
        // What it has counted goes with it.
        let out_of_memory = group.as_ref().map_or(0, Group::out_of_memory);
        group.iter().for_each(|group| cgroup::remove(group, Some(&self.files)));
        let written = self.writer.take().map(|writer| writer.finish(time::wall())).unwrap_or_default();
        let end = End {
            token: self.token.clone(),
            at: self.ended_at.as_microsecond(),
            code: self.exit.and_then(WaitStatus::exit_status),
            signal: self.exit.and_then(WaitStatus::terminating_signal),
            timed_out: self.timed_out,
            timeout: self
                .timeout
                .filter(|_| self.timed_out)
                .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            by_force: self.ending.as_ref().is_some_and(|ending| ending.by_force),
            limits: group.as_ref().map(Group::about),
            out_of_memory,
            output: written.summary,
            output_error: written.error,
            usage: usage::of_ended_children(),
            said: std::mem::take(&mut self.said),
        };
        self.tell(&Tell::Ended(end.clone()));
        self.over = Some(Over { end, written: false, try_at: time::monotonic() });
        if self.line.is_none() {
            self.write_end();
        }
    }

    /// Leaves the end for the next daemon.
    fn write_end(&mut self) {
        let Some(over) = self.over.as_mut().filter(|over| !over.written && self.line.is_none()) else {
            return;
        };
        match self.files.write_end(&over.end) {
            Ok(()) => {
                over.written = true;
                self.files.remove_living();
            }
            // The directory is gone, and with it whoever could ask.
            Err(error) if error.kind() == ErrorKind::NotFound => over.written = true,
            // We live, so we can be asked.
            Err(_) => over.try_at = time::monotonic().saturating_add(AGAIN),
        }
    }

    fn is_settled(&self) -> bool {
        self.over.as_ref().is_some_and(|over| over.written)
    }
}

fn send(to: &[Stat], signal: Signal) {
    tree::identities(to).into_iter().for_each(|identity| strays::send(identity, signal));
}

/// What is sent where the number means nothing here.
fn named(signal: i32) -> Signal {
    Signal::from_named_raw(signal).unwrap_or(Signal::TERM)
}
