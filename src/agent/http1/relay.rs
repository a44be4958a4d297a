//! The verbatim relay: requests to the application and responses back, until a
//! session wants a request, or a byte can be read in two ways.

mod exchanges;
mod requests;
mod responses;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use crate::agent::relay_buffer::RelayBuffer;
use crate::agent::shared::Shared;
use crate::agent::tunnel::Held;
use exchanges::Exchanges;
pub(super) use requests::Taken;
use requests::{Requested, Requests};
use responses::{LastResponse, Responded, Responses};

/// Why the relay stops: its caller has to act.
pub(super) enum RelayOutcome {
    /// The connection is to be carried unread from here on.
    Tunnel(Held),
    /// The application has ended the connection between two exchanges, or the client
    /// has after one with the preview.
    Over,
    /// A request is for the application, whose connection was closed for an earlier
    /// request to the preview: a new connection is needed.
    Redial,
    /// The next request is not for the application. Every earlier response has left.
    Taken(Taken),
}

/// Relays between one client and the application.
pub(super) struct Relay {
    requests: Requests,
    responses: Responses,
    exchanges: Exchanges,
}

// === impl Relay ===

impl Relay {
    /// For connections to `port` of the application, of which `up` was read.
    pub(super) fn new(shared: Arc<Shared>, port: u16, up: RelayBuffer) -> Self {
        Self {
            requests: Requests::new(shared, port, up),
            responses: Responses::default(),
            exchanges: Exchanges::default(),
        }
    }

    /// The bytes on their way to the application.
    pub(super) fn up(&mut self) -> &mut RelayBuffer {
        &mut self.requests.up
    }

    /// Continues after an exchange with the preview.
    pub(super) fn resume(&mut self) {
        self.requests.resume();
        // What a closed connection may have left has no request.
        self.responses = Responses::default();
    }

    /// Gives up reading: the rest is carried unread. Returns the bytes on their
    /// way up and down.
    pub(super) fn end_as_tunnel(&mut self) -> (&mut RelayBuffer, &mut RelayBuffer) {
        self.requests.give_up_copies();
        (&mut self.requests.up, &mut self.responses.down)
    }

    /// Relays until there is something to settle elsewhere. After a request to the
    /// preview, the application has no connection.
    ///
    /// # Errors
    ///
    /// Either side's connection is broken.
    pub(super) async fn run(
        &mut self,
        client: &mut TcpStream,
        server: Option<&mut TcpStream>,
    ) -> io::Result<RelayOutcome> {
        let mut server = server;
        std::future::poll_fn(|context| self.poll(context, client, server.as_deref_mut())).await
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
        mut server: Option<&mut TcpStream>,
    ) -> Poll<io::Result<RelayOutcome>> {
        loop {
            // Responses first: they make room for later ones.
            let responded = self.responses.poll(context, client, server.as_deref_mut(), &mut self.exchanges);
            if let Poll::Ready(responded) = responded {
                match responded? {
                    Responded::Waits => {}
                    Responded::Tunnel(last) => return Poll::Ready(Ok(self.ended(last))),
                    Responded::Ended if self.is_between() && self.requests.is_idle() => {
                        return Poll::Ready(Ok(RelayOutcome::Over));
                    }
                    Responded::Ended => return Poll::Ready(Ok(self.ended(LastResponse::Unasked))),
                }
            }
            if self.is_between()
                && let Some(taken) = self.requests.take()
            {
                return Poll::Ready(Ok(RelayOutcome::Taken(taken)));
            }
            let requested = self.requests.poll(context, client, server.as_deref_mut(), &mut self.exchanges);
            return match requested {
                Poll::Ready(Ok(Requested::Tunnel)) => Poll::Ready(Ok(RelayOutcome::Tunnel(Held::Sent))),
                Poll::Ready(Ok(Requested::Over)) => Poll::Ready(Ok(RelayOutcome::Over)),
                Poll::Ready(Ok(Requested::Redial)) => Poll::Ready(Ok(RelayOutcome::Redial)),
                Poll::Ready(Ok(Requested::Waits)) if self.is_between() => continue,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(Requested::Waits)) | Poll::Pending => Poll::Pending,
            };
        }
    }

    /// How the relay goes on when no more responses are read.
    fn ended(&mut self, last: LastResponse) -> RelayOutcome {
        let is_first = self.exchanges.pending.is_empty() && !self.responses.is_in_body();
        if self.requests.is_taken() {
            // A client that was told of the close expects no further response. One whose
            // request has crossed the application's close gets the preview's.
            let is_served = last == LastResponse::Unasked && is_first && self.requests.up.is_drained();
            let taken = if is_served { self.requests.take() } else { None };
            return taken.map_or(RelayOutcome::Tunnel(Held::Dropped), RelayOutcome::Taken);
        }
        let held = match last {
            LastResponse::Closes | LastResponse::Unasked if !self.requests.is_in_body() => Held::Awaits,
            _ => Held::Sent,
        };
        // An application that sends HTTP/2 settings first makes every HTTP/1
        // connection a tunnel. The canary is answered all the same.
        let canary = is_first.then(|| self.requests.held_canary()).flatten();
        canary.map_or(RelayOutcome::Tunnel(held), |canary| RelayOutcome::Taken(Taken::Canary(canary)))
    }

    /// Whether every request so far has its whole response.
    fn is_between(&self) -> bool {
        self.exchanges.pending.is_empty()
            && !self.responses.is_in_body()
            && self.responses.down.is_empty()
            && self.requests.up.is_drained()
    }
}
