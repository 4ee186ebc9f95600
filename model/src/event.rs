//! What happened to a run, beyond what its record tells by itself: a bounded list with the middle counted.

use crate::duration;
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
            }
            .to_owned(),
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
            Self::Message { source, text } => format!("{source}: {text}"),
        }
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
