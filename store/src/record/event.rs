//! The events of a run on disk; their text for people is derived when they are read.

use super::Unreadable;
use super::code::StopCode;
use super::time::Nanos;
use minicbor::{Decode, Encode};
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
    }
}

fn kind(twin: KindTwin) -> EventKind {
    match twin {
        KindTwin::Restarting { attempt, end, reason, delay_secs, delay_nanos } => EventKind::Restarting {
            attempt,
            end,
            reason,
            // Nanoseconds over a second could carry beyond the range; damage shows as the longest wait.
            delay: Duration::from_secs(delay_secs).saturating_add(Duration::from_nanos(delay_nanos.into())),
        },
        KindTwin::NotRestarting { reason } => EventKind::NotRestarting { reason },
        KindTwin::Stopping { why } => EventKind::Stopping { why: why.into() },
        KindTwin::Killed => EventKind::Killed,
        KindTwin::KillFailed { error } => EventKind::KillFailed { error },
        KindTwin::Interrupted { attempt } => EventKind::Interrupted { attempt },
        KindTwin::LostAttempt { attempt } => EventKind::LostAttempt { attempt },
        KindTwin::Reattached => EventKind::Reattached,
        KindTwin::OutputFailed { error } => EventKind::OutputFailed { error },
        KindTwin::Message { source, text } => EventKind::Message { source, text },
    }
}
