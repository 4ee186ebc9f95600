//! A test's own directory: the home of its daemon and jobs, with data, task files and the witness below it.

use crate::command::{Printed, punctual};
use crate::daemon::Daemon;
use crate::process;
use crate::witness::{TELL, Witness};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

pub(crate) struct Place {
    home: TempDir,
    pub(crate) witness: Witness,
}

/// Runs the binary to its end.
pub(crate) fn run<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Printed {
    punctual().args(args).output().expect("run the binary").into()
}

impl Place {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("tell"), TELL).expect("write");
        let witness = Witness::at(&home.path().join("witness"));
        Self { home, witness }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file of tasks as a whole.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write");
        path
    }

    /// Makes a pipe from which jobs can read what the test lets them go on with.
    pub(crate) fn gate(&self, name: &str) {
        mknodat(CWD, self.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe");
    }

    /// Lets the job go on that reads from this pipe, or is about to.
    pub(crate) fn open_gate(&self, name: &str) {
        std::fs::write(self.path(name), "go\n").expect("write to the pipe");
    }

    /// Starts `serve` on tasks.toml with these tasks, and waits until it works and answers.
    pub(crate) fn serve(&self, tasks: &str) -> Daemon {
        self.write("tasks.toml", tasks);
        self.serve_again()
    }

    /// The same once more, with the tasks as they are.
    pub(crate) fn serve_again(&self) -> Daemon {
        let mut daemon = self.start(&[]);
        daemon.out.until("listening on ");
        daemon
    }

    /// Starts `serve` on tasks.toml with more arguments, and waits for nothing.
    pub(crate) fn start(&self, more: &[&str]) -> Daemon {
        let mut command = self.command();
        command.arg("serve").arg("--data").arg(self.data()).arg("--tasks").arg(self.path("tasks.toml"));
        Daemon::start(command.args(more))
    }

    /// The binary, at home here.
    pub(crate) fn command(&self) -> Command {
        let mut command = punctual();
        command.env("HOME", self.home.path());
        command
    }

    /// Runs a command on the data directory.
    pub(crate) fn ask(&self, args: &[&str]) -> Printed {
        self.command().args(args).arg("--data").arg(self.data()).output().expect("run the binary").into()
    }

    /// All runs, oldest first; nobody may be at work on the data directory.
    #[track_caller]
    pub(crate) fn runs(&self) -> Vec<Value> {
        let mut listed = self.ask(&["run", "list", "-n", "10000", "--output", "json"]).json();
        let Value::Array(mut runs) = listed["runs"].take() else { panic!("no list") };
        runs.reverse();
        runs
    }

    /// All runs of one task, oldest first.
    #[track_caller]
    pub(crate) fn runs_of(&self, task: &str) -> Vec<Value> {
        self.runs().into_iter().filter(|run| run["task_name"] == task).collect()
    }

    #[track_caller]
    pub(crate) fn run(&self, id: &str) -> Value {
        self.ask(&["run", "show", id, "--output", "json"]).json()
    }

    pub(crate) fn jobs(&self) -> Vec<i32> {
        process::jobs_of(self.home.path())
    }

    /// Returns when nobody is left who keeps a process of a node that has stopped: they clear away behind them when they
    /// have heard that the end is recorded, which may be the last that it said.
    #[track_caller]
    pub(crate) fn wait_for_keepers(&self) {
        let notes = || std::fs::read_dir(self.data().join("processes")).expect("the directory").flatten();
        let is_state = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "shim");
        while let Some(state) = notes().map(|note| note.path()).find(is_state) {
            // Gone in between is what is waited for; one that stands for nobody goes at once, and one that is not whole
            // is being written.
            let state = std::fs::read_to_string(state).unwrap_or_default();
            let Ok(state) = serde_json::from_str::<Value>(state.lines().next().unwrap_or_default()) else {
                continue;
            };
            let keeper = state["shim"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            process::wait_for_end(keeper.expect("a number"));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for job in self.jobs() {
            process::kill(job, rustix::process::Signal::KILL);
        }
    }
}
