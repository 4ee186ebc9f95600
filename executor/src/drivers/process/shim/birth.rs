//! How the work comes to be: forked, held back until it is noted who it is and somebody waits for it, then its
//! own program.
//!
//! ```text
//! shim   fork ─► note who it is ─► does the daemon live? ─► go on ─► (nothing: it lives | a number: why not)
//! child       └► session, pipes, directory, …  waits ───────────────► exec
//! ```
//!
//! A daemon that comes back after a crash finds the note of everything that went on, and what had no note by then
//! never goes on: the note is there before the look at the daemon.

use super::super::control::{Ready, Refused, Step};
use super::super::home::Identity;
use super::super::proc_table;
use super::files::{Files, State};
use super::order::Order;
use super::system::{self, Forked};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

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

/// The ends of pipes that become the child's own.
struct Ends {
    input: OwnedFd,
    output: OwnedFd,
    errors: OwnedFd,
}

/// Starts it. `is_wanted` is asked when everything is noted.
pub(super) fn start(
    order: &Order,
    files: &Files,
    shim: Identity,
    is_wanted: impl FnOnce() -> bool,
) -> Result<Born, Stillborn> {
    let (output, child_output) = pipe_with(PipeFlags::CLOEXEC)?;
    let (errors, child_errors) = pipe_with(PipeFlags::CLOEXEC)?;
    let (child_input, input) = match order.input {
        Some(_) => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (read, Some(write))
        }
        None => (File::open("/dev/null")?.into(), None),
    };
    let ends = Ends { input: child_input, output: child_output, errors: child_errors };
    let (mut ours, theirs) = UnixStream::pair()?;
    let ready = order.about.control.ready();
    let leader = match system::fork()? {
        Forked::Child => {
            drop(ours);
            become_it(order, &ends, &ready, theirs)
        }
        Forked::Parent(leader) => leader,
    };
    drop((ends, theirs));
    let born = Born { leader, input, output, errors };
    // Whatever is not told to go on goes away by itself, when `ours` is dropped.
    let pid = leader.as_raw_nonzero().get();
    let start_time = proc_table::stat(pid).map_or(0, |stat| stat.identity.start_time);
    let about = &order.about;
    let noted = files.write_state(&State {
        run: about.run,
        attempt: about.attempt,
        node: about.node.clone(),
        token: about.token.clone(),
        boot: proc_table::boot_id(),
        shim,
        leader: Identity { pid, start_time },
    });
    let refused = match noted {
        Ok(()) if is_wanted() => {
            // A child that could not be prepared has gone already, and its word is there all the same.
            let sent = ours.write_all(b"g");
            let mut why = [0; 5];
            match (ours.read_exact(&mut why), sent) {
                (Ok(()), _) => {
                    let [step, number @ ..] = why;
                    let error = io::Error::from_raw_os_error(i32::from_le_bytes(number));
                    Stillborn::Error(Step(step), error)
                }
                // Closed by the exec.
                (Err(_), Ok(())) => return Ok(born),
                (Err(_), Err(error)) => error.into(),
            }
        }
        Ok(()) => Stillborn::Unwanted,
        Err(error) => error.into(),
    };
    drop(ours);
    let _ = rustix::process::waitpid(Some(leader), rustix::process::WaitOptions::empty());
    Err(refused)
}

/// The child's side. Never returns.
fn become_it(order: &Order, ends: &Ends, ready: &Ready, mut shim: UnixStream) -> ! {
    let Refused { step, error } = match prepared(order, ends, ready, &mut shim) {
        Ok(error) => Refused { step: Step::START, error },
        Err(refused) => refused,
    };
    let [a, b, c, d] = error.raw_os_error().to_le_bytes();
    let _ = shim.write_all(&[step.0, a, b, c, d]);
    system::end(127)
}

/// Answers why it did not become its program.
fn prepared(order: &Order, ends: &Ends, ready: &Ready, shim: &mut UnixStream) -> Result<Errno, Refused> {
    placed(order, ends).map_err(|error| Refused { step: Step::START, error })?;
    ready.apply()?;
    CHANGED.into_iter().for_each(system::restore);
    system::block_no_signal();
    let mut go = [0];
    if shim.read_exact(&mut go).is_err() {
        // Nobody is there to be told why.
        system::end(127)
    }
    let arguments: Vec<&CStr> = order.arguments.iter().map(|text| text.as_c_str()).collect();
    let environment: Vec<&CStr> = order.environment.iter().map(|text| text.as_c_str()).collect();
    let error = system::exec(&order.file, &arguments, &environment);
    Ok(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// In a session of its own, with its own ends of the pipes, where it works.
fn placed(order: &Order, ends: &Ends) -> rustix::io::Result<()> {
    rustix::process::setsid()?;
    rustix::stdio::dup2_stdin(&ends.input)?;
    rustix::stdio::dup2_stdout(&ends.output)?;
    rustix::stdio::dup2_stderr(&ends.errors)?;
    if let Some(directory) = &order.directory {
        rustix::process::chdir(directory.as_c_str())?;
    }
    Ok(())
}
