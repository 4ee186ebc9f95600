//! The small record of a task on disk. Rewritten with each due and each end of a run, so it is an array.

use super::code::{StateCode, StatusCode};
use super::time::Nanos;
use super::timing::TimingField;
use super::{Unreadable, from_cbor, to_cbor};
use crate::ledger::{Digest, Head, SharedLimit, kind_name};
use jiff::Timestamp;
use minicbor::{Decode, Encode};
use punctual_model::task::Retention;
use punctual_model::{RunId, TaskProgress, TaskType};
use std::time::Duration;

/// The record of a head.
pub(crate) fn encode_head(head: &Head) -> Vec<u8> {
    to_cbor(&HeadTwin::from(head))
}

/// The head again.
pub(crate) fn decode_head(record: &[u8]) -> Result<Head, Unreadable> {
    from_cbor::<HeadTwin>(record)?.try_into()
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct HeadTwin {
    #[n(0)]
    revision: u64,
    #[n(1)]
    oldest_revision: u64,
    #[n(2)]
    status: StatusCode,
    #[n(3)]
    kept_runs: u64,
    #[n(4)]
    kept_marks: u64,
    #[n(5)]
    digest: DigestTwin,
    #[n(6)]
    progress: ProgressTwin,
    #[n(7)]
    history_from: Option<u64>,
    #[n(8)]
    timing: Option<TimingField>,
    /// The name of the task's type; empty for the one that nearly all have.
    #[n(9)]
    kind: Option<String>,
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct DigestTwin {
    #[n(0)]
    serial: bool,
    #[n(1)]
    catch_up_rate: u32,
    #[n(2)]
    priority: i8,
    #[n(3)]
    retention_runs: u32,
    #[n(4)]
    retention_secs: u64,
    #[n(5)]
    retention_nanos: u32,
    #[n(6)]
    own_limit: Option<u32>,
    #[n(7)]
    shared: Option<SharedTwin>,
    #[n(8)]
    pause_after: Option<u32>,
    #[n(9)]
    on_failure: Option<bool>,
    #[n(10)]
    on_recovered: Option<bool>,
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct SharedTwin {
    #[n(0)]
    key: String,
    #[n(1)]
    limit: u32,
}

/// Times are counted from 1970.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
struct ProgressTwin {
    #[n(0)]
    checkpoint: Option<Nanos>,
    #[n(1)]
    latest_scheduled: Option<Nanos>,
    #[n(2)]
    latest_completed: Option<Nanos>,
    #[n(3)]
    latest_success: Option<Nanos>,
    #[n(4)]
    latest_failure: Option<Nanos>,
    #[n(5)]
    last_status: Option<StateCode>,
    #[n(6)]
    last_error: Option<String>,
    #[n(7)]
    last_finished_at: Option<Nanos>,
    #[n(8)]
    failures_in_row: Option<u32>,
    #[n(9)]
    paused_after: Option<u32>,
    #[n(10)]
    failing: Option<bool>,
}

impl From<&Head> for HeadTwin {
    fn from(head: &Head) -> Self {
        let Digest {
            serial,
            own_limit,
            shared,
            catch_up_rate,
            priority,
            retention,
            pause_after,
            on_failure,
            on_recovered,
            timing,
            kind,
        } = &head.digest;
        Self {
            revision: head.revision,
            oldest_revision: head.oldest_revision,
            status: head.status.into(),
            kept_runs: head.kept_runs,
            kept_marks: head.kept_marks,
            digest: DigestTwin {
                serial: *serial,
                catch_up_rate: *catch_up_rate,
                priority: *priority,
                retention_runs: retention.runs,
                retention_secs: retention.age.as_secs(),
                retention_nanos: retention.age.subsec_nanos(),
                own_limit: *own_limit,
                shared: shared
                    .as_ref()
                    .map(|shared| SharedTwin { key: shared.key.to_string(), limit: shared.limit }),
                pause_after: *pause_after,
                on_failure: on_failure.then_some(true),
                on_recovered: on_recovered.then_some(true),
            },
            progress: ProgressTwin::from(&head.progress),
            history_from: head.history_from.map(RunId::get),
            timing: timing.is_some().then(|| TimingField(timing.clone())),
            kind: kind
                .as_deref()
                .map(|kind| if kind == TaskType::SYSTEM { String::new() } else { kind.into() }),
        }
    }
}

impl TryFrom<HeadTwin> for Head {
    type Error = Unreadable;

    fn try_from(twin: HeadTwin) -> Result<Self, Unreadable> {
        let digest = twin.digest;
        let age = Duration::from_secs(digest.retention_secs)
            .saturating_add(Duration::from_nanos(digest.retention_nanos.into()));
        Ok(Self {
            revision: twin.revision,
            oldest_revision: twin.oldest_revision,
            status: twin.status.into(),
            digest: Digest {
                serial: digest.serial,
                own_limit: digest.own_limit,
                shared: digest
                    .shared
                    .map(|shared| SharedLimit { key: shared.key.into(), limit: shared.limit }),
                catch_up_rate: digest.catch_up_rate.max(1),
                priority: digest.priority,
                retention: Retention { runs: digest.retention_runs, age },
                pause_after: digest.pause_after,
                on_failure: digest.on_failure.unwrap_or_default(),
                on_recovered: digest.on_recovered.unwrap_or_default(),
                timing: twin.timing.and_then(|TimingField(timing)| timing),
                kind: twin.kind.map(|kind| kind_name(if kind.is_empty() { TaskType::SYSTEM } else { &kind })),
            },
            progress: twin.progress.try_into()?,
            kept_runs: twin.kept_runs,
            kept_marks: twin.kept_marks,
            history_from: twin.history_from.and_then(RunId::new),
        })
    }
}

impl From<&TaskProgress> for ProgressTwin {
    fn from(progress: &TaskProgress) -> Self {
        let nanos = |at: Option<Timestamp>| at.map(|at| Nanos::between(0, at));
        Self {
            checkpoint: nanos(progress.checkpoint),
            latest_scheduled: nanos(progress.latest_scheduled),
            latest_completed: nanos(progress.latest_completed),
            latest_success: nanos(progress.latest_success),
            latest_failure: nanos(progress.latest_failure),
            last_status: progress.last_status.map(Into::into),
            last_error: progress.last_error.clone(),
            last_finished_at: nanos(progress.last_finished_at),
            failures_in_row: (progress.failures_in_row > 0).then_some(progress.failures_in_row),
            paused_after: progress.paused_after,
            failing: (progress.failing != (progress.failures_in_row > 0)).then_some(progress.failing),
        }
    }
}

impl TryFrom<ProgressTwin> for TaskProgress {
    type Error = Unreadable;

    fn try_from(twin: ProgressTwin) -> Result<Self, Unreadable> {
        let at = |nanos: Option<Nanos>| nanos.map(|nanos| nanos.after(0)).transpose();
        Ok(Self {
            checkpoint: at(twin.checkpoint)?,
            latest_scheduled: at(twin.latest_scheduled)?,
            latest_completed: at(twin.latest_completed)?,
            latest_success: at(twin.latest_success)?,
            latest_failure: at(twin.latest_failure)?,
            last_status: twin.last_status.map(Into::into),
            last_error: twin.last_error,
            last_finished_at: at(twin.last_finished_at)?,
            failures_in_row: twin.failures_in_row.unwrap_or_default(),
            paused_after: twin.paused_after,
            // As the count tells, unless it is said; before there was the mark, only the count was there.
            failing: twin.failing.unwrap_or(twin.failures_in_row.is_some_and(|count| count > 0)),
        })
    }
}
