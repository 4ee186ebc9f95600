//! What a daemon costs while it has nothing to do: measured from `/proc`, on the real binary, with ten thousand
//! tasks that are due some day, before and after the earliest of them went away, and with all workers busy.
//!
//! `IDLE_SECONDS` is how long each measurement takes; 60 for a number worth quoting.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "what is measured is real time")]

use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Of one core …
const BOUND: f64 = 0.001;
/// … over so long.
const WHOLE: Duration = Duration::from_secs(60);
const FUTURE: usize = 10_000;
/// How long it may take to read ten thousand tasks, or to come to rest: seconds, and many more beside a build.
const PATIENCE: Duration = Duration::from_secs(300);

/// Processor time of a process until now: to the nanosecond for each living thread, and in the system's ticks for
/// all of it, threads that have ended included.
struct Spent {
    threads: HashMap<OsString, u64>,
    ticks: u64,
}

/// A tick of `/proc/PID/stat`: `USER_HZ` is 100 on all Linux systems that we run on.
const TICK: Duration = Duration::from_millis(10);

impl Spent {
    fn of(pid: u32) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a living process");
        let threads = threads.flatten().filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some((thread.file_name(), text.split(' ').next()?.parse().ok()?))
        });
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        // User and system time are the 14th and 15th field; the first two end with the parenthesis.
        let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Self { threads: threads.collect(), ticks }
    }

    fn since(&self, before: &Self) -> Duration {
        let of_thread = |(thread, now): (&OsString, &u64)| now - before.threads.get(thread).unwrap_or(&0);
        let by_threads = Duration::from_nanos(self.threads.iter().map(of_thread).sum());
        // One of them may have been all but full before.
        let ticks = u32::try_from(self.ticks - before.ticks).unwrap_or(u32::MAX).saturating_sub(1);
        by_threads.max(TICK * ticks)
    }
}

fn measure(pid: u32, what: &str) -> f64 {
    let seconds = std::env::var("IDLE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let (begun, before) = (Instant::now(), Spent::of(pid));
    loop {
        std::thread::sleep(Duration::from_secs(seconds));
        let (took, spent) = (begun.elapsed(), Spent::of(pid).since(&before));
        let share = spent.as_secs_f64() / took.as_secs_f64();
        println!("{what}: {:.4} % of a core over {:.0} s", share * 100.0, took.as_secs_f64());
        // A short look says much about what is done all the time, and little about what is done once.
        if share < BOUND || took >= WHOLE {
            return share;
        }
    }
}

/// Tasks due one a minute from the year 2040 on.
fn future(first: usize) -> String {
    let mut text = String::new();
    for number in first..FUTURE {
        let (day, hour, minute) = (number / 1440, number / 60 % 24, number % 60);
        let _ = write!(
            text,
            "[[task]]\nname = \"future-{number}\"\nat = 2040-01-{:02}T{hour:02}:{minute:02}:00Z\nargv = [\"true\"]\n",
            day + 1
        );
    }
    text
}

struct Daemon {
    child: Child,
    lines: Receiver<String>,
}

impl Daemon {
    fn start(home: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punctual"));
        command.env_remove("PUNCTUAL_LOG").arg("serve").arg("--stop-grace").arg("0s");
        command.arg("--data").arg(home.join("data")).arg("--tasks").arg(home.join("tasks.toml"));
        let out = command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        let mut child = out.spawn().expect("start");
        let out = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let daemon = Self { child, lines };
        daemon.applied();
        daemon
    }

    /// Returns when it has read its tasks.
    fn applied(&self) {
        while !self.lines.recv_timeout(PATIENCE).expect("a line of the daemon").contains("tasks of ") {}
    }

    fn reload(&self, home: &Path, tasks: &str) {
        std::fs::write(home.join("tasks.toml"), tasks).expect("write");
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a pid");
        kill_process(pid, Signal::HUP).expect("it lives");
        self.applied();
    }

    /// Returns when it has done nothing for a second: nothing to flush, nothing to seal.
    fn settle(&self) {
        let begun = Instant::now();
        loop {
            let before = Spent::of(self.child.id());
            std::thread::sleep(Duration::from_secs(1));
            let quiet = Spent::of(self.child.id()).since(&before) < Duration::from_millis(2);
            if quiet || begun.elapsed() > PATIENCE {
                return;
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_daemon_without_anything_to_do_does_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::write(home.path().join("tasks.toml"), future(0)).expect("write");
    let daemon = Daemon::start(home.path());
    let pid = daemon.child.id();
    daemon.settle();
    let idle = measure(pid, "10,000 future tasks");

    daemon.reload(home.path(), &future(1));
    daemon.settle();
    let removed = measure(pid, "after the earliest was removed");

    // More than there are workers, so that some wait.
    let busy = std::thread::available_parallelism().map_or(4, usize::from).max(4) * 4 + 8;
    let mut tasks = future(1);
    for number in 0..busy {
        let _ = write!(
            tasks,
            "[[task]]\nname = \"busy-{number}\"\nevery = \"1s\"\noverlap = \"skip\"\nargv = [\"sleep\", \"3600\"]\n"
        );
    }
    daemon.reload(home.path(), &tasks);
    std::thread::sleep(Duration::from_secs(3));
    // They are due no more; what was begun stays at work, and what waits goes on waiting.
    daemon.reload(home.path(), &tasks.replace("every = \"1s\"\n", "paused = true\nevery = \"1s\"\n"));
    daemon.settle();
    let working = jobs(home.path()).len();
    let all_busy = measure(pid, &format!("{working} jobs at work"));
    let bound_of_workers = busy - 8;
    for job in jobs(home.path()) {
        let _ = kill_process(job, Signal::KILL);
    }
    drop(daemon);
    // What waited has begun when the first of them went.
    for job in jobs(home.path()) {
        let _ = kill_process(job, Signal::KILL);
    }
    assert!(working >= bound_of_workers, "{working} jobs at work, {bound_of_workers} workers");
    for (share, what) in [(idle, "idle"), (removed, "after a removal"), (all_busy, "all workers busy")] {
        assert!(share < BOUND, "{what}: {share}");
    }
}

/// The jobs of the daemon over this directory.
fn jobs(home: &Path) -> Vec<Pid> {
    let data = home.join("data").canonicalize().expect("the data directory").display().to_string();
    let is_job = |pid: i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables
            .any(|variable| variable.starts_with(b"PUNCTUAL_NODE=") && variable.ends_with(data.as_bytes()))
    };
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_job(*pid)).filter_map(Pid::from_raw).collect()
}
