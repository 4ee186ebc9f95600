//! How records look on disk: one version byte, then CBOR with small numeric tags (tasks: JSON).
//!
//! Called by the embedded store only. The types here are twins of the model's, so that renaming a field
//! inside never changes a byte outside. Fields may be added (as options, with a new tag) and given up (their
//! tag is never used again); both directions are read. Decoding never panics, whatever the bytes are.

mod code;
mod event;
mod head;
mod meta;
mod outcome;
mod run;
mod task;
mod time;
mod timing;

pub(crate) use head::{decode_head, encode_head};
pub(crate) use meta::{decode_meta, encode_meta};
pub(crate) use run::{decode_run, encode_run};
pub(crate) use task::{decode_task, encode_task};

/// The layout that this build writes, in the first byte of each record.
const VERSION: u8 = 1;

/// Bytes that are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Nothing at all.
    #[error("the record is empty")]
    Empty,
    /// A layout of a later build, or damage.
    #[error("layout {0} is not known (this build reads {VERSION})")]
    Version(u8),
    /// The layout is right and the content is not.
    #[error("{0}")]
    Content(String),
}

impl Unreadable {
    fn content(why: impl std::fmt::Display) -> Self {
        Self::Content(why.to_string())
    }
}

/// The body of a record of this version.
fn body(record: &[u8]) -> Result<&[u8], Unreadable> {
    match record.split_first() {
        None => Err(Unreadable::Empty),
        Some((&VERSION, body)) => Ok(body),
        Some((&other, _)) => Err(Unreadable::Version(other)),
    }
}

fn to_cbor(twin: &impl minicbor::Encode<()>) -> Vec<u8> {
    // Most records are finished runs of some forty bytes.
    let mut record = Vec::with_capacity(64);
    record.push(VERSION);
    // A vector takes every byte, so the error type has no value.
    match minicbor::encode(twin, &mut record) {
        Ok(()) => record,
        Err(never) => unreachable!("writing to a vector: {never}"),
    }
}

fn from_cbor<'b, T: minicbor::Decode<'b, ()>>(record: &'b [u8]) -> Result<T, Unreadable> {
    let body = body(record)?;
    let mut decoder = minicbor::Decoder::new(body);
    let twin = decoder.decode().map_err(Unreadable::content)?;
    if decoder.position() != body.len() {
        return Err(Unreadable::content("bytes are left over at its end"));
    }
    Ok(twin)
}

#[cfg(test)]
mod tests;
