//! What is known of an attempt in a shim's hands, and of its end.

use super::super::exit;
use super::super::home::ProcessHome;
use super::super::shim::files::Files;
use super::super::shim::messages::End;
use super::super::shim::note::{self, State};
use crate::driver::{Attempt, Killed, RunSink, Seen};
use crate::output::Outputs;
use jiff::Timestamp;
use punctual_clock::Clock;
use punctual_model::event::EventKind;
use punctual_model::{Exit, Failure, FailureKind, Outcome, RunId, duration};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the parts here share about one attempt.
pub(super) struct Here {
    pub(super) home: Arc<ProcessHome>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sink: Arc<dyn RunSink>,
    pub(super) outputs: Outputs,
    pub(super) attempt: Attempt,
    pub(super) files: Files,
    /// Where it is noted who keeps it, if it is.
    pub(super) note: Option<PathBuf>,
    /// It is of an earlier session: it may end, or have ended, before we hear of it.
    pub(super) is_found: bool,
}

impl Here {
    pub(super) fn run(&self) -> RunId {
        self.attempt.run.id
    }

    /// Who keeps it, if that stands in its note.
    pub(super) fn noted(&self) -> Option<State> {
        let state = self.note.as_deref().and_then(note::read);
        state.filter(|state| state.is_of(self.run(), self.attempt.run.life.attempt))
    }

    /// Removes everything that the attempt and its dead shim have left on the disk.
    pub(super) fn remove_all(&self) {
        self.files.remove();
        // What is gone already is what is wanted.
        let _ = self.note.as_ref().map(std::fs::remove_file);
    }

    /// What an end says about the attempt.
    pub(super) fn known(&self, end: &End) -> Known {
        let exit = end.code.map(Exit::Code).or(end.signal.map(Exit::Signal));
        let mut outcome = match exit {
            Some(exit) => exit::outcome(exit),
            None => exit::failed(None, "ended in a way that the system does not tell".to_owned()),
        };
        exit::killed_for_memory(&mut outcome, end.out_of_memory, &self.attempt);
        if end.timed_out {
            let limit = end.timeout.map(Duration::from_millis).or(self.attempt.task.spec.timeout);
            let limit = limit.map(duration::format).unwrap_or_default();
            let text = format!("took longer than its timeout of {limit}");
            outcome.error = Some(Failure::new(FailureKind::Timeout, text).recoverable());
        }
        outcome.output = end.output;
        outcome.usage = end.usage;
        let how = if end.by_force { Killed::ByForce } else { Killed::ByItself };
        // What is heard of as it happens happens by the daemon's own clock.
        let at = Timestamp::from_microsecond(end.at).ok().filter(|_| self.is_found);
        let seen = Seen { at, lost: false, out_of_memory: end.out_of_memory > 0 };
        let message = |text: &String| EventKind::Message { source: "process".to_owned(), text: text.clone() };
        // Told at the start too, which a daemon that was killed may have lost.
        let limits = end.limits.clone().map(|layer| EventKind::LimitsApplied { layer });
        let is_told = |kind: &EventKind| self.attempt.run.events.iter().any(|event| event.kind == *kind);
        let limits = limits.filter(|kind| self.is_found && !is_told(kind));
        let mut events: Vec<EventKind> = limits.into_iter().chain(end.said.iter().map(message)).collect();
        events.extend(end.output_error.clone().map(|error| EventKind::OutputFailed { error }));
        // Whoever has it killed tells that himself.
        events.extend((end.timed_out && end.by_force).then_some(EventKind::Killed));
        Known { outcome, how, seen, events }
    }
}

/// What is known of an end.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) outcome: Outcome,
    pub(super) how: Killed,
    pub(super) seen: Seen,
    /// For the run's record; told to whoever waits for the end, since an attempt that was found again has no record
    /// of ours before that.
    pub(super) events: Vec<EventKind>,
}

impl Known {
    /// The outcome, and what goes into the record besides.
    pub(super) fn told_to(&mut self, sink: &dyn RunSink) -> Outcome {
        self.events.drain(..).for_each(|event| sink.event(event));
        self.outcome.clone()
    }
}
