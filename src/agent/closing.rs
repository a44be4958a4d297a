//! Ways to end a connection other than a plain close.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a client may go on sending after its last response. Closing at once
/// would reset the connection, and the client could lose the response.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// How many connections to the application [`give_back`] closes in a second without
/// a reset. The source port of each stays in use for a minute, and there are 17,303.
const MAX_CLOSED: u32 = 100;

thread_local! {
    /// The start of the current second, and how many were closed since.
    static CLOSED: Cell<Option<(Instant, u32)>> = const { Cell::new(None) };
}

/// Closes a connection to the application that it has answered, or that has carried
/// nothing. To the application it is that of a client that leaves. Beyond
/// [`MAX_CLOSED`] in a second it is a reset, after which the port is free at once.
pub(super) fn give_back(server: TcpStream) {
    let now = Instant::now();
    let (start, count) = match CLOSED.get() {
        Some((start, count)) if now < start + Duration::from_secs(1) => (start, count + 1),
        _ => (now, 1),
    };
    CLOSED.set(Some((start, count)));
    if count > MAX_CLOSED {
        reset(&server);
    }
    drop(server);
}

/// Makes the close of `stream` a reset: the peer of a connection that broke on
/// the other side sees the failure that it would have seen without the agent.
pub(super) fn reset(stream: &TcpStream) {
    // Fails only for a socket that is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Ends our side of `client`, then reads and discards what it still sends, for
/// at most [`LINGER`].
pub(super) async fn linger(client: &mut TcpStream) -> io::Result<()> {
    client.shutdown().await?;
    let mut sink = vec![0; 16 * 1024];
    let ended = async {
        while client.read(&mut sink).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(LINGER, ended).await.unwrap_or(Ok(()))
}
