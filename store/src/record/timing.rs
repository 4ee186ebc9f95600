//! What decides the dues of a task, within the record of its head.
//!
//! It is there for the start, which needs it of every task; the definition says the same. So what this build does not
//! understand (a later one wrote it) is none: then the definition is asked, by its own rules.

use super::code::{GapCode, OverlapCode};
use super::time::Nanos;
use jiff::{SignedDuration, Timestamp};
use minicbor::data::Type;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use punctual_model::schedule::{Cron, Every, Schedule};
use punctual_model::{TaskSpec, Timing};
use std::sync::Arc;
use std::time::Duration;

/// A string of bytes that holds a record of its own, so that one that is not understood is passed over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimingField(pub(super) Option<Arc<Timing>>);

impl<C> Encode<C> for TimingField {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let Some(timing) = &self.0 else { return e.null()?.ok() };
        let mut inner = Vec::with_capacity(32);
        match minicbor::encode(TimingTwin::from(&**timing), &mut inner) {
            Ok(()) => e.bytes(&inner)?.ok(),
            // A vector takes every byte, so the error type has no value.
            Err(never) => unreachable!("writing to a vector: {never}"),
        }
    }
}

impl<'b, C> Decode<'b, C> for TimingField {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let twin: Result<TimingTwin<'_>, _> = minicbor::decode(d.bytes()?);
        Ok(Self(twin.ok().and_then(TimingTwin::timing).map(Arc::new)))
    }
}

/// What a task does not say is left out, as in its definition.
#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
struct TimingTwin<'a> {
    #[b(0)]
    schedules: Option<Vec<ScheduleTwin<'a>>>,
    #[b(1)]
    timezone: Option<&'a str>,
    #[n(2)]
    offset: Option<Span>,
    #[n(3)]
    jitter: Option<Span>,
    #[n(4)]
    splay: Option<Span>,
    #[n(5)]
    grace: Option<Span>,
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
enum ScheduleTwin<'a> {
    #[n(0)]
    Cron {
        #[b(0)]
        expr: &'a str,
        #[n(1)]
        gap: GapCode,
        #[n(2)]
        overlap: OverlapCode,
    },
    #[n(1)]
    Every {
        #[n(0)]
        interval: Span,
        #[n(1)]
        anchor: Option<Nanos>,
    },
    #[n(2)]
    At {
        #[n(0)]
        at: Nanos,
    },
}

impl<'a> From<&'a Timing> for TimingTwin<'a> {
    fn from(timing: &'a Timing) -> Self {
        let span = |span: Duration| (!span.is_zero()).then(|| Span::from(span));
        Self {
            schedules: (!timing.schedules.is_empty())
                .then(|| timing.schedules.iter().map(ScheduleTwin::from).collect()),
            timezone: timing.timezone.as_deref(),
            offset: (!timing.offset.is_zero()).then(|| Span(timing.offset.as_nanos())),
            jitter: span(timing.jitter),
            splay: span(timing.splay),
            grace: (timing.grace != TaskSpec::GRACE).then(|| Span::from(timing.grace)),
        }
    }
}

impl TimingTwin<'_> {
    fn timing(self) -> Option<Timing> {
        let span = |span: Option<Span>, other| span.map_or(Some(other), Span::duration);
        let schedules = self.schedules.unwrap_or_default();
        Some(Timing {
            schedules: schedules.into_iter().map(ScheduleTwin::schedule).collect::<Option<_>>()?,
            timezone: self.timezone.map(str::to_owned),
            offset: match self.offset {
                None => SignedDuration::ZERO,
                Some(Span(nanos)) => SignedDuration::try_from_nanos_i128(nanos)?,
            },
            jitter: span(self.jitter, Duration::ZERO)?,
            splay: span(self.splay, Duration::ZERO)?,
            grace: span(self.grace, TaskSpec::GRACE)?,
        })
    }
}

impl<'a> From<&'a Schedule> for ScheduleTwin<'a> {
    fn from(schedule: &'a Schedule) -> Self {
        let since_1970 = |at: Timestamp| Nanos::between(0, at);
        match schedule {
            Schedule::Cron(Cron { expr, dst_gap, dst_overlap }) => {
                Self::Cron { expr, gap: (*dst_gap).into(), overlap: (*dst_overlap).into() }
            }
            Schedule::Every(Every { interval, anchor }) => {
                Self::Every { interval: Span::from(*interval), anchor: anchor.map(since_1970) }
            }
            Schedule::At(at) => Self::At { at: since_1970(*at) },
        }
    }
}

impl ScheduleTwin<'_> {
    fn schedule(self) -> Option<Schedule> {
        Some(match self {
            Self::Cron { expr, gap, overlap } => Schedule::Cron(Cron {
                expr: expr.to_owned(),
                dst_gap: gap.into(),
                dst_overlap: overlap.into(),
            }),
            Self::Every { interval, anchor } => Schedule::Every(Every {
                interval: interval.duration()?,
                anchor: anchor.map(|anchor| anchor.after(0)).transpose().ok()?,
            }),
            Self::At { at } => Schedule::At(at.after(0).ok()?),
        })
    }
}

/// A length of time: whole seconds, which nearly all are, as a CBOR integer, else nanoseconds in 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span(i128);

const SECOND: i128 = 1_000_000_000;

impl<C> Encode<C> for Span {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        match i64::try_from(self.0 / SECOND) {
            Ok(seconds) if self.0 % SECOND == 0 => e.i64(seconds)?.ok(),
            _ => e.bytes(&self.0.to_be_bytes())?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Span {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.datatype()? != Type::Bytes {
            return Ok(Self(i128::from(d.i64()?) * SECOND));
        }
        let bytes = d.bytes()?.try_into().map_err(|_| decode::Error::message("a long span has 16 bytes"))?;
        Ok(Self(i128::from_be_bytes(bytes)))
    }
}

impl From<Duration> for Span {
    fn from(span: Duration) -> Self {
        // At most 2^64 seconds, which are less than 2^94 nanoseconds.
        Self(i128::try_from(span.as_nanos()).unwrap_or(i128::MAX))
    }
}

impl Span {
    fn duration(self) -> Option<Duration> {
        let seconds = u64::try_from(self.0.div_euclid(SECOND)).ok()?;
        Some(Duration::new(seconds, self.0.rem_euclid(SECOND) as u32))
    }
}
