//! HTTP/1: the head of every request on a connection is judged. A request that
//! no session wants is relayed byte for byte, and so is its response; a request
//! that a session wants goes to its preview, and the response comes back on the
//! same connection. When a byte can be read in two ways, the connection becomes
//! a tunnel for good.
//!
//! This module finds out where messages end and never edits them. There is one
//! exception, in requests to a preview: see `upgrade`.

mod answer;
mod canary;
mod chunked;
mod copy;
mod discard;
mod exchange;
mod filter_body;
mod framing;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head;
mod judgement;
mod preview;
mod relay;
mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::closing::{give_back, reset};
use super::connection;
use super::relay_buffer::RelayBuffer;
use super::shared::Shared;
use super::tunnel;
use exchange::AfterExchange;
use preview::PreviewConnection;
use relay::{Relay, RelayOutcome, Taken};

/// One client's connection and its connection to the application. Both stay
/// together until a request goes elsewhere. Then the application's is closed at
/// once: a server that serves one connection at a time would wait on it for its
/// next request, and serve nobody else meanwhile. The next request to the
/// application gets a new connection.
pub(super) struct Http1 {
    pub(super) shared: Arc<Shared>,
    /// The address that the client dialled.
    pub(super) original: SocketAddr,
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    /// The bytes that the client has sent already.
    pub(super) up: RelayBuffer,
}

// === impl Http1 ===

impl Http1 {
    /// Serves the connection to its end.
    ///
    /// # Errors
    ///
    /// The failure of either side. It has been passed on to the other.
    pub(super) async fn serve(self) -> io::Result<()> {
        let Self { shared, original, mut client, server, up } = self;
        let mut server = Some(server);
        // While `server` is `None`.
        let mut preview_only = None;
        let mut relay = Relay::new(Arc::clone(&shared), original.port(), up);
        let mut preview = PreviewConnection::default();
        let result = loop {
            match relay.run(&mut client, server.as_mut()).await {
                Ok(RelayOutcome::Tunnel(held)) => {
                    let server = server.as_mut().expect("a relay without the application dials it first");
                    let (up, down) = relay.end_as_tunnel();
                    break tunnel::carry_held(&mut client, server, up, down, held).await;
                }
                Ok(RelayOutcome::Over) => break Ok(()),
                Ok(RelayOutcome::Redial) => match connection::dial(&shared, original).await {
                    Ok(another) => {
                        server = Some(another);
                        preview_only = None;
                    }
                    Err(error) => break Err(error),
                },
                Ok(RelayOutcome::Taken(Taken::Canary(canary))) => {
                    if let Some(server) = server.take() {
                        give_back(server);
                    }
                    break canary.answer(&mut client, relay.up()).await;
                }
                Ok(RelayOutcome::Taken(Taken::Matched(request))) => {
                    if let Some(server) = server.take() {
                        give_back(server);
                        preview_only = Some(shared.connections.preview_only());
                    }
                    match preview.exchange(request, &mut client, relay.up()).await {
                        Ok(AfterExchange::NextRequest) => relay.resume(),
                        Ok(AfterExchange::Close) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
                Err(error) => break Err(error),
            }
        };
        drop(preview_only);
        if result.is_err() {
            // Reset both ends, so that each sees the failure it would have seen without the agent.
            reset(&client);
            server.as_ref().inspect(|server| reset(server));
        }
        result
    }
}
