//! Runs work that is one HTTP request: its answer is the run's output, its status decides.
//!
//! The request lives in the future that the attempt polls; a stop drops it, and with it the connection, at once.
//! Nothing of it outlives the node: after a crash nobody has seen its answer, and the run is lost unless its task
//! allows to ask again.

mod exchange;
mod request;

pub use exchange::call;

use crate::client::Client;
use crate::driver::{Attempt, Driver, Handle, Killed, Recovered, RunSink, Stream};
use crate::flag::Flag;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use punctual_clock::Clock;
use punctual_model::event::EventKind;
use punctual_model::{Failure, FailureKind, Outcome, Work};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Who speaks in the events of a run.
const SOURCE: &str = "http";

/// Sends the requests of tasks.
#[derive(Debug)]
pub struct HttpDriver {
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

impl HttpDriver {
    /// A driver that sends by this client, whose rules say where to.
    #[must_use]
    pub fn new(client: Arc<Client>, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock }
    }
}

#[async_trait]
impl Driver for HttpDriver {
    fn name(&self) -> &'static str {
        "http"
    }

    async fn start(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Result<Box<dyn Handle>, Failure> {
        let Work::Http(call) = &attempt.task.spec.work else {
            return Err(Failure::new(FailureKind::Start, "the task's work is no HTTP request"));
        };
        // The same through all attempts, so that whoever is asked twice can tell.
        let key = attempt.run.id.to_string();
        let request = request::build(call, &attempt.run, &attempt.task, &key)?;
        let (client, clock, call) = (Arc::clone(&self.client), Arc::clone(&self.clock), call.clone());
        let asking = async move {
            let mut out = |bytes: &[u8]| sink.output(Stream::Stdout, bytes);
            let answered = exchange::exchange(&client, &*clock, &call, &request, &mut out).await;
            sink.event(EventKind::Message { source: SOURCE.to_owned(), text: answered.told });
            answered.outcome
        };
        Ok(Box::new(HttpHandle { work: Mutex::new(Slot::Alive(Box::pin(asking))), stop: Flag::default() }))
    }

    async fn recover(&self, _attempt: Attempt, _sink: Arc<dyn RunSink>) -> Recovered {
        // Its connection died with the process that had it.
        Recovered::Nothing
    }
}

/// A request under way.
struct HttpHandle {
    work: Mutex<Slot>,
    stop: Flag,
}

enum Slot {
    Alive(BoxFuture<'static, Outcome>),
    Ended(Outcome),
}

#[async_trait]
impl Handle for HttpHandle {
    async fn wait(&self) -> Outcome {
        // Whoever has the lock drives the request; dropped, it leaves it where it is for the next.
        let mut slot = self.work.lock().await;
        let outcome = match &mut *slot {
            Slot::Ended(outcome) => return outcome.clone(),
            Slot::Alive(asking) => tokio::select! {
                biased;
                () = self.stop.raised() => {
                    let text = "stopped before the answer was whole; the server may have done it all the same";
                    Outcome::failed(Failure::new(FailureKind::Canceled, text))
                }
                outcome = asking => outcome,
            },
        };
        // The request is dropped here, and its connection with it.
        *slot = Slot::Ended(outcome.clone());
        outcome
    }

    /// There is nothing to ask politely: the connection is closed at once.
    async fn kill(&self, _signal: &str, _grace: Duration) -> Result<Killed, String> {
        self.stop.raise();
        self.wait().await;
        Ok(Killed::ByItself)
    }

    async fn signal(&self, _signal: &str) -> Result<(), String> {
        Err("an HTTP request takes no signals".to_owned())
    }

    async fn detach(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
