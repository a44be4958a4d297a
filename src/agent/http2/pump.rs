//! One direction of one stream: data as room allows, then trailers, the end or
//! a reset, exactly as they came.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};

use super::copy::Copies;

/// Why a direction stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The sender broke it off; the receiver has been told.
    BySender,
    /// The receiver wants no more.
    ByReceiver,
}

/// Carries everything of `from` to `to`, and into the copies as it comes.
pub(super) async fn pump(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
    copies: &mut Copies,
) -> Result<(), Stopped> {
    if from.is_end_stream() {
        copies.end(None);
        return to.send_data(Bytes::new(), true).map_err(|_| Stopped::ByReceiver);
    }
    loop {
        match next(from, to).await? {
            Some(Ok(bytes)) => {
                let length = bytes.len();
                let is_last = from.is_end_stream();
                copies.body(&bytes);
                if is_last {
                    copies.end(None);
                }
                send(bytes, is_last, to).await?;
                // Room for the sender only once the receiver had room.
                let _ = from.flow_control().release_capacity(length);
                if is_last {
                    return Ok(());
                }
            }
            Some(Err(error)) => return broken(&error, to),
            None => {
                return match from.trailers().await {
                    Ok(Some(trailers)) => {
                        copies.end(Some(&trailers));
                        to.send_trailers(trailers)
                    }
                    Ok(None) => {
                        copies.end(None);
                        to.send_data(Bytes::new(), true)
                    }
                    Err(error) => return broken(&error, to),
                }
                .map_err(|_| Stopped::ByReceiver);
            }
        }
    }
}

/// Sends one piece, which may be empty, as the other side makes room.
pub(super) async fn send(mut bytes: Bytes, is_last: bool, to: &mut SendStream<Bytes>) -> Result<(), Stopped> {
    loop {
        if bytes.is_empty() {
            return if is_last { to.send_data(bytes, true).map_err(|_| Stopped::ByReceiver) } else { Ok(()) };
        }
        to.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|context| {
            if is_reset(to, context) {
                return Poll::Ready(0);
            }
            match to.capacity() {
                0 => to.poll_capacity(context).map(|room| room.and_then(Result::ok).unwrap_or(0)),
                room => Poll::Ready(room),
            }
        })
        .await;
        if room == 0 {
            return Err(Stopped::ByReceiver);
        }
        let piece = bytes.split_to(room.min(bytes.len()));
        let is_end = is_last && bytes.is_empty();
        to.send_data(piece, is_end).map_err(|_| Stopped::ByReceiver)?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
}

async fn next(
    from: &mut RecvStream,
    to: &mut SendStream<Bytes>,
) -> Result<Option<Result<Bytes, h2::Error>>, Stopped> {
    std::future::poll_fn(|context| {
        if is_reset(to, context) {
            return Poll::Ready(Err(Stopped::ByReceiver));
        }
        from.poll_data(context).map(Ok)
    })
    .await
}

fn is_reset(to: &mut SendStream<Bytes>, context: &mut Context<'_>) -> bool {
    to.poll_reset(context).is_ready()
}

/// A stream that broke off on one side breaks off on the other, for the same reason.
fn broken(error: &h2::Error, to: &mut SendStream<Bytes>) -> Result<(), Stopped> {
    to.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
    Err(Stopped::BySender)
}
