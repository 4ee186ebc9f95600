//! When a run gets another attempt, as its user writes it.

use super::twin;
use punctual_model::number::{Decimal, EndClass};
use punctual_model::{duration, restart};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// When a run gets another attempt; in a definition also by name: `"none"`, `"batch"`, `"service"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Restart {
    pub attempts: u32,
    #[serde(with = "duration::text")]
    pub interval: Duration,
    #[serde(with = "duration::text")]
    pub delay: Duration,
    #[serde(skip_serializing_if = "is_usual_jitter")]
    pub jitter: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    pub mode: RestartMode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<EndClass>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_on: Vec<EndClass>,
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Duration>,
    pub on_success: bool,
    pub on_lost: OnLost,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_usual_jitter(jitter: &Decimal) -> bool {
    *jitter == restart::RestartPolicy::JITTER
}

impl Default for Restart {
    fn default() -> Self {
        restart::RestartPolicy::default().into()
    }
}

impl From<Restart> for restart::RestartPolicy {
    fn from(value: Restart) -> Self {
        let Restart {
            attempts,
            interval,
            delay,
            jitter,
            backoff,
            mode,
            retry_on,
            fail_on,
            max_time,
            on_success,
            on_lost,
        } = value;
        Self {
            attempts,
            interval,
            delay,
            jitter,
            backoff: backoff.map(|Backoff { factor, max }| restart::Backoff { factor, max }),
            mode: mode.into(),
            retry_on,
            fail_on,
            max_time,
            on_success,
            on_lost: on_lost.into(),
        }
    }
}

impl From<restart::RestartPolicy> for Restart {
    fn from(value: restart::RestartPolicy) -> Self {
        let restart::RestartPolicy {
            attempts,
            interval,
            delay,
            jitter,
            backoff,
            mode,
            retry_on,
            fail_on,
            max_time,
            on_success,
            on_lost,
        } = value;
        Self {
            attempts,
            interval,
            delay,
            jitter,
            backoff: backoff.map(|restart::Backoff { factor, max }| Backoff { factor, max }),
            mode: mode.into(),
            retry_on,
            fail_on,
            max_time,
            on_success,
            on_lost: on_lost.into(),
        }
    }
}

/// How pauses grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub struct Backoff {
    pub factor: Decimal,
    #[serde(with = "duration::text")]
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        let restart::Backoff { factor, max } = restart::Backoff::default();
        Self { factor, max }
    }
}

/// What happens when the restarts of an interval are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum RestartMode {
    Fail,
    Delay,
}
twin!(RestartMode, restart::RestartMode { Fail, Delay });

/// What happens to an attempt whose end nobody saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the twin says what they mean")]
pub enum OnLost {
    #[serde(rename = "lost")]
    EndAsLost,
    Restart,
}
twin!(OnLost, restart::OnLost { EndAsLost, Restart });
