//! Keeps one attempt after another, each from the order to the moment at which its end is recorded, or lies on the disk
//! for whoever comes to record it.
//!
//! ```text
//!                  a daemon, or nobody ◄──► line
//!                                            │ kill, signal
//! pipes ──► output file      children ──► keeper ──► tree is empty ──► output is synced ──► told, or written down
//!                                            │ time is up and nobody there
//! ```
//!
//! One loop over one `poll`. It decides nothing about the run but what was ordered: when the time is up while no
//! daemon is there to say so. Only who was never without his daemon, and has nothing left of an attempt, takes the next.

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
use super::note::{Note, State};
use super::order::Order;
use super::system::{self, Exit, Stack};
use super::{proc_table, time};
use crate::driver::Stream;
use crate::output::{Outputs, Writer};
use ending::Ending;
use over::Over;
use punctual_model::Usage;
use punctual_store::fjall::FreeSpace;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// The shortest time between two words about more output: a reader sees it as it comes, and a flood does not
/// become a flood of words.
const HINTS: Duration = Duration::from_millis(20);

/// Keeps what is ordered, until nobody is there to order more. The stream is the daemon's that had this shim made.
pub(super) fn serve(stream: UnixStream, me: Identity) {
    let mut line = Line::new(stream, true);
    match Shim::new(me) {
        Ok(mut shim) => {
            let mut free = Some(line);
            while let Some(line) = free {
                free = shim.keep(line);
            }
            shim.note.into_iter().for_each(Note::remove);
        }
        Err(error) => refuse(&mut line, Step::START, &error),
    }
}

/// What a shim has through all that it keeps.
struct Shim {
    me: Identity,
    boot: String,
    children: OwnedFd,
    /// Of each child, before it is its program.
    stack: Stack,
    /// From the first order on.
    note: Option<Note>,
    /// For what is read of the work's output.
    buffer: Vec<u8>,
    /// Processor time of all that it has kept and waited for: in their own code, and of the system.
    waited: [Duration; 2],
}

impl Shim {
    fn new(me: Identity) -> io::Result<Self> {
        // Before any child: an end that comes early is told all the same.
        let children = system::watch_children()?;
        rustix::process::set_child_subreaper(Pid::from_raw(me.pid))?;
        let (boot, stack) = (proc_table::boot_id(), Stack::new());
        let waited = [Duration::ZERO; 2];
        Ok(Self { me, boot, children, stack, note: None, buffer: Vec::new(), waited })
    }

    /// Keeps the next attempt to its end; answers the line if it can take another.
    fn keep(&mut self, mut line: Line) -> Option<Line> {
        let order = Order::decode(&mut line).ok()?;
        let files = Files::new(&order.states, order.about.run, order.about.attempt);
        let born = match self.begin(&order, &line) {
            Ok(born) => born,
            Err(Stillborn::Unwanted) => return None,
            Err(Stillborn::Error(step, error)) => {
                refuse(&mut line, step, &error);
                return None;
            }
        };
        line.tell(&Tell::Started);
        let mut keeper = Keeper::new(self.me.pid, &self.children, order, files, line, born);
        keeper.buffer = std::mem::take(&mut self.buffer);
        keeper.run();
        self.buffer = std::mem::take(&mut keeper.buffer);
        let usage = keeper.usage;
        for (sum, took) in self.waited.iter_mut().zip([usage.user, usage.system]) {
            *sum = sum.saturating_add(took);
        }
        // Whoever is noted here and not in our hands would be taken for somebody who is.
        let line = keeper.free()?;
        self.note.as_ref()?.clear().ok()?;
        Some(line)
    }

    fn begin(&mut self, order: &Order, line: &Line) -> Result<Born, Stillborn> {
        let about = &order.about;
        let path = order.states.join(&about.note);
        let note = match self.note.take() {
            Some(note) if note.is_at(&path) => note,
            other => {
                other.into_iter().for_each(Note::remove);
                Note::open(path)?
            }
        };
        let note = self.note.insert(note);
        let mut state = State {
            run: about.run,
            attempt: about.attempt,
            node: about.node.clone(),
            token: about.token.clone(),
            boot: self.boot.clone(),
            shim: self.me,
            leader: Identity { pid: 0, start_time: 0 },
            before: self.waited.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        };
        birth::start(order, note, &mut state, line, &mut self.stack)
    }
}

/// Says that nothing comes of it.
fn refuse(line: &mut Line, step: Step, error: &io::Error) {
    let (errno, text) = (error.raw_os_error(), error.to_string());
    // Who does not hear it sees the stream end.
    line.tell(&Tell::NotStarted { errno, text, step });
}

struct Keeper<'a> {
    files: Files,
    token: String,
    me: i32,
    leader: Pid,
    line: Option<Line>,
    /// Once no daemon was there.
    listener: Option<UnixListener>,
    was_alone: bool,
    children: &'a OwnedFd,
    exit: Option<Exit>,
    /// What those took that have ended.
    usage: Usage,
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

impl<'a> Keeper<'a> {
    fn new(me: i32, children: &'a OwnedFd, order: Order, files: Files, line: Line, born: Born) -> Self {
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
            me,
            leader: born.leader,
            line: Some(line),
            listener: None,
            was_alone: false,
            children,
            exit: None,
            usage: Usage::default(),
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

    /// The line to the daemon that may have more to keep.
    fn free(self) -> Option<Line> {
        self.over.filter(|over| over.end.again && over.recorded).and(self.line)
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
