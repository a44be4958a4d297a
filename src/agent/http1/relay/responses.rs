//! The response half of a relay.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::exchanges::Exchanges;
use crate::agent::http1::framing::Framing;
use crate::agent::http1::head::{self, Doubt, Next, Persistence};
use crate::agent::relay_buffer::RelayBuffer;

/// From the application to the client.
#[derive(Default)]
pub(super) struct Responses {
    pub(super) down: RelayBuffer,
    /// The rest of the body that is under way.
    body: Option<(Framing, Persistence)>,
    /// How many bytes of the next head were looked at.
    scanned: usize,
    /// Why no more heads are read, once that is so: the connection becomes a tunnel
    /// when the cleared bytes have left.
    last: Option<LastResponse>,
}

/// Why no more heads are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastResponse {
    /// The protocol changes, or a byte can be read in two ways.
    Unread,
    /// The application has announced that it closes the connection.
    Closes,
    /// The application speaks although it was not asked, as before it closes an idle
    /// connection.
    Unasked,
}

/// How the response half goes on.
pub(super) enum Responded {
    /// Nothing to do until the next request.
    Waits,
    /// The rest is to be carried unread.
    Tunnel(LastResponse),
    /// The application has ended its side.
    Ended,
}

/// Whether more bytes are needed to go on.
enum ResponseRead {
    NeedsMore,
    Last(LastResponse),
}

// === impl Responses ===

impl Responses {
    /// Whether a response's head has left and its body has not.
    pub(super) const fn is_in_body(&self) -> bool {
        self.body.is_some()
    }

    /// Carries the responses that have arrived.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
        server: Option<&mut TcpStream>,
        exchanges: &mut Exchanges,
    ) -> Poll<io::Result<Responded>> {
        let Some(server) = server else { return Poll::Ready(Ok(Responded::Waits)) };
        loop {
            let read = self.read(exchanges).unwrap_or(ResponseRead::Last(LastResponse::Unread));
            self.last = match read {
                ResponseRead::NeedsMore => None,
                ResponseRead::Last(last) => Some(last),
            };
            ready!(self.down.poll_drain(context, client))?;
            if let Some(last) = self.last {
                return Poll::Ready(Ok(Responded::Tunnel(last)));
            }
            let filled = match &mut self.body {
                Some((framing, _)) => framing.poll_fill(context, &mut self.down, server),
                None => self.down.poll_fill(context, server),
            };
            if ready!(filled)? == 0 {
                return Poll::Ready(Ok(Responded::Ended));
            }
        }
    }

    /// Clears heads that are whole and all that is held of bodies.
    fn read(&mut self, exchanges: &mut Exchanges) -> Result<ResponseRead, Doubt> {
        loop {
            if let Some(last) = self.last {
                return Ok(ResponseRead::Last(last));
            }
            if let Some((framing, persistence)) = &mut self.body {
                let length = framing.advance(self.down.held(), |_| {}).map_err(|_| Doubt)?;
                self.down.clear(length);
                if !framing.is_done() {
                    return Ok(ResponseRead::NeedsMore);
                }
                let persistence = *persistence;
                self.body = None;
                exchanges.pending.pop_front();
                if persistence == Persistence::Closes {
                    // The application has announced the end: more bytes are not read.
                    return Ok(ResponseRead::Last(LastResponse::Closes));
                }
            }
            if self.down.held().is_empty() {
                return Ok(ResponseRead::NeedsMore);
            }
            let Some(&kind) = exchanges.pending.front() else {
                return Ok(ResponseRead::Last(LastResponse::Unasked));
            };
            let Some(head) = head::response(self.down.held(), &mut self.scanned, kind)? else {
                return Ok(ResponseRead::NeedsMore);
            };
            self.scanned = 0;
            self.down.clear(head.length);
            match head.next {
                Next::AnotherHead => {}
                Next::Tunnel => return Ok(ResponseRead::Last(LastResponse::Unread)),
                Next::Body(framing) => self.body = Some((framing, head.persistence)),
            }
        }
    }
}
