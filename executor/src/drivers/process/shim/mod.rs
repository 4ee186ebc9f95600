//! Keeps the processes of runs while the daemon comes and goes: a shim of its own for each of them that is at work. One
//! that has none, and has never been without its daemon, waits a moment for the next.
//!
//! ```text
//! daemon ──starts once, exec──► spawner ──forks, no exec──► shim ──exec──► the work of one attempt, then of another
//! ```
//!
//! The program enters here first ([`enter`]), before it has any thread: the spawner is the same program once more,
//! which never gets further than this. A shim has no store, no runtime and no way to the daemon but one stream.

pub(super) mod birth;
pub(super) mod files;
mod keeper;
mod line;
pub(super) mod messages;
pub(super) mod note;
pub(super) mod order;
mod system;
pub(super) use system::in_child;
mod time;
pub(super) mod tree;

use super::control::Step;
use super::home::Identity;
use super::proc_table;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use system::Forked;

/// The variable by which a program knows that it is to be the spawner.
pub(super) const ENTRY: &str = "PUNCTUAL_SHIM";

static ENTERED: AtomicBool = AtomicBool::new(false);

/// To be called first in `main`, before anything starts a thread or a runtime. Lets processes of runs outlive this
/// program: it may then be started once more as what keeps them, and in that case never returns from here.
///
/// Without it, or when there are threads already, processes of runs end with the program, as does work inside it.
pub fn enter() {
    if std::env::var_os(ENTRY).is_some() && is_socket() {
        spawn_shims();
        system::end(0);
    }
    // A fork takes one thread along; what another one has locked would stay locked for ever. What comes here alone
    // comes here alone the next time too.
    let is_alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    ENTERED.store(is_alone, Ordering::Relaxed);
}

/// Whether this program can be started as the spawner.
pub(super) fn is_entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

fn is_socket() -> bool {
    let input = std::io::stdin();
    rustix::fs::fstat(&input)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Socket)
}

/// The spawner: makes a shim of each stream that it is sent, until the daemon has gone.
fn spawn_shims() {
    system::close_all_files();
    // Neither the terminal nor who stops a group of processes is to end it: its daemon does, by ending.
    let _ = rustix::process::setsid();
    for signal in birth::CHANGED {
        // Ends of children are of no interest: then they leave nothing behind.
        system::ignore(signal);
    }
    while let Some(stream) = next_order() {
        match system::fork() {
            Ok(Forked::Parent) => drop(stream),
            Ok(Forked::Child) => {
                become_shim(stream);
                return;
            }
            Err(error) => {
                let text = error.to_string();
                let told =
                    messages::Tell::NotStarted { errno: error.raw_os_error(), text, step: Step::START };
                let mut stream = stream;
                // Who does not hear it sees the stream end.
                let _ = stream.write_all(&messages::line(&told));
            }
        }
    }
}

/// The next stream; none if the daemon has gone.
fn next_order() -> Option<UnixStream> {
    let input = std::io::stdin();
    loop {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&input, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC);
        match received {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(received) if received.bytes > 0 => {}
            Ok(_) | Err(_) => return None,
        }
        let streams = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => files.last(),
            _ => None,
        });
        let stream: Option<OwnedFd> = streams.last();
        if let Some(stream) = stream {
            return Some(stream.into());
        }
    }
}

fn become_shim(stream: UnixStream) {
    // The daemon's word to the spawner is none to us, and must not keep the spawner's end from being seen. It is what our
    // work reads too, which has nothing to read.
    let Ok(nothing) = File::open("/dev/null") else { return };
    if rustix::stdio::dup2_stdin(&nothing).is_err() {
        return;
    }
    drop(nothing);
    let _ = rustix::process::setsid();
    system::restore(rustix::process::Signal::CHILD);
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let start_time = proc_table::stat(pid).map_or(0, |stat| stat.identity.start_time);
    keeper::serve(stream, Identity { pid, start_time });
}

/// A short path to a name in a directory that is open.
pub(super) fn through(directory: &File, name: &std::ffi::OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
}
