//! HTTP/1: every request head on a connection is judged. What nobody wants
//! crosses byte for byte, both ways; what a session wants goes to its preview
//! and back on the same connection; any doubt makes it a tunnel for good.
//!
//! Bytes are framed, never edited: this room finds out where messages end,
//! and no more. One exception, in what a preview is sent: see `upgrade`.

mod answer;
mod canary;
mod chunked;
mod framing;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head;
mod judgement;
mod preview;
mod relay;
mod undecided;
mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use super::capture;
use super::lane::Lane;
use super::mirror::Mirrors;
use super::shared::Shared;
use super::tunnel;
pub(super) use answer::{forget, header_safe, sentence};
pub(super) use head::Kind;
pub(super) use preview::is_quiet;
use preview::{Preview, Then};
use relay::{Outcome, Relay};
pub(super) use undecided::Undecided;

/// One client's connection and its application's, which belong together for good.
pub(super) struct Http1 {
    pub(super) state: std::sync::Arc<Shared>,
    /// Where the client had dialled.
    pub(super) original: SocketAddr,
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    /// What the client has sent already.
    pub(super) up: Lane,
}

// === impl Http1 ===

impl Http1 {
    /// Serves the connection to its end.
    pub(super) async fn serve(self) -> io::Result<()> {
        let Self { state, original, mut client, mut server, up } = self;
        let mirrors = Mirrors::default();
        let mut relay = Relay::new(state, original.port(), up, Rc::new(mirrors));
        let mut preview = Preview::default();
        let result = loop {
            match relay.run(&mut client, &mut server).await {
                Ok(Outcome::Tunnel) => {
                    let (up, down) = relay.end_as_tunnel();
                    break tunnel::carry(&mut client, &mut server, up, down).await;
                }
                Ok(Outcome::Over) => break Ok(()),
                Ok(Outcome::Redial) => match capture::dial(original).await {
                    Ok(another) => {
                        server = another;
                        relay.redialled();
                    }
                    Err(error) => break Err(error),
                },
                Ok(Outcome::Canary(canary)) => break canary.answer(&mut client, relay.lanes().0).await,
                Ok(Outcome::Matched(matched)) => {
                    match preview.exchange(matched, &mut client, relay.lanes().0).await {
                        Ok(Then::NextRequest) => relay.resume(),
                        Ok(Then::Over) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                }
                Err(error) => break Err(error),
            }
        };
        if result.is_err() {
            // Who has lost the other end learns it as if there were nobody in between.
            tunnel::reset(&client);
            tunnel::reset(&server);
        }
        result
    }
}
