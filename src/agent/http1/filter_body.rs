//! How much of a request body has been received for a filter that wants to see
//! it. The bytes stay with the caller.

use std::borrow::Cow;

use super::chunked::BadChunk;
use super::framing::Framing;
use crate::traffic::filter::body::MAX_BODY_BYTES;

/// How many bytes of a chunked body are kept for a filter: chunk extensions may
/// be long, and are not content.
const MAX_CHUNKED_BYTES: usize = 2 * MAX_BODY_BYTES;

/// A place in a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct FilterBody {
    /// Where the body ends, seen from its beginning.
    framing: Framing,
    /// Where it ends, seen from here.
    rest: Framing,
    /// Bytes up to here.
    received: usize,
    /// How many of these are content, rather than chunk sizes and the like.
    content: usize,
}

// === impl FilterBody ===

impl FilterBody {
    /// The beginning of a body.
    pub(super) const fn new(framing: Framing) -> Self {
        Self { framing, rest: framing, received: 0, content: 0 }
    }

    /// Reads on through `bytes`, as far as they belong to the body.
    ///
    /// # Errors
    ///
    /// Where the body ends is not certain.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(), BadChunk> {
        let content = &mut self.content;
        self.received += self.rest.advance(bytes, |piece| *content += piece.len())?;
        Ok(())
    }

    /// How many bytes of the body have been read.
    pub(super) const fn received(&self) -> usize {
        self.received
    }

    /// Whether the whole body has been read.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_done()
    }

    /// Whether the body is longer than filters see: as declared, in its content,
    /// or with everything around its chunks.
    pub(super) const fn is_too_long(&self) -> bool {
        matches!(self.framing, Framing::Sized(length) if length > MAX_BODY_BYTES as u64)
            || self.content > MAX_BODY_BYTES
            || (matches!(self.framing, Framing::Chunked(_)) && self.received > MAX_CHUNKED_BYTES)
    }

    /// The content in `bytes`, which hold the body from its beginning to here.
    pub(super) fn content<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let bytes = &bytes[..self.received];
        if !matches!(self.framing, Framing::Chunked(_)) {
            return Cow::Borrowed(bytes);
        }
        let mut content = Vec::with_capacity(self.content);
        let mut framing = self.framing;
        framing
            .advance(bytes, |piece| content.extend_from_slice(piece))
            .expect("`advance` has read these bytes before");
        Cow::Owned(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_chunked_body_is_put_together_and_the_next_request_is_left_alone() {
        let bytes = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET /";
        let mut body = FilterBody::new(Framing::CHUNKED);
        for byte in bytes {
            assert!(body.is_whole() || !body.is_too_long());
            body.advance(&[*byte]).unwrap();
        }
        assert!(body.is_whole());
        assert_eq!((body.received(), &*body.content(bytes)), (bytes.len() - 5, &b"hello!"[..]));
    }

    #[test]
    fn a_body_is_too_long_as_declared_or_as_received() {
        let is_too_long = |framing, bytes: &[u8]| {
            let mut body = FilterBody::new(framing);
            body.advance(bytes).unwrap();
            body.is_too_long()
        };
        assert!(!is_too_long(Framing::Sized(MAX_BODY_BYTES as u64), b""));
        assert!(is_too_long(Framing::Sized(MAX_BODY_BYTES as u64 + 1), b""));
        let chunk = format!("{:x}\r\n{}\r\n", MAX_BODY_BYTES, "x".repeat(MAX_BODY_BYTES));
        assert!(!is_too_long(Framing::CHUNKED, chunk.as_bytes()));
        assert!(is_too_long(Framing::CHUNKED, format!("{chunk}1\r\nx").as_bytes()));
        let extension = format!("1;{}\r\nx\r\n", "y".repeat(16_000));
        assert!(is_too_long(Framing::CHUNKED, extension.repeat(9).as_bytes()));
    }
}
