//! Ways to end a connection other than a plain close.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a client may go on sending after its last response. Closing at once
/// would reset the connection, and the client could lose the response.
pub(super) const LINGER: Duration = Duration::from_secs(2);

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
