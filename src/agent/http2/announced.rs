//! Settings that the application announces and that the library does not tell.

use crate::agent::detect::SETTINGS_BYTES;

/// The length of one setting: its identifier and its value.
const ENTRY_BYTES: usize = 6;

/// How many bytes are looked at: a frame with more settings than are defined.
pub(super) const MAX_BYTES: usize = SETTINGS_BYTES + 16 * ENTRY_BYTES;

/// `SETTINGS_MAX_HEADER_LIST_SIZE`.
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Settings of an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    /// How many bytes a request's header list may have.
    pub(super) header_bytes: Option<u32>,
}

// === impl Announced ===

impl Announced {
    /// Reads a connection's first bytes, which begin with a settings frame. Settings
    /// that have not arrived with them count as not announced.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let Some((head, entries)) = bytes.split_at_checked(SETTINGS_BYTES) else { return Self::default() };
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let entries = &entries[..length.min(entries.len())];
        let mut values = entries.chunks_exact(ENTRY_BYTES).filter_map(|entry| {
            let (identifier, value) = entry.split_first_chunk()?;
            let value = u32::from_be_bytes(value.try_into().ok()?);
            (u16::from_be_bytes(*identifier) == MAX_HEADER_LIST_SIZE).then_some(value)
        });
        // The last of several values holds.
        Self { header_bytes: values.next_back() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_header_lists_is_read_from_the_first_frame() {
        let go = b"\0\0\x12\x04\0\0\0\0\0\0\x05\0\x10\0\0\0\x03\0\0\0\xfa\0\x06\0\x10\x01\x40\0\0\x04\x08";
        assert_eq!(Announced::read(go).header_bytes, Some(1_048_896));
        for length in 0..27 {
            assert_eq!(Announced::read(&go[..length]).header_bytes, None, "{length} bytes have arrived");
        }
        let other = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\xfa\0\x06\0\0\0\0";
        assert_eq!(Announced::read(other).header_bytes, None, "behind the frame");
    }
}
