//! A run on disk. What every run has comes first, in an array; what few have is a map at its end.

use super::code::{CancelCode, LostCode, MissedCode, StateCode, StopCode};
use super::event::EventLogTwin;
use super::outcome::{OutcomeTwin, json_bytes, json_value};
use super::time::{Nanos, moment_of};
use super::{Unreadable, from_cbor, to_cbor};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use punctual_model::overlap::SkipWhy;
use punctual_model::restart::RestartCount;
use punctual_model::state::Missed;
use punctual_model::{Life, Run, RunId, RunState, RunStateName, TaskId, TraceParent, Trigger};
use serde_json::Value;

/// The record of a run, without its id, which is its key.
pub(crate) fn encode_run(run: &Run) -> Vec<u8> {
    to_cbor(&RunTwin::from(run))
}

/// The run with this id.
pub(crate) fn decode_run(id: RunId, record: &[u8]) -> Result<Run, Unreadable> {
    from_cbor::<RunTwin>(record)?.run(id)
}

/// Each time is counted from the one before it: a run that starts and ends at once has small numbers only.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct RunTwin {
    #[n(0)]
    task: u64,
    #[n(1)]
    revision: u64,
    #[n(2)]
    trigger: TriggerCode,
    /// From the moment of the run's id.
    #[n(3)]
    scheduled_for: Nanos,
    /// From `scheduled_for`.
    #[n(4)]
    run_at: Nanos,
    /// From `run_at`.
    #[n(5)]
    accepted_at: Nanos,
    #[n(6)]
    state: StateCode,
    #[n(7)]
    attempt: u32,
    #[n(8)]
    epoch: u64,
    /// From `accepted_at`.
    #[n(9)]
    started_at: Option<Nanos>,
    /// From `started_at`, or `accepted_at` if it never started.
    #[n(10)]
    finished_at: Option<Nanos>,
    #[n(11)]
    outcome: Option<OutcomeTwin>,
    #[n(12)]
    rest: Option<RestTwin>,
}

/// What few runs have.
#[derive(Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
struct RestTwin {
    #[n(0)]
    state: Option<StateTwin>,
    /// The run that a retry repeats, a resume goes on with, or a follow-up is about.
    #[n(1)]
    of: Option<u64>,
    #[n(2)]
    forced: Option<bool>,
    #[n(3)]
    params: Option<ByteVec>,
    #[n(4)]
    idempotency_key: Option<String>,
    #[n(5)]
    restarts: Option<u32>,
    /// From `accepted_at`.
    #[n(6)]
    window_start: Option<Nanos>,
    #[n(7)]
    saved: Option<ByteVec>,
    #[n(8)]
    events: Option<EventLogTwin>,
    /// One that cannot be read is left out, never in the way.
    #[n(9)]
    local: Option<ByteVec>,
    /// The start of the first attempt, from `accepted_at`.
    #[n(10)]
    first_start: Option<Nanos>,
    /// Of the caller: trace, span and flags. One that cannot be read is none.
    #[n(11)]
    trace: Option<ByteVec>,
}

/// What some states carry.
#[derive(Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
struct StateTwin {
    /// Scheduled: at; Stopping: since; Missed: from. From `accepted_at`.
    #[n(0)]
    at: Option<Nanos>,
    #[n(1)]
    stop: Option<StopCode>,
    #[n(2)]
    cancel: Option<CancelCode>,
    #[n(3)]
    lost: Option<LostCode>,
    #[n(4)]
    missed: Option<MissedCode>,
    /// Skipped: the unfinished run.
    #[n(5)]
    unfinished: Option<u64>,
    /// Skipped: how many waited. Missed: how many there were.
    #[n(6)]
    count: Option<u64>,
    #[n(7)]
    at_least: Option<bool>,
    /// Missed: to. From `at`.
    #[n(8)]
    to: Option<Nanos>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
enum TriggerCode {
    #[n(0)]
    Schedule,
    #[n(1)]
    CatchUp,
    #[n(2)]
    Manual,
    #[n(3)]
    Retry,
    #[n(4)]
    Resume,
    #[n(5)]
    OnFailure,
    #[n(6)]
    OnRecovered,
}

impl From<&Run> for RunTwin {
    fn from(run: &Run) -> Self {
        let base = moment_of(run.id);
        let scheduled_for = run.scheduled_for.as_nanosecond();
        let accepted_at = run.accepted_at.as_nanosecond();
        let started = run.started_at.map_or(accepted_at, |at| at.as_nanosecond());
        let (trigger, of) = match run.trigger {
            Trigger::Schedule => (TriggerCode::Schedule, None),
            Trigger::CatchUp => (TriggerCode::CatchUp, None),
            Trigger::Manual => (TriggerCode::Manual, None),
            Trigger::Retry { of } => (TriggerCode::Retry, Some(of.get())),
            Trigger::Resume { of } => (TriggerCode::Resume, Some(of.get())),
            Trigger::OnFailure { of } => (TriggerCode::OnFailure, Some(of.get())),
            Trigger::OnRecovered { of } => (TriggerCode::OnRecovered, Some(of.get())),
        };
        let rest = RestTwin {
            state: StateTwin::of(&run.life.state, accepted_at),
            of,
            forced: run.forced.then_some(true),
            params: some_json(&run.params),
            idempotency_key: run.idempotency_key.clone(),
            restarts: (run.restarts.count > 0).then_some(run.restarts.count),
            window_start: run.restarts.window_start.map(|at| Nanos::between(accepted_at, at)),
            saved: some_json(&run.saved),
            events: EventLogTwin::of(&run.events, accepted_at),
            local: some_json(&run.local),
            first_start: run.restarts.first_start.map(|at| Nanos::between(accepted_at, at)),
            trace: run.trace.map(trace_bytes),
        };
        Self {
            task: run.task.get(),
            revision: run.revision,
            trigger,
            scheduled_for: Nanos::between(base, run.scheduled_for),
            run_at: Nanos::between(scheduled_for, run.run_at),
            accepted_at: Nanos::between(run.run_at.as_nanosecond(), run.accepted_at),
            state: run.life.state.name().into(),
            attempt: run.life.attempt,
            epoch: run.life.epoch,
            started_at: run.started_at.map(|at| Nanos::between(accepted_at, at)),
            finished_at: run.finished_at.map(|at| Nanos::between(started, at)),
            outcome: run.outcome.as_ref().map(OutcomeTwin::from),
            rest: (rest != RestTwin::default()).then_some(rest),
        }
    }
}

impl RunTwin {
    fn run(self, id: RunId) -> Result<Run, Unreadable> {
        let rest = self.rest.unwrap_or_default();
        let scheduled_for = self.scheduled_for.after(moment_of(id))?;
        let run_at = self.run_at.after(scheduled_for.as_nanosecond())?;
        let accepted_at = self.accepted_at.after(run_at.as_nanosecond())?;
        let accepted = accepted_at.as_nanosecond();
        let started_at = self.started_at.map(|at| at.after(accepted)).transpose()?;
        let started = started_at.map_or(accepted, |at| at.as_nanosecond());
        let of = || rest.of.and_then(RunId::new).ok_or_else(|| missing("the run it repeats"));
        Ok(Run {
            id,
            task: TaskId::new(self.task).ok_or_else(|| missing("the id of its task"))?,
            revision: self.revision,
            trigger: match self.trigger {
                TriggerCode::Schedule => Trigger::Schedule,
                TriggerCode::CatchUp => Trigger::CatchUp,
                TriggerCode::Manual => Trigger::Manual,
                TriggerCode::Retry => Trigger::Retry { of: of()? },
                TriggerCode::Resume => Trigger::Resume { of: of()? },
                TriggerCode::OnFailure => Trigger::OnFailure { of: of()? },
                TriggerCode::OnRecovered => Trigger::OnRecovered { of: of()? },
            },
            scheduled_for,
            run_at,
            accepted_at,
            life: Life {
                state: rest.state.unwrap_or_default().state(self.state.into(), accepted)?,
                attempt: self.attempt,
                epoch: self.epoch,
            },
            started_at,
            finished_at: self.finished_at.map(|at| at.after(started)).transpose()?,
            forced: rest.forced.unwrap_or_default(),
            params: value_or_null(rest.params)?,
            idempotency_key: rest.idempotency_key,
            trace: rest.trace.and_then(|bytes| trace_of(&bytes)),
            usage: None,
            restarts: RestartCount {
                count: rest.restarts.unwrap_or_default(),
                window_start: rest.window_start.map(|at| at.after(accepted)).transpose()?,
                first_start: rest.first_start.map(|at| at.after(accepted)).transpose()?,
            },
            outcome: self.outcome.map(TryInto::try_into).transpose()?,
            saved: value_or_null(rest.saved)?,
            local: value_or_null(rest.local).unwrap_or_default(),
            events: rest.events.map(|log| log.log(accepted)).transpose()?.unwrap_or_default(),
        })
    }
}

impl StateTwin {
    fn of(state: &RunState, accepted: i128) -> Option<Self> {
        let none = Self::default();
        Some(match *state {
            RunState::Scheduled { at } => Self { at: Some(Nanos::between(accepted, at)), ..none },
            RunState::Stopping { why, since } => {
                Self { at: Some(Nanos::between(accepted, since)), stop: Some(why.into()), ..none }
            }
            RunState::Canceled { why } => Self { cancel: Some(why.into()), ..none },
            RunState::Lost { why } => Self { lost: Some(why.into()), ..none },
            RunState::Skipped { why: SkipWhy::Unfinished(run) } => {
                Self { unfinished: Some(run.get()), ..none }
            }
            RunState::Skipped { why: SkipWhy::QueueFull { waiting } } => {
                Self { count: Some(waiting), ..none }
            }
            RunState::Missed(Missed { from, to, count, at_least, why }) => Self {
                at: Some(Nanos::between(accepted, from)),
                to: Some(Nanos::between(from.as_nanosecond(), to)),
                count: Some(count),
                at_least: at_least.then_some(true),
                missed: Some(why.into()),
                ..none
            },
            RunState::Queued
            | RunState::Starting
            | RunState::Running
            | RunState::Succeeded
            | RunState::Failed
            | RunState::TimedOut => return None,
        })
    }

    fn state(self, name: RunStateName, accepted: i128) -> Result<RunState, Unreadable> {
        let at = || self.at.ok_or_else(|| missing("the time of its state"))?.after(accepted);
        Ok(match name {
            RunStateName::Scheduled => RunState::Scheduled { at: at()? },
            RunStateName::Queued => RunState::Queued,
            RunStateName::Starting => RunState::Starting,
            RunStateName::Running => RunState::Running,
            RunStateName::Stopping => {
                let why = self.stop.ok_or_else(|| missing("why it is stopping"))?.into();
                RunState::Stopping { why, since: at()? }
            }
            RunStateName::Succeeded => RunState::Succeeded,
            RunStateName::Failed => RunState::Failed,
            RunStateName::TimedOut => RunState::TimedOut,
            RunStateName::Canceled => {
                RunState::Canceled { why: self.cancel.ok_or_else(|| missing("why it was canceled"))?.into() }
            }
            RunStateName::Lost => {
                RunState::Lost { why: self.lost.ok_or_else(|| missing("how it was lost"))?.into() }
            }
            RunStateName::Skipped => RunState::Skipped {
                why: match (self.unfinished.and_then(RunId::new), self.count) {
                    (Some(run), _) => SkipWhy::Unfinished(run),
                    (None, Some(waiting)) => SkipWhy::QueueFull { waiting },
                    (None, None) => return Err(missing("why it was skipped")),
                },
            },
            RunStateName::Missed => {
                let from = at()?;
                RunState::Missed(Missed {
                    from,
                    to: self.to.ok_or_else(|| missing("its last due"))?.after(from.as_nanosecond())?,
                    count: self.count.ok_or_else(|| missing("its count"))?,
                    at_least: self.at_least.unwrap_or_default(),
                    why: self.missed.ok_or_else(|| missing("why it was missed"))?.into(),
                })
            }
        })
    }
}

fn missing(what: &str) -> Unreadable {
    Unreadable::content(format!("it lacks {what}"))
}

fn trace_bytes(parent: TraceParent) -> ByteVec {
    let mut bytes = parent.trace.to_be_bytes().to_vec();
    bytes.extend(parent.span.to_be_bytes());
    bytes.push(parent.flags);
    bytes.into()
}

fn trace_of(bytes: &[u8]) -> Option<TraceParent> {
    let (trace, rest) = bytes.split_first_chunk()?;
    let (span, flags) = rest.split_first_chunk()?;
    let [flags] = *flags else { return None };
    Some(TraceParent { trace: u128::from_be_bytes(*trace), span: u64::from_be_bytes(*span), flags })
}

fn some_json(value: &Value) -> Option<ByteVec> {
    (!value.is_null()).then(|| json_bytes(value))
}

fn value_or_null(bytes: Option<ByteVec>) -> Result<Value, Unreadable> {
    bytes.map_or(Ok(Value::Null), |bytes| json_value(&bytes))
}
