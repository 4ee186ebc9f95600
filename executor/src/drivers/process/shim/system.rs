//! The calls of the shim for which there is no safe form: forking, becoming another program, and what a process
//! does with signals. Everything else is rustix. Called only in processes of one thread: the spawner and its
//! shims, never in the daemon, but for [`in_child`].
#![allow(unsafe_code, reason = "fork, exec and dispositions of signals have no safe form")]

use rustix::process::{Pid, Signal};
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr;

/// Which of the two one is after a fork.
#[derive(Debug, Clone, Copy)]
pub(super) enum Forked {
    Child,
    Parent(Pid),
}

/// Makes a second process that goes on from here.
pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: the process has one thread (the spawner is entered before any other is started, and neither it nor a
    // shim starts one; in tests a second one that waits), so the child's memory is whole: no lock in it is held by
    // somebody who is not there.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        number => Pid::from_raw(number.max(0)).map(Forked::Parent).ok_or_else(io::Error::last_os_error),
    }
}

/// Has a child of the daemon do something between its fork and its program. Whatever that is takes no lock and no
/// memory: another thread of the daemon may have held what guards them at the fork.
pub(in crate::drivers::process) fn in_child(
    command: &mut tokio::process::Command,
    deed: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the only deed there is (`command::controlled`) makes calls to the system with what was made ready before
    // the fork, and answers with an error that is a number.
    unsafe { command.pre_exec(deed) };
}

/// Becomes a program; returns only if that cannot be.
pub(super) fn exec(file: &CStr, arguments: &[&CStr], environment: &[&CStr]) -> io::Error {
    let pointers = |texts: &[&CStr]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: all three point to what outlives the call, texts end with a zero and both lists with a null.
    unsafe { libc::execve(file.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once, without anything that the process it was forked from has planned for its own end.
pub(super) fn end(code: c_int) -> ! {
    // SAFETY: it has no conditions.
    unsafe { libc::_exit(code) }
}

/// Lets a signal pass without effect.
pub(super) fn ignore(signal: Signal) {
    // SAFETY: no code of ours runs for it.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) };
}

/// Lets a signal do what it usually does.
pub(super) fn restore(signal: Signal) {
    // SAFETY: as above.
    unsafe { libc::signal(signal.as_raw(), libc::SIG_DFL) };
}

/// From now on ends of children are told by a descriptor, which is readable when there are some.
pub(super) fn watch_children() -> io::Result<OwnedFd> {
    let mask = only(libc::SIGCHLD);
    // SAFETY: the set is whole, and nobody wants the old one.
    if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    let number = unsafe { libc::signalfd(-1, &raw const mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just made, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets all signals through, as a program expects it that was just started.
pub(super) fn block_no_signal() {
    let mask = none();
    // SAFETY: the set is whole, and nobody wants the old one.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut()) };
}

/// Closes everything but input, output and errors: what a daemon holds must not live on with its shims.
pub(super) fn close_all_files() {
    // SAFETY: called first in a process of our own, before anything in it has opened a file. Where the system does
    // not know the call, files that are meant to be closed at an exec are closed all the same.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

fn none() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call makes the set whole, and cannot fail for one that is there.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn only(signal: c_int) -> libc::sigset_t {
    let mut set = none();
    // SAFETY: the set is whole, and the signal is one.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    set
}
