//! Where a body ends, and how far along it is.

use super::chunked::{BadChunk, Chunked};

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    None,
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Everything until the sender closes.
    UntilClose,
}

// === impl Framing ===

impl Framing {
    /// A chunked body before its first chunk.
    pub(super) const CHUNKED: Self = Self::Chunked(Chunked::START);

    /// Whether nothing is left.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::None | Self::Sized(0) | Self::Chunked(Chunked::Done))
    }

    /// Reads on through `bytes`; how many of them belong to the body. `data`
    /// is given each piece of the content.
    pub(super) fn advance(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, BadChunk> {
        match self {
            Self::None => Ok(0),
            Self::Sized(left) => {
                let piece = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= piece as u64;
                data(&bytes[..piece]);
                Ok(piece)
            }
            Self::Chunked(place) => place.advance(bytes, data),
            Self::UntilClose => {
                data(bytes);
                Ok(bytes.len())
            }
        }
    }
}
