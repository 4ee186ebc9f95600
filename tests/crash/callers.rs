//! Callers of the API that want runs, want some of them canceled, wait for some, and do not give up: whoever gets
//! no answer asks again with the same key. What they were told goes to a file for the checker.

use crate::chance::Chance;
use crate::checker::history::Told;
use crate::time;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest that an answer is waited for: a stopped daemon answers when it goes on.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Callers {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
}

impl Callers {
    pub(crate) fn start(count: u64, socket: &Path, told: &Path, chance: &mut Chance) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|number| {
                let caller = Caller {
                    number,
                    socket: socket.to_owned(),
                    told: OpenOptions::new().append(true).create(true).open(told).expect("a file"),
                    chance: Chance(chance.next()),
                    enough: Arc::clone(&enough),
                };
                std::thread::spawn(move || caller.call())
            })
            .collect();
        Self { enough, threads }
    }

    /// Answers how many runs they were promised.
    pub(crate) fn stop(self) -> usize {
        self.enough.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a caller")).sum()
    }
}

struct Caller {
    number: u64,
    socket: PathBuf,
    told: std::fs::File,
    chance: Chance,
    enough: Arc<AtomicBool>,
}

impl Caller {
    fn call(mut self) -> usize {
        for wish in 0.. {
            let task = ["asked", "asked", "asked-slow", "skip"][self.chance.below(4)];
            let key = format!("caller-{}-{wish}", self.number);
            let wait = if self.chance.below(3) == 0 { "?wait=2s" } else { "" };
            let Some(run) = self.run(task, &key, wait) else { return wish };
            if task == "asked-slow" && self.chance.below(2) == 0 {
                time::pause(Duration::from_millis(self.chance.between(0, 300)));
                self.cancel(&run);
            }
            time::pause(Duration::from_millis(self.chance.between(10, 120)));
        }
        0
    }

    /// Asks until it is answered.
    fn run(&mut self, task: &str, key: &str, wait: &str) -> Option<String> {
        let body = json!({ "idempotency_key": key });
        while !self.enough.load(Ordering::Relaxed) {
            let Some(run) = post(&self.socket, &format!("/v1/tasks/{task}:run{wait}"), &body) else {
                time::pause(Duration::from_millis(20));
                continue;
            };
            let (id, state) = (text(&run["id"]), text(&run["state"]));
            self.tell(&Told::Accepted { task: task.to_owned(), key: key.to_owned(), run: id.clone() });
            if !matches!(state.as_str(), "scheduled" | "queued" | "starting" | "running" | "stopping") {
                self.tell(&Told::Ended { run: id.clone(), state });
            }
            return Some(id);
        }
        None
    }

    /// Asks once; without an answer nothing is known.
    fn cancel(&mut self, run: &str) {
        self.tell(&Told::CancelWanted { run: run.to_owned() });
        if let Some(canceled) = post(&self.socket, &format!("/v1/runs/{run}:cancel"), &json!({})) {
            self.tell(&Told::Canceled { run: run.to_owned(), state: text(&canceled["state"]) });
        }
    }

    fn tell(&mut self, told: &Told) {
        let line = serde_json::to_string(told).expect("JSON") + "\n";
        // One write a line: several callers share the file.
        let written = self.told.write(line.as_bytes()).expect("write");
        assert_eq!(written, line.len());
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The answer, if there is a whole one and it says yes.
pub(crate) fn post(socket: &Path, path: &str, body: &Value) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let body = body.to_string();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    // Half an answer is none: its JSON does not end.
    let body = serde_json::from_str(body).ok()?;
    assert!(!(400..500).contains(&status) || status == 409, "refused: {answer}");
    (200..300).contains(&status).then_some(body)
}
