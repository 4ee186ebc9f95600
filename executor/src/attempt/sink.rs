//! Where an attempt's words go: output to its file, events and saved state to the store's next write.

use crate::driver::{Attempt, RunSink, Stream};
use crate::engine::Engine;
use crate::output::{Layout, Outputs, Writer, Written};
use crate::registry::Registry;
use punctual_clock::Clock;
use punctual_model::event::{Event, EventKind, MAX_EVENT_TEXT};
use punctual_model::{RunId, Usage};
use punctual_store::{Fence, SoftNote, Store};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sink of one attempt. After its close nothing is taken any more: what a process that got away writes
/// then is not part of the run.
pub(crate) struct Sink {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    run: RunId,
    fence: Fence,
    outputs: Outputs,
    registry: Arc<Registry>,
    writer: Mutex<Option<Writer>>,
}

impl Sink {
    pub(crate) fn new(engine: &Engine, attempt: &Attempt) -> Self {
        let run = attempt.run.id;
        Self {
            store: Arc::clone(&engine.store),
            clock: Arc::clone(&engine.clock),
            run,
            fence: Fence::of(&attempt.run),
            outputs: engine.outputs.clone(),
            registry: Arc::clone(&engine.registry),
            writer: Mutex::new(Some(engine.outputs.writer(run, Layout::of(&attempt.task.spec)))),
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the output durable and closes it.
    pub(super) async fn close(&self) -> Written {
        let Some(writer) = self.writer().take() else { return Written::default() };
        let at = self.clock.now();
        if self.outputs.root().is_none() || writer.is_untouched() {
            return writer.finish(at);
        }
        tokio::task::spawn_blocking(move || writer.finish(at)).await.unwrap_or_else(|error| Written {
            summary: None,
            error: Some(format!("closing the output failed: {error}")),
        })
    }

    /// What the work takes of the machine at this moment.
    pub(super) fn used(&self, usage: Usage) {
        self.note(SoftNote { usage: Some(usage), ..self.empty() });
    }

    /// The attempt is known to have started.
    pub(super) fn started(&self) {
        self.note(SoftNote { started: true, ..self.empty() });
    }

    /// A hook has failed.
    pub(super) fn hook_failed(&self, hook: &str, phase: &str, error: String) {
        self.event(EventKind::HookFailed { phase: phase.to_owned(), hook: hook.to_owned(), error });
    }

    fn empty(&self) -> SoftNote {
        SoftNote {
            run: self.run,
            fence: self.fence,
            started: false,
            events: Vec::new(),
            saved: None,
            usage: None,
        }
    }

    fn note(&self, note: SoftNote) {
        self.store.note(vec![note]);
    }
}

impl RunSink for Sink {
    fn output(&self, stream: Stream, bytes: &[u8]) {
        let at = self.clock.now();
        if let Some(writer) = self.writer().as_mut() {
            writer.write(at, stream, bytes);
        }
    }

    fn event(&self, what: EventKind) {
        let event = Event { at: self.clock.now(), kind: bounded(what) };
        self.note(SoftNote { events: vec![event], ..self.empty() });
        self.registry.happened(self.run);
    }

    fn save(&self, state: Value) {
        self.note(SoftNote { saved: Some(state), ..self.empty() });
    }

    fn outputs(&self) -> Option<Outputs> {
        self.outputs.root().is_some().then(|| self.outputs.clone())
    }
}

/// The same event with its texts cut to what a record has room for.
pub(crate) fn bounded(mut what: EventKind) -> EventKind {
    what.texts_mut().for_each(cut);
    what
}

fn cut(text: &mut String) {
    if text.len() > MAX_EVENT_TEXT {
        let mut end = MAX_EVENT_TEXT - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}
