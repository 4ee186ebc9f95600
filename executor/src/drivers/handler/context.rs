//! What a handler knows of its run, and what it can say while it works.

use super::error::TaskError;
use crate::driver::{Attempt, RunSink, Stream};
use crate::flag::Flag;
use jiff::Timestamp;
use punctual_model::event::EventKind;
use punctual_model::{Run, RunId, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The run that a handler works for. Clones are the same.
#[derive(Clone)]
pub struct RunCtx {
    shared: Arc<Shared>,
}

struct Shared {
    attempt: Attempt,
    sink: Arc<dyn RunSink>,
    flags: Flags,
    /// Tenths of the progress that were told.
    tenths: AtomicU8,
}

/// How a handler is told to end.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// Please.
    pub(super) cancel: Flag,
    /// Now.
    pub(super) abort: Flag,
}

impl RunCtx {
    pub(super) fn new(attempt: Attempt, sink: Arc<dyn RunSink>) -> Self {
        let shared = Shared { attempt, sink, flags: Flags::default(), tenths: AtomicU8::new(0) };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn flags(&self) -> &Flags {
        &self.shared.flags
    }

    /// The run's id; the same through all attempts.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run().id
    }

    /// The run's record as it was when this attempt began.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.shared.attempt.run
    }

    /// The definition that it is run by.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.shared.attempt.task
    }

    /// The logical time of the run: what it is to compute, however late it is.
    #[must_use]
    pub fn scheduled_for(&self) -> Timestamp {
        self.run().scheduled_for
    }

    /// Number of this attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.run().life.attempt
    }

    /// Writes a line to the run's output.
    pub fn log(&self, line: impl fmt::Display) {
        self.shared.sink.output(Stream::Log, format!("{line}\n").as_bytes());
    }

    /// Tells how much is done, from 0 to 1. Each tenth is told once, as an event of the run.
    pub fn progress(&self, done: f64) {
        let tenths = (done.clamp(0.0, 1.0) * 10.0) as u8;
        if self.shared.tenths.fetch_max(tenths, Ordering::Relaxed) < tenths {
            self.message("progress", format!("{} %", tenths * 10));
        }
    }

    /// Adds a line to the run's events, which are few and kept with its record.
    pub fn event(&self, text: impl fmt::Display) {
        self.message("handler", text.to_string());
    }

    fn message(&self, source: &str, text: String) {
        self.shared.sink.event(EventKind::Message { source: source.to_owned(), text });
    }

    /// What an earlier attempt, or the run that this one resumes, has saved.
    ///
    /// # Errors
    /// If it is there and is no `T`; another attempt would find the same.
    pub fn saved<T: DeserializeOwned>(&self) -> Result<Option<T>, TaskError> {
        let saved = &self.run().saved;
        if saved.is_null() {
            return Ok(None);
        }
        T::deserialize(saved).map(Some).map_err(|error| TaskError::fail(format!("saved state: {error}")))
    }

    /// Saves a state for a later attempt or a resume; each replaces the one before. It is not waited for: it
    /// becomes durable with the next write of the store.
    ///
    /// # Errors
    /// If it is no JSON or larger than [`Run::MAX_PARAMS`] bytes of it.
    pub fn save<T: Serialize>(&self, state: &T) -> Result<(), TaskError> {
        let value = serde_json::to_value(state).map_err(TaskError::fail)?;
        let size = value.to_string().len();
        if size > Run::MAX_PARAMS {
            let text = format!("saved state of {size} bytes is over the limit of {}", Run::MAX_PARAMS);
            return Err(TaskError::fail(text));
        }
        self.shared.sink.save(value);
        Ok(())
    }

    /// Returns when the run shall stop: it was canceled, took too long, or the node stops. After the task's
    /// kill grace the handler is cut off at its next await.
    pub async fn canceled(&self) {
        self.shared.flags.cancel.raised().await;
    }

    /// Whether the run shall stop.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.shared.flags.cancel.is_raised()
    }
}

impl fmt::Debug for RunCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunCtx").field("attempt", &self.shared.attempt).finish_non_exhaustive()
    }
}
