//! What happened to a run, beyond what its record tells by itself: a bounded list with the middle counted.

use crate::duration;
use crate::outcome::Exit;
use crate::state::StopWhy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Events of one run. The first and the last are kept, those between are counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLog {
    #[serde(default)]
    first: Vec<Event>,
    #[serde(default)]
    last: VecDeque<Event>,
    #[serde(default)]
    dropped: u64,
}

impl EventLog {
    /// Events kept from the beginning: they tell how it came about.
    pub const FIRST: usize = 10;
    /// Events kept from the end: they tell how it went out.
    pub const LAST: usize = 20;

    /// Puts the parts together again, as a store read them; whatever is over the bounds is counted.
    #[must_use]
    pub fn from_parts(first: Vec<Event>, last: Vec<Event>, dropped: u64) -> Self {
        let mut log = Self { dropped, ..Self::default() };
        let split = first.len().min(Self::FIRST);
        let mut first = first;
        let rest = first.split_off(split);
        log.first = first;
        for event in rest.into_iter().chain(last) {
            log.push(event);
        }
        log
    }

    /// Adds one, dropping and counting the oldest of the middle if there are too many.
    pub fn push(&mut self, event: Event) {
        if self.first.len() < Self::FIRST && self.last.is_empty() {
            self.first.push(event);
            return;
        }
        if self.last.len() == Self::LAST {
            self.last.pop_front();
            self.dropped += 1;
        }
        self.last.push_back(event);
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty()
    }

    /// The events from the beginning.
    #[must_use]
    pub fn first(&self) -> &[Event] {
        &self.first
    }

    /// How many between the first and the last are gone.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The events from the end.
    pub fn last(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.last.iter()
    }

    /// All that are kept, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.first.iter().chain(&self.last)
    }
}

/// One thing that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Longest text that an event carries, in bytes.
pub const MAX_EVENT_TEXT: usize = 1024;

/// What happened. Acceptance, the last start and the end stand in the run's own fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// An attempt ended and another one follows.
    Restarting {
        /// The attempt that ended.
        attempt: u32,
        /// How it ended.
        end: String,
        /// Why another one is made.
        reason: String,
        /// How long it waits for that.
        #[serde(with = "duration::text")]
        delay: Duration,
    },
    /// An attempt ended and the policy allows no other.
    NotRestarting {
        /// Why.
        reason: String,
    },
    /// It was asked to stop.
    Stopping {
        /// Why.
        why: StopWhy,
    },
    /// Somebody asked for its work to be begun again.
    RestartAsked {
        /// Why; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// It did not go by itself within the grace and was killed.
    Killed,
    /// It could not be stopped.
    KillFailed {
        /// The error.
        error: String,
    },
    /// Our own stop cut an attempt short; it does not count.
    Interrupted {
        /// The attempt.
        attempt: u32,
    },
    /// Nobody saw the end of an attempt and another one follows.
    LostAttempt {
        /// The attempt.
        attempt: u32,
    },
    /// A later session found it alive and goes on watching it.
    Reattached,
    /// Its output could not be kept whole.
    OutputFailed {
        /// The error.
        error: String,
    },
    /// What is needed before the work can start is being made ready.
    Setup {
        /// What is done.
        text: String,
    },
    /// That did not go.
    SetupFailed {
        /// The error.
        error: String,
    },
    /// The run's own directory is made.
    BuildingDirectory,
    /// Files that the work needs are being fetched.
    DownloadingArtifacts {
        /// How many.
        count: u32,
    },
    /// One of them could not be fetched.
    ArtifactFailed {
        /// Which: its source, without anything secret in it.
        artifact: String,
        /// The error.
        error: String,
    },
    /// A driver could not do its part, and the run's end does not tell it.
    DriverFailed {
        /// The error.
        error: String,
    },
    /// An attempt's work began. (Of the last attempt the record tells it by itself.)
    Started {
        /// The attempt.
        attempt: u32,
        /// Its process, if it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    /// An attempt's work ended. (Of the last attempt the record tells it by itself.)
    Terminated {
        /// The attempt.
        attempt: u32,
        /// How its process ended, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<Exit>,
        /// What else is known; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        message: String,
    },
    /// The kernel killed it, or part of it, because it used more memory than it may.
    OutOfMemory {
        /// The attempt.
        attempt: u32,
    },
    /// It is being ended, as [`Self::Stopping`] says why.
    Killing {
        /// The signal that it got.
        signal: String,
        /// How long it may take before it is killed.
        #[serde(with = "duration::text")]
        grace: Duration,
    },
    /// It is sent a signal that is not to end it.
    Signaling {
        /// The signal.
        signal: String,
        /// Why; may be empty.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A hook failed.
    HookFailed {
        /// When in the attempt's life.
        phase: String,
        /// Its name.
        hook: String,
        /// The error.
        error: String,
    },
    /// Its end waits, so that others learn of it.
    ShutdownDelay {
        /// How long.
        #[serde(with = "duration::text")]
        delay: Duration,
    },
    /// That wait was cut short or left out.
    ShutdownDelaySkipped {
        /// Why.
        reason: String,
    },
    /// What a later session needed to go on with it could not be read, or led nowhere.
    RestoreFailed {
        /// The error.
        error: String,
    },
    /// A change of its task reached it while it worked.
    Updated {
        /// The revision that holds for it now.
        revision: u64,
    },
    /// A change of its task reached it while it worked, but for some parts.
    UpdateDeferred {
        /// The revision that holds for it now.
        revision: u64,
        /// The parts that hold from its next attempt on only.
        parts: String,
    },
    /// How the limits of its task are kept on this machine.
    LimitsApplied {
        /// By what: a control group, limits of the process, nothing.
        layer: String,
    },
    /// Its end was one failure too many, and its task was paused.
    TaskPaused {
        /// How many in a row.
        failures: u32,
    },
    /// The work, its driver or a hook says something.
    Message {
        /// Who says it.
        source: String,
        /// What.
        text: String,
    },
}

impl EventKind {
    /// For people; derived here and stored nowhere.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Restarting { attempt, end, reason, delay } => {
                format!("attempt {attempt} ended ({end}); {reason}, in {}", duration::format(*delay))
            }
            Self::NotRestarting { reason } => reason.clone(),
            Self::Stopping { why } => match why {
                StopWhy::Cancel => "asked to stop",
                StopWhy::Timeout => "took longer than its timeout",
                StopWhy::Replaced => "a newer run takes its place",
                StopWhy::Deleted => "its task was deleted",
                StopWhy::Restart => "is begun again",
            }
            .to_owned(),
            Self::RestartAsked { reason } if reason.is_empty() => "asked to begin again".to_owned(),
            Self::RestartAsked { reason } => format!("asked to begin again: {reason}"),
            Self::Killed => "did not stop within the grace and was killed".to_owned(),
            Self::KillFailed { error } => format!("could not be stopped: {error}"),
            Self::Interrupted { attempt } => {
                format!("attempt {attempt} was cut short by the stop of the node and does not count")
            }
            Self::LostAttempt { attempt } => {
                format!("nobody saw the end of attempt {attempt}; it is made again")
            }
            Self::Reattached => "found alive after a restart of the node".to_owned(),
            Self::OutputFailed { error } => format!("output could not be kept: {error}"),
            Self::Setup { text } => text.clone(),
            Self::SetupFailed { error } => format!("could not be made ready: {error}"),
            Self::BuildingDirectory => "its directory is made".to_owned(),
            Self::DownloadingArtifacts { count: 1 } => "an artifact is fetched".to_owned(),
            Self::DownloadingArtifacts { count } => format!("{count} artifacts are fetched"),
            Self::ArtifactFailed { artifact, error } => format!("{artifact} could not be fetched: {error}"),
            Self::DriverFailed { error } => format!("the driver failed: {error}"),
            Self::Started { attempt, pid: None } => format!("attempt {attempt} started"),
            Self::Started { attempt, pid: Some(pid) } => {
                format!("attempt {attempt} started as process {pid}")
            }
            Self::Terminated { attempt, exit, message } => {
                let exit = exit.map(|exit| format!(": {exit}")).unwrap_or_default();
                let message = if message.is_empty() { String::new() } else { format!(": {message}") };
                format!("attempt {attempt} ended{exit}{message}")
            }
            Self::OutOfMemory { attempt } => {
                format!("attempt {attempt} used more memory than it may and was killed by the kernel")
            }
            Self::Killing { signal, grace } => {
                format!("got {signal}; is killed unless it goes within {}", duration::format(*grace))
            }
            Self::Signaling { signal, reason } if reason.is_empty() => format!("gets {signal}"),
            Self::Signaling { signal, reason } => format!("gets {signal}: {reason}"),
            Self::HookFailed { phase, hook, error } => format!("{phase} hook {hook:?} failed: {error}"),
            Self::ShutdownDelay { delay } => format!("its end waits for {}", duration::format(*delay)),
            Self::ShutdownDelaySkipped { reason } => format!("its end does not wait: {reason}"),
            Self::RestoreFailed { error } => format!("could not be found again: {error}"),
            Self::Updated { revision } => format!("follows revision {revision} of its task"),
            Self::UpdateDeferred { revision, parts } => {
                format!("follows revision {revision} of its task; from its next attempt on: {parts}")
            }
            Self::LimitsApplied { layer } => format!("limits are kept by {layer}"),
            Self::TaskPaused { failures } => {
                format!("its task was paused after {failures} failures in a row")
            }
            Self::Message { source, text } => format!("{source}: {text}"),
        }
    }

    /// The texts that it carries, in no particular order: whoever stores them bounds each to [`MAX_EVENT_TEXT`].
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let (first, second) = match self {
            Self::Restarting { end, reason, .. } => (Some(end), Some(reason)),
            Self::ArtifactFailed { artifact, error } => (Some(artifact), Some(error)),
            // The phase is a word of ours.
            Self::HookFailed { phase: _, hook, error } => (Some(hook), Some(error)),
            Self::Signaling { signal, reason } => (Some(signal), Some(reason)),
            Self::Message { source, text } => (Some(source), Some(text)),
            Self::NotRestarting { reason }
            | Self::RestartAsked { reason }
            | Self::ShutdownDelaySkipped { reason } => (Some(reason), None),
            Self::UpdateDeferred { parts, .. } => (Some(parts), None),
            Self::KillFailed { error }
            | Self::OutputFailed { error }
            | Self::SetupFailed { error }
            | Self::DriverFailed { error }
            | Self::RestoreFailed { error } => (Some(error), None),
            Self::Setup { text } => (Some(text), None),
            Self::Terminated { message, .. } => (Some(message), None),
            Self::Killing { signal, .. } => (Some(signal), None),
            Self::LimitsApplied { layer } => (Some(layer), None),
            Self::Stopping { .. }
            | Self::Killed
            | Self::Interrupted { .. }
            | Self::LostAttempt { .. }
            | Self::Reattached
            | Self::BuildingDirectory
            | Self::DownloadingArtifacts { .. }
            | Self::Started { .. }
            | Self::OutOfMemory { .. }
            | Self::ShutdownDelay { .. }
            | Self::Updated { .. }
            | Self::TaskPaused { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// How many bytes of text it carries.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.clone().texts_mut().map(|text| text.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u32) -> Event {
        Event { at: Timestamp::UNIX_EPOCH, kind: EventKind::Interrupted { attempt: n } }
    }

    #[test]
    fn the_first_ten_and_the_last_twenty_are_kept_and_the_rest_counted() {
        let mut log = EventLog::default();
        for n in 1..=100 {
            log.push(event(n));
        }
        assert_eq!(log.dropped(), 70);
        let kept: Vec<_> = log.iter().cloned().collect();
        let expect: Vec<_> = (1..=10).chain(81..=100).map(event).collect();
        assert_eq!(kept, expect);
        let parts = EventLog::from_parts(log.first().to_vec(), log.last().cloned().collect(), log.dropped());
        assert_eq!(parts, log);
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod texts;
