//! The body of one request, of which a filter may want to see a part first.

use bytes::Bytes;
use h2::{RecvStream, SendStream};

use super::copy::Copies;
use super::pump::pump;
use super::send::Stopped;
use crate::traffic::filter::body::MAX_BODY_BYTES;

/// A request body on its way.
pub(super) struct Upload {
    /// The pieces that were read for a filter.
    ahead: Vec<Bytes>,
    rest: RecvStream,
    pub(super) copies: Copies,
}

// === impl Upload ===

impl Upload {
    /// A body of which nothing was read.
    pub(super) fn new(rest: RecvStream) -> Self {
        Self { ahead: Vec::new(), rest, copies: Copies::default() }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.has_ended()
    }

    /// Whether nothing more can be read.
    pub(super) fn has_ended(&self) -> bool {
        self.rest.is_end_stream()
    }

    /// Reads the whole body, if it is short and whole. The pieces are still sent
    /// later.
    pub(super) async fn read_ahead(&mut self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.rest.data().await {
            let bytes = bytes.ok()?;
            whole.extend_from_slice(&bytes);
            self.ahead.push(bytes);
            if whole.len() > MAX_BODY_BYTES {
                return None;
            }
        }
        Some(whole)
    }

    /// Sends the body and feeds the copies.
    pub(super) async fn send(&mut self, to: &mut SendStream<Bytes>) -> Result<(), Stopped> {
        pump(std::mem::take(&mut self.ahead), &mut self.rest, to, &mut self.copies).await
    }
}
