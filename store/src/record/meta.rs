//! The record about the store itself, on disk.

use super::{Unreadable, from_cbor, to_cbor};
use crate::ledger::Meta;
use minicbor::{Decode, Encode};

/// The record.
pub(crate) fn encode_meta(meta: Meta) -> Vec<u8> {
    to_cbor(&MetaTwin { epoch: meta.epoch, id_floor: meta.id_floor })
}

/// The same, read again.
pub(crate) fn decode_meta(record: &[u8]) -> Result<Meta, Unreadable> {
    let MetaTwin { epoch, id_floor } = from_cbor(record)?;
    Ok(Meta { epoch, id_floor })
}

#[derive(Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
struct MetaTwin {
    #[n(0)]
    epoch: u64,
    #[n(1)]
    id_floor: u64,
}
