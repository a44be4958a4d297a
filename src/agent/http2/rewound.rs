//! A connection whose first bytes were already read, or already written.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::agent::closing::reset;

/// Gives back the bytes that were read before it reads on, and skips the bytes
/// that were written when they are written again.
#[derive(Debug)]
pub(super) struct Rewound {
    read: Bytes,
    /// How many bytes are still to be skipped.
    written: usize,
    /// Whether it ends with a reset.
    resets: Rc<Cell<bool>>,
    stream: TcpStream,
}

// === impl Rewound ===

impl Rewound {
    /// A connection of which these bytes were read.
    pub(super) fn after_reading(read: Bytes, stream: TcpStream) -> Self {
        Self { read, written: 0, resets: Rc::default(), stream }
    }

    /// A connection to which so many bytes were written.
    pub(super) fn after_writing(written: usize, stream: TcpStream) -> Self {
        Self { read: Bytes::new(), written, resets: Rc::default(), stream }
    }

    /// A flag that makes it end with a reset once it is dropped.
    pub(super) fn reset_flag(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.resets)
    }

    /// How many of `bytes` were already written.
    fn skip(&mut self, bytes: &[u8]) -> Option<usize> {
        let length = self.written.min(bytes.len());
        self.written -= length;
        Some(length).filter(|length| *length > 0)
    }
}

impl Drop for Rewound {
    fn drop(&mut self) {
        if self.resets.get() {
            reset(&self.stream);
        }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(length) = self.skip(bytes) {
            return Poll::Ready(Ok(length));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        if let Some(length) = first.and_then(|piece| self.skip(piece)) {
            return Poll::Ready(Ok(length));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
