//! The real binary, with crash points in it.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long anything may take before it is called broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
}

impl Ended {
    /// Whether it was a crash point that ended it.
    pub(crate) fn crashed(&self) -> bool {
        self.status.signal() == Some(Signal::ABORT.as_raw())
    }
}

pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

/// A copy of the binary: a build that goes on beside these minutes may replace the other one.
pub(crate) fn binary() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let copy =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crash-{}-punctual", std::process::id()));
        std::fs::copy(env!("CARGO_BIN_EXE_punctual"), &copy).expect("copy the binary");
        copy
    })
}

/// Whether the binary has crash points: a build without them passes everything.
pub(crate) fn has_crash_points() -> bool {
    let nowhere = std::env::temp_dir().join(format!("crash-{}-nowhere", std::process::id()));
    let mut command = punctual(&nowhere);
    command.env("PUNCTUAL_CRASH_AT", "store.open.locked:1").arg("serve").stderr(Stdio::null());
    let status = command.status().expect("run the binary");
    let _ = std::fs::remove_dir_all(&nowhere);
    Ended { status }.crashed()
}

fn punctual(data: &Path) -> Command {
    let mut command = Command::new(binary());
    for name in ["PUNCTUAL_DATA", "PUNCTUAL_LOG", "PUNCTUAL_SERVER", "PUNCTUAL_TOKEN", "PUNCTUAL_CRASH_AT"] {
        command.env_remove(name);
    }
    command.env("PUNCTUAL_DATA", data).stdin(Stdio::null());
    command
}

/// What `run list` prints of a directory that no daemon holds.
pub(crate) fn list(data: &Path, states: &[&str]) -> String {
    let mut command = punctual(data);
    // A list for people to look at has an end; this one has everything.
    command.args(["run", "list", "--output", "json", "-n", "100000"]).arg("--data").arg(data);
    for state in states {
        command.args(["--state", state]);
    }
    let output = command.output().expect("run the binary");
    assert!(output.status.success(), "run list: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What `run show` prints of a run in a directory that no daemon holds.
pub(crate) fn show(data: &Path, run: &str) -> serde_json::Value {
    let mut command = punctual(data);
    command.args(["run", "show", run, "--output", "json"]).arg("--data").arg(data);
    let output = command.output().expect("run the binary");
    assert!(output.status.success(), "run show: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

impl Daemon {
    pub(crate) fn start(
        data: &Path,
        tasks: &Path,
        log: &Path,
        more: &[&str],
        crash_at: Option<&str>,
    ) -> Self {
        let log = OpenOptions::new().append(true).create(true).open(log).expect("a log");
        let mut command = punctual(data);
        command.arg("serve").arg("--data").arg(data).arg("--tasks").arg(tasks).args(more);
        if let Some(point) = crash_at {
            command.env("PUNCTUAL_CRASH_AT", point);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("start");
        let out = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Returns when it has printed this, or has ended.
    pub(crate) fn until(&mut self, part: &str) -> Result<(), Ended> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Ended { status: self.child.wait().expect("wait") });
                }
                Err(RecvTimeoutError::Timeout) => panic!("the daemon does not say {part:?}"),
            }
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid()).expect("a pid");
        kill_process(pid, signal).expect("it lives");
    }

    /// How it ended, if it did so within this time.
    pub(crate) fn ended(&mut self, patience: Duration) -> Option<Ended> {
        crate::time::until(patience, || self.child.try_wait().expect("wait")).map(|status| Ended { status })
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Reads the task file again.
    pub(crate) fn reload(&mut self) {
        self.signal(Signal::HUP);
        if let Err(ended) = self.until("tasks of ") {
            panic!("it ended instead of reading its tasks again: {ended:?}");
        }
    }

    /// An orderly end.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let ended = self.ended(PATIENCE).expect("it does not stop");
        assert_eq!(ended.status.code(), Some(0), "an orderly stop");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended ones cannot be killed, and that is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
