//! A data directory with a daemon on it, and commands about it.

use crate::command::{Printed, punctual};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Place {
    home: TempDir,
}

/// A daemon at work. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// What it has printed before it let callers in.
    pub(crate) said: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The binary, at home here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = punctual();
        command.args(args).env("HOME", self.home.path());
        command
    }

    /// Starts `serve`, and waits until it listens.
    pub(crate) fn serve(&self, more: &[&str]) -> Daemon {
        let mut command = self.command(&["serve", "--data"]);
        command.arg(self.data()).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let doors = 1 + usize::from(more.contains(&"--listen"));
        let mut said = String::new();
        while said.matches("listening on").count() < doors {
            assert_ne!(out.read_line(&mut said).expect("read"), 0, "it ended:\n{said}");
        }
        // Whatever else it prints is read, so that it never waits for a reader.
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
        Daemon { child, said }
    }

    /// Runs a command, which finds the daemon by the environment.
    pub(crate) fn ask(&self, args: &[&str]) -> Printed {
        let output = self.command(args).env("PUNCTUAL_DATA", self.data()).output();
        output.expect("run the binary").into()
    }

    /// Starts a command, and leaves it at work.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.env("PUNCTUAL_DATA", self.data()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("start")
    }

    #[track_caller]
    pub(crate) fn create(&self, name: &str, script: &str) {
        self.ask(&["task", "create", name, "--manual", "--shell", script]).ends(0);
    }

    /// Returns when the newest run of a task is at work.
    #[track_caller]
    pub(crate) fn until_running(&self, task: &str) {
        /// Each time a command is started and ended, so this is minutes.
        const LOOKS: usize = 5000;
        let is_running = (0..LOOKS).any(|_| self.newest(task)["state"] == "running");
        assert!(is_running, "{}", self.newest(task));
    }

    /// The newest run of a task.
    #[track_caller]
    pub(crate) fn newest(&self, task: &str) -> Value {
        self.ask(&["run", "show", task, "-o", "json"]).json()
    }
}

impl Daemon {
    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// The most memory that it has held until now, in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        peak.and_then(|text| text.parse().ok()).expect("a number")
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("wait");
    }

    /// SIGTERM, and an orderly end.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().expect("wait").code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    // Who has gone already is told enough.
    let _ = kill_process(pid, signal);
}

/// Reads until a line with this in it, which is answered.
pub(crate) fn until(reader: &mut impl BufRead, part: &str) -> String {
    let mut seen = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).expect("read"), 0, "no {part:?} in:\n{seen}");
        if line.contains(part) {
            return line;
        }
        seen.push_str(&line);
    }
}
