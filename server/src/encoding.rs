//! Bytes as text: cursors, and output that is no text.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::num::NonZeroU64;

/// Bytes in standard base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes from standard base64; none if it is none.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A place in a listing. Opaque to clients: what is in it may change.
pub(crate) fn cursor(kind: char, id: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{kind}{id:x}"))
}

/// The id in a cursor of this kind; none if it is no such cursor.
pub(crate) fn read_cursor(kind: char, cursor: &str) -> Option<NonZeroU64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let id = std::str::from_utf8(&bytes).ok()?.strip_prefix(kind)?;
    u64::from_str_radix(id, 16).ok().and_then(NonZeroU64::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_its_kind_only() {
        let id = NonZeroU64::new(0x0ca8_3fa1_b000_0000);
        assert_eq!(read_cursor('t', &cursor('t', 0x0ca8_3fa1_b000_0000)), id);
        for wrong in [cursor('r', 7), String::new(), "?".to_owned(), "dA".to_owned(), "0".repeat(500)] {
            assert_eq!(read_cursor('t', &wrong), None, "{wrong}");
        }
    }
}
