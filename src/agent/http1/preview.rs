//! A matched request: to a pod of the session's preview, and the response back
//! to the client, both byte for byte.

mod exchange;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::answer;
use super::exchange::{AfterExchange, MatchedRequest};
use super::head::{Persistence, RequestKind};
use super::upgrade;
use crate::agent::closing::{linger, reset};
use crate::agent::preview_pods::{PreviewPods, Turns, is_quiet};
use crate::agent::relay_buffer::RelayBuffer;
use crate::agent::tunnel;
use exchange::{PreviewEnd, PreviewExchange};

/// The connection to a preview that belongs to one client connection. It is kept
/// between matched requests.
pub(super) struct PreviewConnection {
    idle: Option<(SocketAddr, TcpStream)>,
    /// Which preview pod the next new connection goes to first.
    turn: usize,
}

/// The turns of client connections.
static TURNS: Turns = Turns::new();

// === impl PreviewConnection ===

impl Default for PreviewConnection {
    fn default() -> Self {
        Self { idle: None, turn: TURNS.next() }
    }
}

impl PreviewConnection {
    /// Carries one exchange. The request's head is held in `up`.
    ///
    /// # Errors
    ///
    /// The client has half a response, and its connection must be reset.
    pub(super) async fn exchange(
        &mut self,
        mut request: MatchedRequest,
        client: &mut TcpStream,
        up: &mut RelayBuffer,
    ) -> io::Result<AfterExchange> {
        let (address, preview) = match self.connect(&request).await {
            Ok(connection) => connection,
            Err(why) => return answer::unavailable(&request, client, up, &why).await,
        };
        if request.head.kind != RequestKind::Plain {
            upgrade::refuse_h2c(&mut up.held_mut()[..request.head.length]);
        }
        up.clear(request.head.length);
        if request.head.framing.is_done() {
            request.copies.end(None);
        }
        let mut exchange = PreviewExchange::new(request, client, preview, up);
        match exchange.run().await {
            Ok(PreviewEnd::Whole(persistence)) => {
                // The rest of the request must reach the preview: no later exchange
                // may begin with it.
                let goes_on = persistence == Persistence::Stays && exchange.finishes_upload().await;
                let PreviewExchange { request, client, preview, down, .. } = exchange;
                if !goes_on || request.head.persistence == Persistence::Closes {
                    return linger(client).await.map(|()| AfterExchange::Close);
                }
                // Bytes behind the response would be taken for the next response.
                if down.is_empty() {
                    self.idle = Some((address, preview));
                }
                Ok(AfterExchange::NextRequest)
            }
            Ok(PreviewEnd::Tunnel) => {
                let PreviewExchange { client, mut preview, up, mut down, .. } = exchange;
                let carried = tunnel::carry(client, &mut preview, up, &mut down).await;
                if carried.is_err() {
                    reset(&preview);
                }
                carried.map(|()| AfterExchange::Close)
            }
            Ok(PreviewEnd::Silent(why)) => {
                let PreviewExchange { request, client, up, upload, .. } = exchange;
                answer::unavailable_in_body(&request, upload, client, up, &why).await
            }
            Err(error) => {
                reset(&exchange.preview);
                Err(error)
            }
        }
    }

    /// The idle connection if it is still good, else a new one. Nothing has been
    /// sent yet, so another pod may be tried.
    async fn connect(&mut self, request: &MatchedRequest) -> io::Result<(SocketAddr, TcpStream)> {
        let pods = PreviewPods::of(&request.session.rules, request.port);
        if let Some((address, stream)) = self.idle.take()
            && pods.contains(address)
            && is_quiet(&stream)
        {
            return Ok((address, stream));
        }
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        pods.connect(turn, async |stream| Ok(stream)).await
    }
}
