//! How the work comes to be: a child in the shim's own memory, while the shim stands still, which notes who it is, sees
//! that somebody waits for it, and then becomes its own program.
//!
//! ```text
//! shim   clone ─► (stands still) ───────────────────────────────────────► nothing was said: it lives | why not
//! child       └► session ─► note who it is ─► does the daemon live? ─► pipes, directory, … ─► exec
//! ```
//!
//! A daemon that comes back after a crash finds the note of everything that went on, and what had no note by then
//! never goes on: the note is there before the look at the daemon. A copy of the shim's memory, and a word to and from the
//! child, would cost as much as the program's own start.

use super::super::control::{Ready, Refused, Step};
use super::super::home::Identity;
use super::super::proc_table;
use super::line::Line;
use super::note::{Note, State};
use super::order::Order;
use super::system::{self, Image, Stack};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions};
use std::io;
use std::os::fd::OwnedFd;

/// What the shim may do with signals and its work must not inherit.
pub(super) const CHANGED: [Signal; 5] = [Signal::PIPE, Signal::INT, Signal::TERM, Signal::HUP, Signal::CHILD];

/// Work that lives.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) leader: Pid,
    pub(super) input: Option<OwnedFd>,
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Stillborn {
    /// Nobody waits for it any more.
    Unwanted,
    /// The system would not, at this step.
    Error(Step, io::Error),
}

impl From<io::Error> for Stillborn {
    fn from(error: io::Error) -> Self {
        Self::Error(Step::START, error)
    }
}

impl From<Errno> for Stillborn {
    fn from(error: Errno) -> Self {
        Self::Error(Step::START, error.into())
    }
}

impl From<Refused> for Stillborn {
    fn from(Refused { step, error }: Refused) -> Self {
        Self::Error(step, error.into())
    }
}

/// The ends of pipes that become the child's own; without an input it has the shim's, which is nothing.
struct Ends {
    input: Option<OwnedFd>,
    output: OwnedFd,
    errors: OwnedFd,
}

/// Starts it. `state` is what is to be noted, but for the leader; `line` leads to who waits for it.
pub(super) fn start(
    order: &Order,
    note: &Note,
    state: &mut State,
    line: &Line,
    stack: &mut Stack,
) -> Result<Born, Stillborn> {
    let (output, child_output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (errors, child_errors) = pipe_with(PipeFlags::CLOEXEC)?;
    let (child_input, input) = match order.input {
        Some(_) => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (Some(read), Some(write))
        }
        None => (None, None),
    };
    let ends = Ends { input: child_input, output: child_output, errors: child_errors };
    let ready = order.about.control.ready();
    // What the child has of the memory when it becomes its program stays behind, so all that it needs is ours.
    let image = Image::of(&order.file, &order.arguments, &order.environment);
    let mut refused = None;
    let leader = system::beside(stack, || {
        refused = Some(match noted(note, state, line) {
            Ok(()) => become_it(order, &ends, &ready, &image),
            Err(stillborn) => stillborn,
        });
    })?;
    // Whoever has not said why he did not has become his program, or was ended before that.
    let Some(refused) = refused else { return Ok(Born { leader, input, output, errors }) };
    let _ = rustix::process::waitpid(Some(leader), WaitOptions::empty());
    Err(refused)
}

/// In a session of its own, and known; somebody waits for it.
fn noted(note: &Note, state: &mut State, line: &Line) -> Result<(), Stillborn> {
    rustix::process::setsid()?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let start_time = proc_table::stat(pid).map_or(0, |stat| stat.identity.start_time);
    state.leader = Identity { pid, start_time };
    note.write(state)?;
    if line.is_open() { Ok(()) } else { Err(Stillborn::Unwanted) }
}

/// Answers why it did not become its program.
fn become_it(order: &Order, ends: &Ends, ready: &Ready, image: &Image<'_>) -> Stillborn {
    if let Err(error) = placed(order, ends) {
        return error.into();
    }
    if let Err(refused) = ready.apply() {
        return refused.into();
    }
    CHANGED.into_iter().for_each(system::restore);
    system::block_no_signal();
    system::exec(image).into()
}

/// With its own ends of the pipes, where it works.
fn placed(order: &Order, ends: &Ends) -> rustix::io::Result<()> {
    if let Some(input) = &ends.input {
        rustix::stdio::dup2_stdin(input)?;
    }
    rustix::stdio::dup2_stdout(&ends.output)?;
    rustix::stdio::dup2_stderr(&ends.errors)?;
    if let Some(directory) = &order.directory {
        rustix::process::chdir(directory.as_c_str())?;
    }
    Ok(())
}
