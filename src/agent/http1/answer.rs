//! The 503 for a matched request whose preview cannot be reached.

use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::exchange::{AfterExchange, MatchedRequest};
use super::framing::Framing;
use super::head::Persistence;
use crate::agent::closing::linger;
use crate::agent::relay_buffer::RelayBuffer;
use crate::agent::unavailable::{KEY_HEADER, header_value, message};

/// Answers a request whose head is still held in `up`.
pub(super) async fn unavailable(
    request: &MatchedRequest,
    client: &mut TcpStream,
    up: &mut RelayBuffer,
    why: &io::Error,
) -> io::Result<AfterExchange> {
    up.discard(request.head.length);
    unavailable_in_body(request, request.head.framing, client, up, why).await
}

/// Answers a request of which everything but `rest` has left `up`.
pub(super) async fn unavailable_in_body(
    request: &MatchedRequest,
    mut rest: Framing,
    client: &mut TcpStream,
    up: &mut RelayBuffer,
    why: &io::Error,
) -> io::Result<AfterExchange> {
    request.session.kept.unavailable();
    // A body that has arrived already is skipped, and the connection kept.
    let skipped = rest.advance(up.held(), |_| {});
    let keeps = skipped.is_ok() && rest.is_done() && request.head.persistence == Persistence::Stays;
    if keeps && up.is_drained() {
        up.discard(skipped.unwrap_or(0));
    }
    let keeps = keeps && up.is_drained();
    let key = &request.session.rules.key;
    let body = message(key, why);
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\n{KEY_HEADER}: {}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\ncontent-length: {}\r\n{}\r\n",
        header_value(key),
        body.len(),
        if keeps { "" } else { "connection: close\r\n" },
    );
    if !request.is_head() {
        answer.push_str(&body);
    }
    client.write_all(answer.as_bytes()).await?;
    if keeps {
        return Ok(AfterExchange::NextRequest);
    }
    linger(client).await?;
    Ok(AfterExchange::Close)
}
