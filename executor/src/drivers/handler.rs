//! Runs async functions of the embedding program, by the name they were registered under.
//!
//! A handler's future is polled by the attempt that waits for it: no task of its own, so its logs carry the
//! attempt's span. It must not block its thread; one that does can be neither timed out nor stopped.

mod context;
mod error;
mod extract;
mod handlers;

pub use context::RunCtx;
pub use error::TaskError;
pub use extract::{Args, FromRun, State};
pub use handlers::{Handler, Handlers, IntoResult};

use crate::driver::{Attempt, Driver, Handle, Killed, Recovered, RunSink};
use crate::guard::{guarded, guarded_call};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use punctual_clock::Clock;
use punctual_model::{Failure, FailureKind, Outcome, Work};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Runs what is registered in [`Handlers`].
#[derive(Debug)]
pub struct HandlerDriver {
    handlers: Handlers,
    clock: Arc<dyn Clock>,
}

impl HandlerDriver {
    /// A driver for these handlers.
    #[must_use]
    pub fn new(handlers: Handlers, clock: Arc<dyn Clock>) -> Self {
        Self { handlers, clock }
    }

    /// What it can run.
    #[must_use]
    pub fn handlers(&self) -> &Handlers {
        &self.handlers
    }
}

#[async_trait]
impl Driver for HandlerDriver {
    fn name(&self) -> &'static str {
        "handler"
    }

    async fn start(&self, attempt: Attempt, sink: Arc<dyn RunSink>) -> Result<Box<dyn Handle>, Failure> {
        let Work::Handler { name, .. } = &attempt.task.spec.work else {
            return Err(Failure::new(FailureKind::Start, "the task's work is no handler"));
        };
        let Some(handler) = self.handlers.find(name) else {
            let known: Vec<&str> = self.handlers.names().collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let text = format!("no handler is registered as {name:?}; there are: {known}");
            return Err(Failure::new(FailureKind::Start, text));
        };
        let context = RunCtx::new(attempt, sink);
        // The function itself runs only when its future is polled; what runs here are the extractors.
        let future = guarded_call(|| handler.call(&context, self.handlers.states()))
            .map_err(|panic| Failure::new(FailureKind::Panic, format!("panicked: {panic}")))??;
        let handle = HandlerHandle {
            work: Mutex::new(Slot::Alive(Box::pin(to_the_end(future, context.clone())))),
            context,
            clock: Arc::clone(&self.clock),
        };
        Ok(Box::new(handle))
    }

    async fn recover(&self, _attempt: Attempt, _sink: Arc<dyn RunSink>) -> Recovered {
        // It lived in a process that is gone.
        Recovered::Nothing
    }
}

/// A handler at work.
struct HandlerHandle {
    work: Mutex<Slot>,
    context: RunCtx,
    clock: Arc<dyn Clock>,
}

enum Slot {
    Alive(BoxFuture<'static, Outcome>),
    Ended(Outcome),
}

#[async_trait]
impl Handle for HandlerHandle {
    async fn wait(&self) -> Outcome {
        // Whoever has the lock drives the work; dropped, it leaves it where it is for the next.
        let mut slot = self.work.lock().await;
        let outcome = match &mut *slot {
            Slot::Ended(outcome) => return outcome.clone(),
            Slot::Alive(future) => future.await,
        };
        *slot = Slot::Ended(outcome.clone());
        outcome
    }

    async fn kill(&self, _signal: &str, grace: Duration) -> Result<Killed, String> {
        let flags = self.context.flags();
        let grace = self.clock.sleep(grace);
        flags.cancel.raise();
        tokio::select! {
            biased;
            _ = self.wait() => {}
            () = grace => {
                flags.abort.raise();
                self.wait().await;
            }
        }
        Ok(if flags.abort.is_raised() { Killed::ByForce } else { Killed::ByItself })
    }

    async fn signal(&self, _signal: &str) -> Result<(), String> {
        Err("a handler takes no signals".to_owned())
    }

    async fn detach(&self) -> bool {
        false
    }
}

/// Polls a handler until it ends, panics, or is cut off.
async fn to_the_end(future: BoxFuture<'static, Result<Value, TaskError>>, context: RunCtx) -> Outcome {
    let ended = tokio::select! {
        biased;
        ended = guarded(future) => ended,
        () = context.flags().abort.raised() => {
            let text = "did not return within its grace and was cut off";
            return Outcome::failed(Failure::new(FailureKind::Interrupted, text).recoverable());
        }
    };
    match ended {
        Ok(Ok(Value::Null)) => Outcome::success(),
        Ok(Ok(value)) => Outcome { result: Some(value), ..Outcome::default() },
        Ok(Err(error)) => Outcome::failed(error.into()),
        Err(panic) => {
            Outcome::failed(Failure::new(FailureKind::Panic, format!("panicked: {panic}")).recoverable())
        }
    }
}

#[cfg(test)]
#[path = "handler/tests.rs"]
mod tests;
