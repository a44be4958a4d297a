//! One exchange under way between a client and a preview pod.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use crate::agent::closing::LINGER;
use crate::agent::http1::copy;
use crate::agent::http1::exchange::MatchedRequest;
use crate::agent::http1::framing::Framing;
use crate::agent::http1::head::{self, Next, Persistence};
use crate::agent::relay_buffer::RelayBuffer;

/// A matched request on its way to the preview, and the response on its way back.
pub(super) struct PreviewExchange<'a> {
    pub(super) request: MatchedRequest,
    /// The rest of the request's body.
    pub(super) upload: Framing,
    pub(super) client: &'a mut TcpStream,
    pub(super) preview: TcpStream,
    pub(super) up: &'a mut RelayBuffer,
    pub(super) down: RelayBuffer,
    /// The rest of the response's body, once its head has been read.
    download: Option<(Framing, Persistence)>,
    /// How many bytes of the response's head were looked at.
    scanned: usize,
    /// Whether the client has been sent a part of a response.
    has_answered: bool,
    /// Whether the end of the client's side is still to be passed on.
    watches_client: bool,
    /// Why the preview takes no more of the request. It may have sent a response
    /// before: that is still read to its end.
    refusal: Option<io::Error>,
}

/// How the preview's side of an exchange ended.
pub(super) enum PreviewEnd {
    /// With the whole response.
    Whole(Persistence),
    /// With a change of protocol.
    Tunnel,
    /// Without a response.
    Silent(io::Error),
}

/// Which side of an upload has failed.
enum UploadError {
    Client(io::Error),
    Preview(io::Error),
}

/// The client's request is broken or has ended early.
fn invalid() -> UploadError {
    UploadError::Client(io::ErrorKind::InvalidData.into())
}

// === impl PreviewExchange ===

impl<'a> PreviewExchange<'a> {
    /// Begins with a request whose head is cleared to leave.
    pub(super) fn new(
        request: MatchedRequest,
        client: &'a mut TcpStream,
        preview: TcpStream,
        up: &'a mut RelayBuffer,
    ) -> Self {
        Self {
            upload: request.head.framing,
            request,
            client,
            preview,
            up,
            down: RelayBuffer::default(),
            download: None,
            scanned: 0,
            has_answered: false,
            watches_client: true,
            refusal: None,
        }
    }

    /// Carries both directions until the response is whole, or the preview has
    /// ended or changed the protocol.
    ///
    /// # Errors
    ///
    /// The client is gone, or has half a response.
    pub(super) async fn run(&mut self) -> io::Result<PreviewEnd> {
        std::future::poll_fn(|context| {
            if let Poll::Ready(end) = self.poll_down(context) {
                return Poll::Ready(end);
            }
            if self.refusal.is_some() {
                return Poll::Pending;
            }
            match ready!(self.poll_up(context)) {
                // The client is gone.
                Err(UploadError::Client(error)) => Poll::Ready(Err(error)),
                // A preview that stops reading may have sent a response first.
                Err(UploadError::Preview(error)) => {
                    self.refusal = Some(error);
                    self.poll_down(context)
                }
                Ok(()) => Poll::Pending,
            }
        })
        .await
    }

    /// Sends the rest of the request after the response. Returns whether the
    /// preview took it all within [`LINGER`].
    pub(super) async fn finishes_upload(&mut self) -> bool {
        if self.upload.is_done() && self.up.is_drained() {
            return true;
        }
        let uploaded = std::future::poll_fn(|context| self.poll_upload(context));
        matches!(tokio::time::timeout(LINGER, uploaded).await, Ok(Ok(())))
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        ready!(self.poll_upload(context))?;
        self.poll_client_gone(context)
    }

    /// Sends the request. Ready once its last byte has left.
    fn poll_upload(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            if !self.upload.is_done() {
                let held = self.up.held();
                let length = self.upload.advance(held, |_| {}).map_err(|_| invalid())?;
                copy::body(&mut self.request.copies, &held[..length]);
                self.up.clear(length);
                if self.upload.is_done() {
                    self.request.copies.end(None);
                }
            }
            ready!(self.up.poll_drain(context, &mut self.preview)).map_err(UploadError::Preview)?;
            if self.upload.is_done() {
                return Poll::Ready(Ok(()));
            }
            let filled = if self.request.copies.are_wanted() {
                self.up.poll_fill(context, self.client)
            } else {
                self.upload.poll_fill(context, self.up, self.client)
            };
            if ready!(filled).map_err(UploadError::Client)? == 0 {
                // Half a request: the preview sees the failure that the application would see.
                return Poll::Ready(Err(invalid()));
            }
        }
    }

    /// Passes the end of the client's side on to the preview, while the response
    /// is awaited.
    fn poll_client_gone(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        if !self.watches_client || !self.up.is_empty() {
            return Poll::Pending;
        }
        let mut byte = [0];
        let peeked = ready!(self.client.poll_peek(context, &mut ReadBuf::new(&mut byte)));
        let peeked = peeked.map_err(UploadError::Client)?;
        self.watches_client = false;
        if peeked == 0 {
            ready!(Pin::new(&mut self.preview).poll_shutdown(context)).map_err(UploadError::Preview)?;
        }
        Poll::Pending
    }

    fn poll_down(&mut self, context: &mut Context<'_>) -> Poll<io::Result<PreviewEnd>> {
        loop {
            let end = self.read_response();
            ready!(self.down.poll_drain(context, self.client))?;
            if let Some(end) = end {
                return Poll::Ready(Ok(end));
            }
            let filled = match &mut self.download {
                Some((framing, _)) => framing.poll_fill(context, &mut self.down, &mut self.preview),
                None => self.down.poll_fill(context, &mut self.preview),
            };
            let read = match ready!(filled) {
                Err(error) if !self.has_answered => return Poll::Ready(Ok(PreviewEnd::Silent(error))),
                read => read?,
            };
            if read == 0 {
                let refusal = self.refusal.take();
                return Poll::Ready(match self.download {
                    None if !self.has_answered => {
                        Ok(PreviewEnd::Silent(refusal.unwrap_or_else(|| {
                            io::Error::other("it closed the connection without a response")
                        })))
                    }
                    // After a failed write, a reset connection reads as ended: the refusal tells.
                    Some((Framing::UntilClose, _)) if refusal.is_none() => {
                        Ok(PreviewEnd::Whole(Persistence::Closes))
                    }
                    _ => Err(refusal.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
                });
            }
        }
    }

    /// Clears heads that are whole and all of the body. Returns the end once it is reached.
    fn read_response(&mut self) -> Option<PreviewEnd> {
        loop {
            let held = self.down.held();
            if let Some((framing, persistence)) = &mut self.download {
                let Ok(length) = framing.advance(held, |_| {}) else {
                    // Broken chunks are passed on unread, until the preview closes.
                    self.download = Some((Framing::UntilClose, Persistence::Closes));
                    continue;
                };
                self.down.clear(length);
                return framing.is_done().then_some(PreviewEnd::Whole(*persistence));
            }
            if held.is_empty() {
                return None;
            }
            match head::response(held, &mut self.scanned, self.request.head.kind) {
                Ok(None) => return None,
                Err(_) => {
                    // Not HTTP/1 that we understand: the client may.
                    self.has_answered = true;
                    self.download = Some((Framing::UntilClose, Persistence::Closes));
                }
                Ok(Some(response)) => {
                    self.scanned = 0;
                    self.has_answered = true;
                    self.down.clear(response.length);
                    match response.next {
                        Next::AnotherHead => {}
                        Next::Tunnel => return Some(PreviewEnd::Tunnel),
                        Next::Body(framing) => self.download = Some((framing, response.persistence)),
                    }
                }
            }
        }
    }
}
