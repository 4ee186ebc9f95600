//! Instants as small differences: most of a run's times lie within seconds of its id's.

use super::Unreadable;
use jiff::Timestamp;
use minicbor::data::Type;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use punctual_model::RunId;

/// A number of nanoseconds; as a CBOR integer where 64 bits hold it (292 years), else as 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nanos(pub(super) i128);

/// The moment that an id's upper bits tell (milliseconds since 2020, see the id generator). Only a base to
/// count from: any other id is as right, and merely longer to write.
pub(super) fn moment_of(id: RunId) -> i128 {
    const EPOCH_MILLIS: i128 = 1_577_836_800_000;
    const LOW_BITS: u32 = 22;
    (EPOCH_MILLIS + i128::from(id.get() >> LOW_BITS)) * 1_000_000
}

impl Nanos {
    /// From one moment to another.
    pub(super) fn between(from: i128, to: Timestamp) -> Self {
        Self(to.as_nanosecond() - from)
    }

    /// The moment this far from another.
    pub(super) fn after(self, from: i128) -> Result<Timestamp, Unreadable> {
        from.checked_add(self.0)
            .and_then(|nanos| Timestamp::from_nanosecond(nanos).ok())
            .ok_or_else(|| Unreadable::content("an instant is out of range"))
    }
}

impl<C> Encode<C> for Nanos {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        match i64::try_from(self.0) {
            Ok(nanos) => e.i64(nanos)?.ok(),
            Err(_) => e.bytes(&self.0.to_be_bytes())?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Nanos {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.datatype()? != Type::Bytes {
            return Ok(Self(i128::from(d.i64()?)));
        }
        let bytes = d.bytes()?.try_into().map_err(|_| decode::Error::message("a long time has 16 bytes"))?;
        Ok(Self(i128::from_be_bytes(bytes)))
    }
}
