//! Processes as the system tells of them.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::path::Path;

/// How long anything may take before a test calls it broken: far more than a busy machine needs.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Whether it lives; a zombie does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name in parentheses may contain anything.
    !matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z' | 'X'))
}

/// Returns when it has ended.
#[track_caller]
pub(crate) fn wait_for_end(pid: i32) {
    let Some(raw) = Pid::from_raw(pid) else { return };
    let Ok(descriptor) = pidfd_open(raw, PidfdFlags::empty()) else { return };
    if !is_alive(pid) {
        return;
    }
    let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ended = poll(&mut polled, Some(&patience)).expect("poll");
    assert_eq!(ended, 1, "process {pid} lives on");
}

/// The living jobs whose home is this directory.
pub(crate) fn jobs_of(home: &Path) -> Vec<i32> {
    let home = format!("HOME={}", home.display()).into_bytes();
    let is_job = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.clone().any(|variable| variable == home)
            && variables.any(|variable| variable.starts_with(b"PUNCTUAL_RUN_ID="))
    };
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_job).filter(|pid| is_alive(*pid)).collect()
}

pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    let pid = Pid::from_raw(pid).expect("a number of a process");
    // Who has gone already is killed enough.
    let _ = rustix::process::kill_process(pid, signal);
}
