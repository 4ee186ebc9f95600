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

mod door;
mod ending;
mod over;

use super::super::cgroup::Group;
use super::super::control::Step;
use super::super::home::Identity;
use super::super::strays::FIRST_LOOK;
use super::super::supervisor::PIPE;
use super::birth::{self, Born, Stillborn};
use super::files::Files;
use super::line::Line;
use super::messages::Tell;
use super::order::Order;
use super::{system, time};
use crate::driver::Stream;
use crate::output::{Outputs, Writer};
use ending::Ending;
use over::Over;
use punctual_store::fjall::FreeSpace;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitStatus};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// The shortest time between two words about more output: a reader sees it as it comes, and a flood does not
/// become a flood of words.
const HINTS: Duration = Duration::from_millis(20);

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
}

/// What is sent where the number means nothing here.
fn named(signal: i32) -> Signal {
    Signal::from_named_raw(signal).unwrap_or(Signal::TERM)
}
