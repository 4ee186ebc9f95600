//! What the process was given by whoever started it and did not ask for. Called once, before anything is opened.

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use std::os::fd::{BorrowedFd, RawFd};

/// The first descriptor that is not input, output or errors.
const FIRST: RawFd = 3;

/// Keeps open files of our starter (a lock of a wrapper script, a socket of a service manager) from going on to
/// jobs: a job outlives a killed daemon, and would hold them.
pub(crate) fn keep_from_jobs() {
    // Where there is no such list nothing can be done, and a job sees what it would see without us.
    let Ok(open) = std::fs::read_dir("/dev/fd") else { return };
    let numbers: Vec<RawFd> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number >= FIRST) {
        #[expect(
            unsafe_code,
            reason = "there is no safe way to name a descriptor that somebody else has opened"
        )]
        // SAFETY: it is used for these two calls only, which change nothing but its flag. No other thread runs yet
        // that could close it; one that is not open (the listing itself) makes them fail, and nothing else.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = fcntl_getfd(descriptor) {
            // It was open a moment ago; a failure leaves things as they were.
            let _ = fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC);
        }
    }
}
