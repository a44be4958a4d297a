//! A connection of which something was read already, or said.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::agent::tunnel;

/// Gives back what was read before it reads on, and leaves out what was said
/// when it is said again.
#[derive(Debug)]
pub(super) struct Rewound {
    read: Bytes,
    said: usize,
    /// Whether it is to end with a reset.
    is_broken: Rc<Cell<bool>>,
    stream: TcpStream,
}

// === impl Rewound ===

impl Rewound {
    /// One of which this was read.
    pub(super) fn read(read: Bytes, stream: TcpStream) -> Self {
        Self { read, said: 0, is_broken: Rc::default(), stream }
    }

    /// One on which the first so many bytes were said.
    pub(super) fn said(said: usize, stream: TcpStream) -> Self {
        Self { read: Bytes::new(), said, is_broken: Rc::default(), stream }
    }

    /// What makes it end with a reset, out of the hands of whoever has it.
    pub(super) fn breaker(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.is_broken)
    }

    /// How much of `bytes` was said already.
    fn leave_out(&mut self, bytes: &[u8]) -> Option<usize> {
        let length = self.said.min(bytes.len());
        self.said -= length;
        Some(length).filter(|length| *length > 0)
    }
}

impl Drop for Rewound {
    fn drop(&mut self) {
        if self.is_broken.get() {
            tunnel::reset(&self.stream);
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
        if let Some(length) = self.leave_out(bytes) {
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
        if let Some(length) = first.and_then(|piece| self.leave_out(piece)) {
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
