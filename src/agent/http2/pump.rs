//! One direction of one stream: data as room allows, then trailers, the end or
//! a reset, exactly as they came.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::task::yield_now;

use super::copy::Copies;
use super::waiting::Waiting;

/// How often others run before a stream is reset, so that what was said before
/// the reset leaves before it.
pub(super) const MAX_YIELDS: usize = 4;

/// Why a direction stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The sender broke it off; the receiver has been told.
    BySender,
    /// The receiver wants no more, for this reason if it gave one.
    ByReceiver(Option<Reason>),
    /// The sender's connection broke; the receiver has not been told.
    Lost(io::ErrorKind),
}

/// How the data of a stream ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// With the stream.
    Whole,
    /// Trailers follow.
    Trailers,
}

enum Step {
    /// The receiver takes so many bytes.
    Room(usize),
    /// The sender has said something; `None`: there is no more data.
    Came(Option<Result<Bytes, h2::Error>>),
}

/// Carries everything of `from` to `to`, behind what was read of it `ahead`,
/// and into the copies as it comes.
pub(super) async fn pump(
    ahead: Vec<Bytes>,
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    copies: &mut Copies,
) -> Result<(), Stopped> {
    let mut waiting = Waiting::default();
    for bytes in ahead {
        copies.body(&bytes);
        waiting.push(bytes);
    }
    let mut end = from.is_end_stream().then_some(End::Whole);
    if end.is_some() {
        copies.end(None);
    }
    loop {
        match end {
            Some(End::Whole) if waiting.is_empty() => {
                return to.send_data(Bytes::new(), true).map_err(|_| Stopped::ByReceiver(None));
            }
            Some(End::Trailers) if waiting.is_empty() => return finish(from, to, copies).await,
            _ => {}
        }
        match next(&waiting, end, from, to).await? {
            Step::Room(room) => {
                let piece = waiting.take(room);
                let length = piece.len();
                let is_last = end == Some(End::Whole) && waiting.is_empty();
                to.send_data(piece, is_last).map_err(|_| Stopped::ByReceiver(None))?;
                // Room for the sender only once the receiver had room.
                let _ = from.flow_control().release_capacity(length);
                if is_last {
                    return Ok(());
                }
            }
            Step::Came(Some(Ok(bytes))) => {
                copies.body(&bytes);
                waiting.push(bytes);
                if from.is_end_stream() {
                    copies.end(None);
                    end = Some(End::Whole);
                }
            }
            Step::Came(Some(Err(error))) => return broken(&error, waiting, from, to).await,
            Step::Came(None) => end = Some(End::Trailers),
        }
    }
}

/// What comes next: what waits leaves as soon as there is room for it, and what
/// comes meanwhile is read all the same. Left in the library, many small pieces
/// of one stream that nobody reads would be the end of its whole connection.
async fn next(
    waiting: &Waiting,
    end: Option<End>,
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
) -> Result<Step, Stopped> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(reason) = poll_reset(to, context) {
            return Poll::Ready(Err(Stopped::ByReceiver(reason)));
        }
        if !waiting.is_empty()
            && let Poll::Ready(room) = poll_room(waiting.bytes(), to, context)
        {
            let room = room.ok_or(Stopped::ByReceiver(None));
            return Poll::Ready(room.map(Step::Room));
        }
        if end.is_some() { Poll::Pending } else { from.poll_data(context).map(|came| Ok(Step::Came(came))) }
    })
    .await
}

/// Behind the data: trailers, or an end without any.
async fn finish(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    copies: &mut Copies,
) -> Result<(), Stopped> {
    match from.trailers().await {
        Ok(Some(trailers)) => {
            copies.end(Some(&trailers));
            to.send_trailers(trailers)
        }
        Ok(None) => {
            copies.end(None);
            to.send_data(Bytes::new(), true)
        }
        Err(error) => return broken(&error, Waiting::default(), from, to).await,
    }
    .map_err(|_| Stopped::ByReceiver(None))
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
fn poll_room(bytes: usize, to: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<Option<usize>> {
    to.reserve_capacity(bytes);
    match to.capacity() {
        0 => to.poll_capacity(context).map(|room| room.and_then(Result::ok).filter(|room| *room > 0)),
        room => Poll::Ready(Some(room)),
    }
}

/// Whether the receiver has broken it off, and why.
fn poll_reset(to: &mut SendStream<Bytes>, context: &mut Context<'_>) -> Poll<Option<Reason>> {
    to.poll_reset(context).map(Result::ok)
}

/// A stream that broke off on one side breaks off on the other, for the same
/// reason: behind what had come before, as far as there is room for it.
async fn broken(
    error: &h2::Error,
    mut waiting: Waiting,
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
) -> Result<(), Stopped> {
    if let Some(lost) = error.get_io() {
        return Err(Stopped::Lost(lost.kind()));
    }
    // A reset takes back what has not left yet; and a stream that has just begun
    // has room only once its head has left. Both are for other tasks to do.
    for _ in 0..MAX_YIELDS {
        yield_now().await;
        if waiting.is_empty() {
            break;
        }
        let room = std::future::poll_fn(|context| Poll::Ready(poll_room(waiting.bytes(), to, context)));
        if let Poll::Ready(Some(room)) = room.await {
            let piece = waiting.take(room);
            let _ = from.flow_control().release_capacity(piece.len());
            to.send_data(piece, false).map_err(|_| Stopped::ByReceiver(None))?;
        }
    }
    to.send_reset(reason(error));
    Err(Stopped::BySender)
}

/// Why a stream broke off, in words that mean the same to the other side.
pub(super) fn reason(error: &h2::Error) -> Reason {
    if error.is_go_away() && error.is_remote() {
        // It came behind the last one that the other side has looked at: whoever
        // sent it may send it again elsewhere, as after the GOAWAY itself.
        return Reason::REFUSED_STREAM;
    }
    error.reason().unwrap_or(Reason::INTERNAL_ERROR)
}
