//! The end of an attempt on disk.

use super::Unreadable;
use super::code::FailureCode;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use punctual_model::outcome::OutputSummary;
use punctual_model::{Exit, Failure, Outcome, Usage};
use serde_json::Value;
use std::time::Duration;

/// An end without anything to tell is one byte.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
pub(super) struct OutcomeTwin {
    #[n(0)]
    exit: Option<ExitTwin>,
    #[n(1)]
    error: Option<FailureTwin>,
    #[n(2)]
    result: Option<ByteVec>,
    #[n(3)]
    output: Option<OutputTwin>,
    #[n(4)]
    usage: Option<UsageTwin>,
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(flat)]
pub(super) enum ExitTwin {
    #[n(0)]
    Code(#[n(0)] i32),
    #[n(1)]
    Signal(#[n(0)] i32),
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct FailureTwin {
    #[n(0)]
    kind: FailureCode,
    #[n(1)]
    message: String,
    #[n(2)]
    recoverable: Option<bool>,
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct OutputTwin {
    #[n(0)]
    bytes: u64,
    #[n(1)]
    dropped: Option<u64>,
}

/// Times in microseconds: the kernel counts no finer.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct UsageTwin {
    #[n(0)]
    user: u64,
    #[n(1)]
    system: u64,
    #[n(2)]
    memory: u64,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl From<Exit> for ExitTwin {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Code(code),
            Exit::Signal(signal) => Self::Signal(signal),
        }
    }
}

impl From<ExitTwin> for Exit {
    fn from(exit: ExitTwin) -> Self {
        match exit {
            ExitTwin::Code(code) => Self::Code(code),
            ExitTwin::Signal(signal) => Self::Signal(signal),
        }
    }
}

impl From<&Outcome> for OutcomeTwin {
    fn from(outcome: &Outcome) -> Self {
        Self {
            exit: outcome.exit.map(ExitTwin::from),
            error: outcome.error.as_ref().map(|failure| FailureTwin {
                kind: failure.kind.into(),
                message: failure.message.clone(),
                recoverable: failure.recoverable.then_some(true),
            }),
            result: outcome.result.as_ref().map(json_bytes),
            output: outcome.output.map(|output| OutputTwin {
                bytes: output.bytes,
                dropped: (output.dropped > 0).then_some(output.dropped),
            }),
            usage: outcome.usage.map(|Usage { user, system, memory }| UsageTwin {
                user: micros(user),
                system: micros(system),
                memory,
            }),
        }
    }
}

impl TryFrom<OutcomeTwin> for Outcome {
    type Error = Unreadable;

    fn try_from(twin: OutcomeTwin) -> Result<Self, Unreadable> {
        Ok(Self {
            exit: twin.exit.map(Exit::from),
            error: twin.error.map(|failure| Failure {
                kind: failure.kind.into(),
                message: failure.message,
                recoverable: failure.recoverable.unwrap_or_default(),
            }),
            result: twin.result.map(|bytes| json_value(&bytes)).transpose()?,
            output: twin.output.map(|output| OutputSummary {
                bytes: output.bytes,
                dropped: output.dropped.unwrap_or_default(),
            }),
            usage: twin.usage.map(|UsageTwin { user, system, memory }| Usage {
                user: Duration::from_micros(user),
                system: Duration::from_micros(system),
                memory,
            }),
        })
    }
}

/// A JSON value as its own text.
pub(super) fn json_bytes(value: &Value) -> ByteVec {
    value.to_string().into_bytes().into()
}

/// The value of that text.
pub(super) fn json_value(bytes: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(bytes).map_err(Unreadable::content)
}
