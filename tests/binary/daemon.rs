//! A daemon at work, and what it prints.

use crate::process::PATIENCE;
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// One of its two streams, line by line.
#[derive(Debug)]
pub(crate) struct Stream {
    lines: Receiver<String>,
    /// Everything printed and read so far.
    pub(crate) seen: Vec<String>,
    next: usize,
}

impl Stream {
    fn new(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { lines, seen: Vec::new(), next: 0 }
    }

    /// The next line with this in it; those before it are passed over, and can be seen in [`Self::seen`].
    #[track_caller]
    pub(crate) fn until(&mut self, part: &str) -> String {
        let deadline = Deadline::new();
        loop {
            while let Some(line) = self.seen.get(self.next) {
                self.next += 1;
                if line.contains(part) {
                    return line.clone();
                }
            }
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no line with {part:?} ({error}) in:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Reads what has been printed, and whether more can come.
    #[track_caller]
    fn finish(&mut self) {
        let deadline = Deadline::new();
        loop {
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// All that was printed and read.
    pub(crate) fn text(&self) -> String {
        self.seen.join("\n")
    }
}

struct Deadline(Instant);

impl Deadline {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a bound on real waiting")]
        Self(Instant::now())
    }

    fn left(&self) -> Duration {
        PATIENCE.saturating_sub(self.0.elapsed())
    }
}

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    pub(crate) out: Stream,
    pub(crate) err: Stream,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
        let out = Stream::new(child.stdout.take().expect("piped"));
        let err = Stream::new(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        crate::process::kill(self.pid(), signal);
    }

    /// Its end, with everything printed read.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        // No job has its streams, so they end with it.
        self.out.finish();
        self.err.finish();
        self.child.wait().expect("wait")
    }

    /// `kill -9`.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.end();
    }

    /// SIGTERM, and an orderly end.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.end();
        assert_eq!(status.code(), Some(0), "{}\n{}", self.out.text(), self.err.text());
        self.out.text()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
