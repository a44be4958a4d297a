//! Sends on a stream as its receiver makes room, and the ways in which a stream
//! stops early.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};

/// Why one direction of a stream stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The sender broke it off. The receiver has been told.
    BySender,
    /// The receiver wants no more, for this reason if it gave one.
    ByReceiver(Option<Reason>),
    /// The sender's connection broke. The receiver has not been told.
    Lost(io::ErrorKind),
}

/// Sends one piece, which may be empty, as the other side makes room.
pub(super) async fn send(mut bytes: Bytes, is_last: bool, to: &mut SendStream<Bytes>) -> Result<(), Stopped> {
    loop {
        if bytes.is_empty() {
            let ended = if is_last { to.send_data(bytes, true) } else { Ok(()) };
            return ended.map_err(|_| Stopped::ByReceiver(None));
        }
        let room = std::future::poll_fn(|context| match poll_reset(to, context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => poll_room(bytes.len(), to, context),
        });
        let room = room.await.ok_or(Stopped::ByReceiver(None))?;
        let piece = bytes.split_to(room.min(bytes.len()));
        let is_end = is_last && bytes.is_empty();
        to.send_data(piece, is_end).map_err(|_| Stopped::ByReceiver(None))?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
}

/// How many of so many bytes the receiver takes now; `None`: it is gone.
pub(super) fn poll_room(
    bytes: usize,
    to: &mut SendStream<Bytes>,
    context: &mut Context<'_>,
) -> Poll<Option<usize>> {
    to.reserve_capacity(bytes);
    match to.capacity() {
        0 => to.poll_capacity(context).map(|room| room.and_then(Result::ok).filter(|room| *room > 0)),
        room => Poll::Ready(Some(room)),
    }
}

/// Ready once the receiver has broken the stream off, with its reason.
pub(super) fn poll_reset(to: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<Option<Reason>> {
    to.poll_reset(context).map(Result::ok)
}

/// The reason with which a stream that broke off on one side is broken off on
/// the other.
pub(super) fn reason(error: &h2::Error) -> Reason {
    if error.is_go_away() && error.is_remote() {
        // The other side did not look at the stream before its GOAWAY: the sender
        // may send it again elsewhere.
        return Reason::REFUSED_STREAM;
    }
    error.reason().unwrap_or(Reason::INTERNAL_ERROR)
}
