//! Bytes from the network as text.

use std::borrow::Cow;

/// The bytes as text: as UTF-8 where they are valid UTF-8, else each byte as the
/// Latin-1 character that it was in the first versions of HTTP. Two different
/// inputs of the same kind never become the same text.
pub fn from_bytes(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}
