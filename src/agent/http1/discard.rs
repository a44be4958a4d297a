//! Reads the response to a copy and discards it.

use std::io;

use tokio::net::TcpStream;

use super::framing::Framing;
use super::head::{self, Next, Persistence, RequestKind};
use crate::agent::relay_buffer::RelayBuffer;

/// Reads one response to its end. Returns whether the connection can carry
/// another request.
///
/// # Errors
///
/// `InvalidData` for a response that is not certain; what reading fails with.
pub(super) async fn response(stream: &mut TcpStream, kind: RequestKind) -> io::Result<bool> {
    let (mut buffer, mut scanned) = (RelayBuffer::default(), 0);
    let mut body: Option<(Framing, Persistence)> = None;
    loop {
        if let Some((framing, persistence)) = &mut body {
            let length = framing.advance(buffer.held(), |_| {}).map_err(|_| io::ErrorKind::InvalidData)?;
            buffer.discard(length);
            if framing.is_done() {
                return Ok(*persistence == Persistence::Stays && buffer.is_empty());
            }
        } else if let Some(head) =
            head::response(buffer.held(), &mut scanned, kind).map_err(|_| io::ErrorKind::InvalidData)?
        {
            scanned = 0;
            buffer.discard(head.length);
            match head.next {
                Next::AnotherHead => {}
                Next::Tunnel => return Ok(false),
                Next::Body(framing) => body = Some((framing, head.persistence)),
            }
            continue;
        }
        if std::future::poll_fn(|context| buffer.poll_fill(context, stream)).await? == 0 {
            return Ok(false);
        }
    }
}
