//! The one response of our own: a matched request whose preview cannot be had
//! is told so. Never the application instead: that would look like the preview.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::framing::Framing;
use super::head::{self, Kind, Next, Persistence};
use super::preview::Then;
use super::relay::Matched;
use crate::agent::lane::Lane;

/// How long a client may take to notice that nobody reads its body any more.
/// Closing at once would reset the connection, and the answer with it.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Answers a request whose head is still held in `up`.
pub(super) async fn unavailable(
    matched: &Matched,
    client: &mut TcpStream,
    up: &mut Lane,
    why: &io::Error,
) -> io::Result<Then> {
    up.discard(matched.request.length);
    unavailable_behind_head(matched, client, up, why).await
}

/// Answers a request of which everything but `request.framing` was taken.
pub(super) async fn unavailable_behind_head(
    matched: &Matched,
    client: &mut TcpStream,
    up: &mut Lane,
    why: &io::Error,
) -> io::Result<Then> {
    matched.session.kept.unavailable();
    let mut rest = matched.request.framing;
    // A body that has arrived already is skipped, and the connection kept.
    let skipped = rest.advance(up.held(), |_| {});
    let keeps = skipped.is_ok() && rest.is_done() && matched.request.persistence == Persistence::Stays;
    if keeps && up.is_drained() {
        up.discard(skipped.unwrap_or(0));
    }
    let keeps = keeps && up.is_drained();
    let body = sentence(&matched.session.rules.key, why);
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nx-mirrord-preview: {}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\ncontent-length: {}\r\n{}\r\n",
        header_safe(&matched.session.rules.key),
        body.len(),
        if keeps { "" } else { "connection: close\r\n" },
    );
    if !matched.is_head() {
        answer.push_str(&body);
    }
    client.write_all(answer.as_bytes()).await?;
    if keeps {
        return Ok(Then::NextRequest);
    }
    linger(client).await?;
    Ok(Then::Over)
}

/// What the client reads.
pub(in crate::agent) fn sentence(key: &str, why: &io::Error) -> String {
    format!("mirrord: the preview `{key}` cannot be reached: {why}\n")
}

/// The key as a header value: what is no plain character is percent-encoded,
/// as it is in baggage.
pub(in crate::agent) fn header_safe(key: &str) -> String {
    key.bytes().fold(String::new(), |mut safe, byte| {
        if byte.is_ascii_graphic() && byte != b'%' {
            safe.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(safe, "%{byte:02X}");
        }
        safe
    })
}

/// Ends our side, and reads what still comes for a while.
pub(super) async fn linger(client: &mut TcpStream) -> io::Result<()> {
    client.shutdown().await?;
    let mut sink = vec![0; 16 * 1024];
    let ended = async {
        while client.read(&mut sink).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(LINGER, ended).await.unwrap_or(Ok(()))
}

/// Reads a response and forgets it; whether the connection can be used again.
pub(in crate::agent) async fn forget(stream: &mut TcpStream, is_head: bool) -> io::Result<bool> {
    let kind = if is_head { Kind::Head } else { Kind::Plain };
    let (mut lane, mut scanned) = (Lane::default(), 0);
    let mut body: Option<(Framing, Persistence)> = None;
    loop {
        if let Some((framing, persistence)) = &mut body {
            let length = framing.advance(lane.held(), |_| {}).map_err(|_| io::ErrorKind::InvalidData)?;
            lane.discard(length);
            if framing.is_done() {
                return Ok(*persistence == Persistence::Stays && lane.is_empty());
            }
        } else if let Some(response) =
            head::response(lane.held(), &mut scanned, kind).map_err(|_| io::ErrorKind::InvalidData)?
        {
            scanned = 0;
            lane.discard(response.length);
            match response.next {
                Next::AnotherHead => {}
                Next::Tunnel => return Ok(false),
                Next::Body(framing) => body = Some((framing, response.persistence)),
            }
            continue;
        }
        if std::future::poll_fn(|context| lane.poll_fill(context, stream)).await? == 0 {
            return Ok(false);
        }
    }
}
