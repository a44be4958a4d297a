//! One direction of one stream: data as the receiver makes room, then trailers,
//! the end or a reset, as the sender ended it.

use std::task::Poll;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::task::yield_now;

use super::copy::{self, Copies};
use super::send::{Stopped, poll_reset, poll_room, reason};
use super::waiting::Waiting;

/// How often other tasks run before a stream is reset, so that earlier data
/// leaves before the reset.
pub(super) const MAX_YIELDS: usize = 4;

/// How the data of a stream ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DataEnd {
    /// With the stream.
    Whole,
    /// Trailers follow.
    Trailers,
}

enum PumpStep {
    /// The receiver takes so many bytes.
    Room(usize),
    /// The sender has sent this; `None`: there is no more data.
    Received(Option<Result<Bytes, h2::Error>>),
}

/// Carries everything of `from` to `to` and into the copies. The pieces that were
/// read `ahead` come first.
pub(super) async fn pump(
    ahead: Vec<Bytes>,
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    copies: &mut Copies,
) -> Result<(), Stopped> {
    let mut waiting = Waiting::default();
    for bytes in ahead {
        copy::body(copies, &bytes);
        waiting.push(bytes);
    }
    let mut end = from.is_end_stream().then_some(DataEnd::Whole);
    if end.is_some() {
        copies.end(None);
    }
    loop {
        match end {
            Some(DataEnd::Whole) if waiting.is_empty() => {
                return to.send_data(Bytes::new(), true).map_err(|_| Stopped::ByReceiver(None));
            }
            Some(DataEnd::Trailers) if waiting.is_empty() => return finish(from, to, copies).await,
            _ => {}
        }
        match next(&waiting, end, from, to).await? {
            PumpStep::Room(room) => {
                let piece = waiting.take(room);
                let length = piece.len();
                let is_last = end == Some(DataEnd::Whole) && waiting.is_empty();
                to.send_data(piece, is_last).map_err(|_| Stopped::ByReceiver(None))?;
                // The sender gets room only once the receiver had room.
                let _ = from.flow_control().release_capacity(length);
                if is_last {
                    return Ok(());
                }
            }
            PumpStep::Received(Some(Ok(bytes))) => {
                copy::body(copies, &bytes);
                waiting.push(bytes);
                if from.is_end_stream() {
                    copies.end(None);
                    end = Some(DataEnd::Whole);
                }
            }
            PumpStep::Received(Some(Err(error))) => return broken(&error, waiting, from, to).await,
            PumpStep::Received(None) => end = Some(DataEnd::Trailers),
        }
    }
}

/// Waits for room or for data. Data is read even while other data waits for
/// room: left in the library, many small pieces of one unread stream would end
/// its whole connection.
async fn next(
    waiting: &Waiting,
    end: Option<DataEnd>,
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
) -> Result<PumpStep, Stopped> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(reason) = poll_reset(to, context) {
            return Poll::Ready(Err(Stopped::ByReceiver(reason)));
        }
        if !waiting.is_empty()
            && let Poll::Ready(room) = poll_room(waiting.bytes(), to, context)
        {
            let room = room.ok_or(Stopped::ByReceiver(None));
            return Poll::Ready(room.map(PumpStep::Room));
        }
        if end.is_some() {
            Poll::Pending
        } else {
            from.poll_data(context).map(|data| Ok(PumpStep::Received(data)))
        }
    })
    .await
}

/// Carries the trailers after the data, or the end without trailers.
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

/// Breaks off one side of a stream for the reason that the other gave, after the
/// data that came before, as far as there is room for it.
async fn broken(
    error: &h2::Error,
    mut waiting: Waiting,
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
) -> Result<(), Stopped> {
    if let Some(lost) = error.get_io() {
        return Err(Stopped::Lost(lost.kind()));
    }
    // A reset takes back data that has not left yet, and a stream that has just
    // begun has room only once its head has left: other tasks have to run first.
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
