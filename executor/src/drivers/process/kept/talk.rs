//! The conversation with one shim: what handles ask for goes to it, and what it tells goes to them.

use super::super::exit;
use super::super::idle::Free;
use super::super::shim::messages::{self, Ask, Tell};
use super::here::{Here, Known};
use super::milliseconds;
use crate::driver::{Killed, Seen};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

/// What a handle asks for.
#[derive(Debug)]
pub(super) enum Request {
    Kill {
        signal: Signal,
        grace: Duration,
        answer: oneshot::Sender<Result<Killed, String>>,
    },
    Signal {
        signal: Signal,
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Say it; what was asked before has been said by then.
    Change(Ask),
    Parting {
        answer: oneshot::Sender<()>,
    },
    Recorded,
}

/// The conversation with one shim.
pub(super) struct Talk {
    pub(super) here: Here,
    pub(super) stream: UnixStream,
    pub(super) buffer: Vec<u8>,
    pub(super) tell: watch::Sender<Option<Known>>,
    pub(super) kills: Vec<oneshot::Sender<Result<Killed, String>>>,
    pub(super) signals: VecDeque<oneshot::Sender<Result<(), String>>>,
    /// The shim can take another order when this end is recorded.
    pub(super) again: bool,
}

impl Talk {
    /// Talks until the handle is dropped or everything is done.
    pub(super) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    // The stream goes with us, and so the shim knows that it is alone.
                    None => return,
                    Some(Request::Recorded) => {
                        if open {
                            self.ask(&Ask::Recorded).await;
                            self.let_go();
                        } else {
                            self.here.remove_all();
                        }
                        return;
                    }
                    Some(request) => self.request(request).await,
                },
                told = next(&mut self.stream, &mut self.buffer), if open => match told {
                    Some(told) => self.told(told),
                    None => {
                        open = false;
                        self.gone().await;
                    }
                },
            }
        }
    }

    /// Its shim may have something else to keep, if it said so, and nothing that it said is left.
    fn let_go(self) {
        let (here, stream) = (self.here, self.stream);
        if let Some(keeping) = here.home.keeping()
            && let Some(note) = here.note
            && self.again
            && self.buffer.is_empty()
        {
            keeping.idle.give(Free { stream, note }, &here.clock);
        }
    }

    async fn ask(&mut self, ask: &Ask) {
        // A shim that has gone is seen when reading.
        let _ = self.stream.write_all(&messages::line(ask)).await;
    }

    async fn request(&mut self, request: Request) {
        let how = self.tell.borrow().as_ref().map(|known| known.how);
        match request {
            Request::Kill { signal, grace, answer } => match how {
                Some(how) => drop(answer.send(Ok(how))),
                None => {
                    self.kills.push(answer);
                    self.ask(&Ask::Kill { signal: signal.as_raw(), grace: milliseconds(grace) }).await;
                }
            },
            Request::Signal { signal, answer } => match how {
                Some(_) => drop(answer.send(Err("the process has ended".to_owned()))),
                None => {
                    self.signals.push_back(answer);
                    self.ask(&Ask::Signal { signal: signal.as_raw() }).await;
                }
            },
            Request::Change(change) if how.is_none() => self.ask(&change).await,
            Request::Parting { answer } => drop(answer.send(())),
            Request::Change(_) | Request::Recorded => {}
        }
    }

    fn told(&mut self, told: Tell) {
        match told {
            Tell::Hello { .. } | Tell::Started | Tell::NotStarted { .. } => {}
            Tell::Output => self.here.outputs.wake(self.here.run()),
            Tell::Signaled { error } => {
                if let Some(answer) = self.signals.pop_front() {
                    let _ = answer.send(error.map_or(Ok(()), Err));
                }
            }
            Tell::Alive { pids } => {
                for answer in self.kills.drain(..) {
                    let _ = answer.send(Err(format!("killed, and still alive: processes {pids:?}")));
                }
            }
            Tell::Ended(end) => {
                self.here.outputs.wake(self.here.run());
                self.again = end.again;
                let known = self.here.known(&end);
                self.over(known);
            }
        }
    }

    fn over(&mut self, known: Known) {
        let how = known.how;
        self.tell.send_replace(Some(known));
        for answer in self.kills.drain(..) {
            let _ = answer.send(Ok(how));
        }
        for answer in self.signals.drain(..) {
            let _ = answer.send(Err("the process has ended".to_owned()));
        }
    }

    /// The shim has gone. If it said nothing before, nobody has seen the end of its work.
    async fn gone(&mut self) {
        if self.tell.borrow().is_some() {
            return;
        }
        tracing::error!("who kept the process has died; its end is not seen");
        let left = self.here.end_what_is_left().await.left;
        if !left.is_empty() {
            tracing::error!(pids = ?left, "processes of a lost attempt could not be ended");
        }
        self.over(Known {
            outcome: exit::failed(None, "what kept the process was killed; its end was not seen".to_owned()),
            how: Killed::ByForce,
            seen: Seen { lost: true, ..Seen::default() },
            events: Vec::new(),
        });
    }
}

/// The next message; none at the end of the stream. Messages that only a later build knows are passed over.
pub(super) async fn next(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> Option<Tell> {
    loop {
        while let Some(told) = messages::take(buffer) {
            if let Ok(told) = told {
                return Some(told);
            }
        }
        match stream.read_buf(buffer).await {
            Ok(read) if read > 0 => {}
            Ok(_) | Err(_) => return None,
        }
    }
}
