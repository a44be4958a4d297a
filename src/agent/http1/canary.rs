//! The keeper's own request, answered here: nobody's handler runs. The
//! application has accepted a connection for it, as for every request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::answer::linger;
use super::preview::CONNECT_WAIT;
use crate::agent::lane::Lane;
use crate::agent::shared::Counters;
use crate::traffic::canary::Asked;

/// A canary whose head is still held in the lane.
pub(super) struct Canary {
    pub(super) asked: Asked<Arc<Counters>>,
    /// The application's port it was for.
    pub(super) port: u16,
    /// The length of its head.
    pub(super) length: usize,
}

// === impl Canary ===

impl Canary {
    /// Reaches for the side that was chosen, says what it found, and ends the
    /// connection.
    pub(super) async fn answer(self, client: &mut TcpStream, up: &mut Lane) -> io::Result<()> {
        up.discard(self.length);
        let rules = &self.asked.session.rules;
        let mut found = self.asked.found;
        if self.asked.reach {
            let port = rules.preview_port(self.port).unwrap_or(self.port);
            found.unreached = reach(&rules.preview, port).await.err();
        }
        let body = serde_json::to_string(&found)?;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write_all((head + &body).as_bytes()).await?;
        linger(client).await
    }
}

/// Whether every preview pod accepts connections on `port`.
async fn reach(preview: &[std::net::IpAddr], port: u16) -> Result<(), String> {
    if preview.is_empty() {
        return Err("no preview pod is ready".to_owned());
    }
    for address in preview {
        let address = SocketAddr::from((*address, port));
        match tokio::time::timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("{address}: {error}")),
            Err(_) => return Err(format!("{address}: no answer within {} s", CONNECT_WAIT.as_secs())),
        }
    }
    Ok(())
}
