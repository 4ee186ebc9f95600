//! The calls of the shim for which there is no safe form: having children, becoming another program, waiting for what
//! ended children have taken, and what a process does with signals. Everything else is rustix. Called only in processes of
//! one thread: the spawner and its shims, never in the daemon, but for [`in_child`].
#![allow(unsafe_code, reason = "fork, exec, wait4 and dispositions of signals have no safe form")]

use punctual_model::Usage;
use rustix::process::{Pid, Signal};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

/// Bytes of memory for what a child does before its program: a state in JSON and a look at `/proc` need a few thousand,
/// more in a build without optimisation. What is not touched is not there.
const STACK: usize = 512 << 10;

/// At this the machine wants the end of a stack.
const ALIGNED: usize = 16;

/// Which of the two one is after a fork.
#[derive(Debug, Clone, Copy)]
pub(super) enum Forked {
    Child,
    Parent,
}

/// Makes a second process that goes on from here.
pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: the process has one thread (the spawner is entered before any other is started, and neither it nor a
    // shim starts one; in tests a second one that waits), so the child's memory is whole: no lock in it is held by
    // somebody who is not there.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        number if number > 0 => Ok(Forked::Parent),
        _ => Err(io::Error::last_os_error()),
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

/// Where a child works before it becomes its program.
pub(super) struct Stack(Vec<u8>);

impl Stack {
    pub(super) fn new() -> Self {
        Self(vec![0; STACK])
    }
}

/// Has a child do something in this very memory, while this process stands still until the child has become its program or
/// has ended. What the child has opened, moved to or become is its own.
pub(super) fn beside<D: FnMut()>(stack: &mut Stack, mut deed: D) -> io::Result<Pid> {
    extern "C" fn done<D: FnMut()>(deed: *mut c_void) -> c_int {
        // SAFETY: it is the one of the caller below, who stands still and does not touch it.
        let deed = unsafe { &mut *deed.cast::<D>() };
        deed();
        NOT_BEGUN
    }
    let end = stack.0.as_mut_ptr_range().end;
    let top = end.wrapping_sub(end.addr() % ALIGNED);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child has a stack of its own, below `top`, and all else it shares with us as another function that we
    // call would: we go on when it has left this memory. No code of ours runs for a signal, and one that panics ends there.
    match unsafe { libc::clone(done::<D>, top.cast(), flags, (&raw mut deed).cast()) } {
        number if number > 0 => Pid::from_raw(number).ok_or_else(io::Error::last_os_error),
        _ => Err(io::Error::last_os_error()),
    }
}

/// With what a child ends that did not become its program.
const NOT_BEGUN: c_int = 127;

/// A program with its arguments and its environment, as the system takes them.
pub(super) struct Image<'a> {
    file: &'a CStr,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// What the pointers point to.
    texts: PhantomData<&'a [CString]>,
}

impl<'a> Image<'a> {
    pub(super) fn of(file: &'a CStr, arguments: &'a [CString], environment: &'a [CString]) -> Self {
        let pointers = |texts: &'a [CString]| {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>()
        };
        let (arguments, environment) = (pointers(arguments), pointers(environment));
        Self { file, arguments, environment, texts: PhantomData }
    }
}

/// Becomes a program; returns only if that cannot be.
pub(super) fn exec(image: &Image<'_>) -> io::Error {
    // SAFETY: all three point to what outlives the call, texts end with a zero and both lists with a null.
    unsafe { libc::execve(image.file.as_ptr(), image.arguments.as_ptr(), image.environment.as_ptr()) };
    io::Error::last_os_error()
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) pid: i32,
    pub(super) exit: Exit,
    /// What it took, with all that it has waited for.
    pub(super) usage: Usage,
}

/// How.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
}

/// Takes the end of a child; none if none has ended.
pub(super) fn ended() -> io::Result<Option<Ended>> {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both are there to be written to.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: numbers only, and each of them may be zero.
    let usage = unsafe { usage.assume_init() };
    let exit = Exit {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
    };
    let usage = Usage {
        user: time(usage.ru_utime),
        system: time(usage.ru_stime),
        // Linux counts in kibibytes.
        memory: u64::try_from(usage.ru_maxrss).unwrap_or_default().saturating_mul(1024),
    };
    Ok((pid > 0).then_some(Ended { pid, exit, usage }))
}

fn time(time: libc::timeval) -> Duration {
    let micros = |part: i64, each: u64| u64::try_from(part).unwrap_or_default().saturating_mul(each);
    Duration::from_micros(micros(time.tv_sec, 1_000_000).saturating_add(micros(time.tv_usec, 1)))
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
