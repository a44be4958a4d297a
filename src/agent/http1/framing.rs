//! Where a body ends, seen from a place in it.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::chunked::{BadChunk, Chunked};
use crate::agent::relay_buffer::{MIN_PIPED_BYTES, RelayBuffer};

/// The rest of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing.
    None,
    /// This many bytes.
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

    /// Reads on through `bytes` and returns how many of them belong to the body.
    /// Calls `data` with each piece of the content.
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

    /// Reads more of the body into `buffer`; 0 bytes: the sender has ended its side.
    /// A long stretch of content is moved unseen: it is cleared at once, and this
    /// place moves behind it.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut RelayBuffer,
        from: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        let next = self.content();
        if next >= MIN_PIPED_BYTES
            && buffer.is_empty()
            && let Some(moved) = ready!(buffer.poll_fill_unseen(context, from, next))?
        {
            self.skip(moved as u64);
            return Poll::Ready(Ok(moved));
        }
        buffer.poll_fill(context, from)
    }

    /// How many of the next bytes are certainly content.
    fn content(&self) -> u64 {
        match self {
            Self::Sized(left) | Self::Chunked(Chunked::Data { left }) => *left,
            Self::UntilClose => u64::MAX,
            Self::None | Self::Chunked(_) => 0,
        }
    }

    /// Moves behind bytes of content that were moved unseen.
    fn skip(&mut self, bytes: u64) {
        match self {
            Self::Sized(left) => *left -= bytes,
            Self::Chunked(place) => place.skip(bytes),
            Self::None | Self::UntilClose => {}
        }
    }
}
