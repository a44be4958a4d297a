//! Bytes both ways, unread: for everything that is no HTTP, is encrypted, was
//! upgraded, or was in any way doubtful.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use super::lane::Lane;

/// Carries everything between `client` and `server` until both have ended
/// their sides. What the lanes already hold goes first. Half-closed
/// connections stay half open for as long as their ends like.
pub(super) async fn carry(
    client: &mut TcpStream,
    server: &mut TcpStream,
    up: &mut Lane,
    down: &mut Lane,
) -> io::Result<()> {
    let (mut up_shut, mut down_shut) = (false, false);
    std::future::poll_fn(|context| {
        let one = poll_one_way(context, client, server, up, &mut up_shut)?;
        let other = poll_one_way(context, server, client, down, &mut down_shut)?;
        if one.is_ready() && other.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

fn poll_one_way(
    context: &mut Context<'_>,
    from: &mut TcpStream,
    to: &mut TcpStream,
    lane: &mut Lane,
    shut: &mut bool,
) -> Poll<io::Result<()>> {
    loop {
        if *shut {
            return Poll::Ready(Ok(()));
        }
        lane.clear_all();
        ready!(lane.poll_drain(context, to))?;
        if lane.is_ended() {
            ready!(Pin::new(&mut *to).poll_shutdown(context))?;
            *shut = true;
        } else if !lane.is_bulk() || ready!(lane.poll_fill_unseen(context, from, u64::MAX))?.is_none() {
            ready!(lane.poll_fill(context, from))?;
        }
    }
}

/// Ends a connection the way its other half ended: with a reset.
pub(super) fn reset(stream: &TcpStream) {
    // Fails only for a socket that is gone already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}
