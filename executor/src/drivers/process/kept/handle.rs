//! The daemon's hold on an attempt in a shim's hands: at work, or over while nobody watched.

use super::super::shim::files::Files;
use super::super::shim::messages::Ask;
use super::super::shim::note;
use super::super::{exit, signal, strays, usage};
use super::here::{Here, Known};
use super::talk::{Request, Talk};
use super::{milliseconds, named};
use crate::driver::{Handle, Killed, RunSink, Seen};
use async_trait::async_trait;
use punctual_model::{Outcome, RunId, Task, Usage};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

/// Work that a shim keeps. Dropped before its end is recorded, it goes on, or its end is kept: the next session
/// finds it.
pub(in super::super) struct KeptHandle {
    requests: mpsc::UnboundedSender<Request>,
    ended: watch::Receiver<Option<Known>>,
    sink: Arc<dyn RunSink>,
    attempt: (RunId, u32),
    note: Option<PathBuf>,
    told: AtomicBool,
}

impl KeptHandle {
    pub(super) fn new(here: Here, stream: UnixStream, buffer: Vec<u8>) -> Self {
        let (requests, received) = mpsc::unbounded_channel();
        let (tell, ended) = watch::channel(None);
        let (sink, note) = (Arc::clone(&here.sink), here.note.clone());
        let attempt = (here.run(), here.attempt.run.life.attempt);
        let (kills, signals) = (Vec::new(), VecDeque::new());
        let talk = Talk { here, stream, buffer, tell, kills, signals, again: false };
        tokio::spawn(talk.run(received).in_current_span());
        Self { requests, ended, sink, attempt, note, told: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Handle for KeptHandle {
    async fn wait(&self) -> Outcome {
        let mut ended = self.ended.clone();
        // The closure's borrow must be gone before the next await; hence the clone.
        let known = ended.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        match known {
            None => {
                exit::failed(None, "who talked with its keeper has died; its end was not seen".to_owned())
            }
            Some(known) if self.told.swap(true, Ordering::Relaxed) => known.outcome,
            Some(mut known) => known.told_to(&*self.sink),
        }
    }

    async fn kill(&self, signal: &str, grace: Duration) -> Result<Killed, String> {
        let (answer, answered) = oneshot::channel();
        let ended = |ended: &watch::Receiver<Option<Known>>| {
            ended.borrow().as_ref().map_or(Killed::ByItself, |known| known.how)
        };
        if self.requests.send(Request::Kill { signal: named(signal), grace, answer }).is_err() {
            return Ok(ended(&self.ended));
        }
        answered.await.unwrap_or_else(|_| Ok(ended(&self.ended)))
    }

    async fn signal(&self, signal: &str) -> Result<(), String> {
        let signal = signal::asked(signal)?;
        let (answer, answered) = oneshot::channel();
        let gone = || "the process has ended".to_owned();
        self.requests.send(Request::Signal { signal, answer }).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    fn changed(&self, newest: &Task) {
        let kill = &newest.spec.kill;
        let change = Ask::Change {
            timeout: newest.spec.timeout.map(milliseconds),
            signal: named(&kill.signal).as_raw(),
            grace: milliseconds(kill.grace),
        };
        // Work that is over has no use for it.
        let _ = self.requests.send(Request::Change(change));
    }

    async fn stats(&self) -> Option<Usage> {
        let (path, (run, attempt)) = (self.note.clone()?, self.attempt);
        let look = move || {
            // When it has ended its shim may keep something else.
            let state = note::read(&path).filter(|state| state.is_of(run, attempt))?;
            // Its number is somebody else's once it is gone.
            strays::is_alive(state.shim).then(|| usage::of_kept(state.shim.pid, state.before)).flatten()
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    fn goes_on(&self) -> bool {
        true
    }

    async fn detach(&self) -> bool {
        // The shim is to have heard everything before we go.
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Parting { answer }).is_ok() {
            let _ = answered.await;
        }
        true
    }

    fn seen(&self) -> Seen {
        self.ended.borrow().as_ref().map(|known| known.seen).unwrap_or_default()
    }

    fn recorded(&self) {
        // Who has died cannot be told; the next start sweeps.
        let _ = self.requests.send(Request::Recorded);
    }
}

/// Work that has ended while nobody watched.
pub(super) struct EndedHandle {
    pub(super) files: Files,
    pub(super) known: Mutex<Known>,
    pub(super) sink: Arc<dyn RunSink>,
}

impl EndedHandle {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Handle for EndedHandle {
    async fn wait(&self) -> Outcome {
        self.known().told_to(&*self.sink)
    }

    async fn kill(&self, _signal: &str, _grace: Duration) -> Result<Killed, String> {
        Ok(self.known().how)
    }

    async fn signal(&self, _signal: &str) -> Result<(), String> {
        Err("the process has ended".to_owned())
    }

    fn goes_on(&self) -> bool {
        true
    }

    async fn detach(&self) -> bool {
        true
    }

    fn seen(&self) -> Seen {
        self.known().seen
    }

    fn recorded(&self) {
        self.files.remove();
    }
}
