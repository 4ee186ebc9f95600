//! The events of a run on disk; their text for people is derived when they are read.

use super::Unreadable;
use super::code::StopCode;
use super::outcome::ExitTwin;
use super::time::Nanos;
use minicbor::{Decode, Encode};
use punctual_model::Exit;
use punctual_model::event::{Event, EventKind, EventLog};
use std::time::Duration;

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
pub(super) struct EventLogTwin {
    #[n(0)]
    first: Vec<EventTwin>,
    #[n(1)]
    last: Option<Vec<EventTwin>>,
    #[n(2)]
    dropped: Option<u64>,
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct EventTwin {
    #[n(0)]
    at: Nanos,
    #[n(1)]
    kind: KindTwin,
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(flat)]
enum KindTwin {
    #[n(0)]
    Restarting {
        #[n(0)]
        attempt: u32,
        #[n(1)]
        end: String,
        #[n(2)]
        reason: String,
        #[n(3)]
        delay_secs: u64,
        #[n(4)]
        delay_nanos: u32,
    },
    #[n(1)]
    NotRestarting {
        #[n(0)]
        reason: String,
    },
    #[n(2)]
    Stopping {
        #[n(0)]
        why: StopCode,
    },
    #[n(3)]
    Killed,
    #[n(4)]
    KillFailed {
        #[n(0)]
        error: String,
    },
    #[n(5)]
    Interrupted {
        #[n(0)]
        attempt: u32,
    },
    #[n(6)]
    LostAttempt {
        #[n(0)]
        attempt: u32,
    },
    #[n(7)]
    Reattached,
    #[n(8)]
    OutputFailed {
        #[n(0)]
        error: String,
    },
    #[n(9)]
    Message {
        #[n(0)]
        source: String,
        #[n(1)]
        text: String,
    },
    #[n(10)]
    Setup {
        #[n(0)]
        text: String,
    },
    #[n(11)]
    SetupFailed {
        #[n(0)]
        error: String,
    },
    #[n(12)]
    BuildingDirectory,
    #[n(13)]
    DownloadingArtifacts {
        #[n(0)]
        count: u32,
    },
    #[n(14)]
    ArtifactFailed {
        #[n(0)]
        artifact: String,
        #[n(1)]
        error: String,
    },
    #[n(15)]
    DriverFailed {
        #[n(0)]
        error: String,
    },
    #[n(16)]
    Started {
        #[n(0)]
        attempt: u32,
        #[n(1)]
        pid: Option<u32>,
    },
    #[n(17)]
    Terminated {
        #[n(0)]
        attempt: u32,
        #[n(1)]
        exit: Option<ExitTwin>,
        #[n(2)]
        message: Option<String>,
    },
    #[n(18)]
    OutOfMemory {
        #[n(0)]
        attempt: u32,
    },
    #[n(19)]
    Killing {
        #[n(0)]
        signal: String,
        #[n(1)]
        grace_secs: u64,
        #[n(2)]
        grace_nanos: u32,
    },
    #[n(20)]
    Signaling {
        #[n(0)]
        signal: String,
        #[n(1)]
        reason: Option<String>,
    },
    #[n(21)]
    HookFailed {
        #[n(0)]
        phase: String,
        #[n(1)]
        hook: String,
        #[n(2)]
        error: String,
    },
    #[n(22)]
    ShutdownDelay {
        #[n(0)]
        delay_secs: u64,
        #[n(1)]
        delay_nanos: u32,
    },
    #[n(23)]
    ShutdownDelaySkipped {
        #[n(0)]
        reason: String,
    },
    #[n(24)]
    RestoreFailed {
        #[n(0)]
        error: String,
    },
    #[n(25)]
    Updated {
        #[n(0)]
        revision: u64,
    },
    #[n(26)]
    UpdateDeferred {
        #[n(0)]
        revision: u64,
        #[n(1)]
        parts: String,
    },
    #[n(27)]
    LimitsApplied {
        #[n(0)]
        layer: String,
    },
    #[n(28)]
    TaskPaused {
        #[n(0)]
        failures: u32,
    },
    #[n(29)]
    RestartAsked {
        #[n(0)]
        reason: Option<String>,
    },
}

impl EventLogTwin {
    /// The log with times counted from `base`; none if nothing happened.
    pub(super) fn of(log: &EventLog, base: i128) -> Option<Self> {
        let twin =
            |event: &Event| EventTwin { at: Nanos::between(base, event.at), kind: kind_twin(&event.kind) };
        (!log.is_empty() || log.dropped() > 0).then(|| Self {
            first: log.first().iter().map(twin).collect(),
            last: (log.last().len() > 0).then(|| log.last().map(twin).collect()),
            dropped: (log.dropped() > 0).then_some(log.dropped()),
        })
    }

    /// The log again.
    pub(super) fn log(self, base: i128) -> Result<EventLog, Unreadable> {
        let events = |twins: Vec<EventTwin>| -> Result<Vec<Event>, Unreadable> {
            twins
                .into_iter()
                .map(|twin| Ok(Event { at: twin.at.after(base)?, kind: kind(twin.kind) }))
                .collect()
        };
        let last = events(self.last.unwrap_or_default())?;
        Ok(EventLog::from_parts(events(self.first)?, last, self.dropped.unwrap_or_default()))
    }
}

fn kind_twin(kind: &EventKind) -> KindTwin {
    match kind.clone() {
        EventKind::Restarting { attempt, end, reason, delay } => KindTwin::Restarting {
            attempt,
            end,
            reason,
            delay_secs: delay.as_secs(),
            delay_nanos: delay.subsec_nanos(),
        },
        EventKind::NotRestarting { reason } => KindTwin::NotRestarting { reason },
        EventKind::Stopping { why } => KindTwin::Stopping { why: why.into() },
        EventKind::Killed => KindTwin::Killed,
        EventKind::KillFailed { error } => KindTwin::KillFailed { error },
        EventKind::Interrupted { attempt } => KindTwin::Interrupted { attempt },
        EventKind::LostAttempt { attempt } => KindTwin::LostAttempt { attempt },
        EventKind::Reattached => KindTwin::Reattached,
        EventKind::OutputFailed { error } => KindTwin::OutputFailed { error },
        EventKind::Message { source, text } => KindTwin::Message { source, text },
        EventKind::Setup { text } => KindTwin::Setup { text },
        EventKind::SetupFailed { error } => KindTwin::SetupFailed { error },
        EventKind::BuildingDirectory => KindTwin::BuildingDirectory,
        EventKind::DownloadingArtifacts { count } => KindTwin::DownloadingArtifacts { count },
        EventKind::ArtifactFailed { artifact, error } => KindTwin::ArtifactFailed { artifact, error },
        EventKind::DriverFailed { error } => KindTwin::DriverFailed { error },
        EventKind::Started { attempt, pid } => KindTwin::Started { attempt, pid },
        EventKind::Terminated { attempt, exit, message } => KindTwin::Terminated {
            attempt,
            exit: exit.map(ExitTwin::from),
            message: (!message.is_empty()).then_some(message),
        },
        EventKind::OutOfMemory { attempt } => KindTwin::OutOfMemory { attempt },
        EventKind::Killing { signal, grace } => {
            KindTwin::Killing { signal, grace_secs: grace.as_secs(), grace_nanos: grace.subsec_nanos() }
        }
        EventKind::Signaling { signal, reason } => {
            KindTwin::Signaling { signal, reason: (!reason.is_empty()).then_some(reason) }
        }
        EventKind::HookFailed { phase, hook, error } => KindTwin::HookFailed { phase, hook, error },
        EventKind::ShutdownDelay { delay } => {
            KindTwin::ShutdownDelay { delay_secs: delay.as_secs(), delay_nanos: delay.subsec_nanos() }
        }
        EventKind::ShutdownDelaySkipped { reason } => KindTwin::ShutdownDelaySkipped { reason },
        EventKind::RestoreFailed { error } => KindTwin::RestoreFailed { error },
        EventKind::Updated { revision } => KindTwin::Updated { revision },
        EventKind::UpdateDeferred { revision, parts } => KindTwin::UpdateDeferred { revision, parts },
        EventKind::LimitsApplied { layer } => KindTwin::LimitsApplied { layer },
        EventKind::TaskPaused { failures } => KindTwin::TaskPaused { failures },
        EventKind::RestartAsked { reason } => {
            KindTwin::RestartAsked { reason: (!reason.is_empty()).then_some(reason) }
        }
    }
}

fn kind(twin: KindTwin) -> EventKind {
    match twin {
        KindTwin::Restarting { attempt, end, reason, delay_secs, delay_nanos } => {
            EventKind::Restarting { attempt, end, reason, delay: span(delay_secs, delay_nanos) }
        }
        KindTwin::NotRestarting { reason } => EventKind::NotRestarting { reason },
        KindTwin::Stopping { why } => EventKind::Stopping { why: why.into() },
        KindTwin::Killed => EventKind::Killed,
        KindTwin::KillFailed { error } => EventKind::KillFailed { error },
        KindTwin::Interrupted { attempt } => EventKind::Interrupted { attempt },
        KindTwin::LostAttempt { attempt } => EventKind::LostAttempt { attempt },
        KindTwin::Reattached => EventKind::Reattached,
        KindTwin::OutputFailed { error } => EventKind::OutputFailed { error },
        KindTwin::Message { source, text } => EventKind::Message { source, text },
        KindTwin::Setup { text } => EventKind::Setup { text },
        KindTwin::SetupFailed { error } => EventKind::SetupFailed { error },
        KindTwin::BuildingDirectory => EventKind::BuildingDirectory,
        KindTwin::DownloadingArtifacts { count } => EventKind::DownloadingArtifacts { count },
        KindTwin::ArtifactFailed { artifact, error } => EventKind::ArtifactFailed { artifact, error },
        KindTwin::DriverFailed { error } => EventKind::DriverFailed { error },
        KindTwin::Started { attempt, pid } => EventKind::Started { attempt, pid },
        KindTwin::Terminated { attempt, exit, message } => EventKind::Terminated {
            attempt,
            exit: exit.map(Exit::from),
            message: message.unwrap_or_default(),
        },
        KindTwin::OutOfMemory { attempt } => EventKind::OutOfMemory { attempt },
        KindTwin::Killing { signal, grace_secs, grace_nanos } => {
            EventKind::Killing { signal, grace: span(grace_secs, grace_nanos) }
        }
        KindTwin::Signaling { signal, reason } => {
            EventKind::Signaling { signal, reason: reason.unwrap_or_default() }
        }
        KindTwin::HookFailed { phase, hook, error } => EventKind::HookFailed { phase, hook, error },
        KindTwin::ShutdownDelay { delay_secs, delay_nanos } => {
            EventKind::ShutdownDelay { delay: span(delay_secs, delay_nanos) }
        }
        KindTwin::ShutdownDelaySkipped { reason } => EventKind::ShutdownDelaySkipped { reason },
        KindTwin::RestoreFailed { error } => EventKind::RestoreFailed { error },
        KindTwin::Updated { revision } => EventKind::Updated { revision },
        KindTwin::UpdateDeferred { revision, parts } => EventKind::UpdateDeferred { revision, parts },
        KindTwin::LimitsApplied { layer } => EventKind::LimitsApplied { layer },
        KindTwin::TaskPaused { failures } => EventKind::TaskPaused { failures },
        KindTwin::RestartAsked { reason } => EventKind::RestartAsked { reason: reason.unwrap_or_default() },
    }
}

/// Nanoseconds over a second could carry beyond the range; damage shows as the longest time.
fn span(secs: u64, nanos: u32) -> Duration {
    Duration::from_secs(secs).saturating_add(Duration::from_nanos(nanos.into()))
}
