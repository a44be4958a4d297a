//! Carries bytes both ways without reading them: for connections that are not HTTP,
//! are encrypted or upgraded, or had a byte that could be read in two ways.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::closing::linger;
use super::relay_buffer::RelayBuffer;

/// How much one direction moves before the other direction, other connections and
/// the heartbeat have their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// How long a server that seems to be about to close may be silent before it gets
/// the bytes that the agent has held.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// What becomes of the client's bytes that the agent has held so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The server gets them at once.
    Sent,
    /// The server seems to be about to close: the client gets all that it sends first.
    /// If it has closed, its kernel answers these bytes with a reset, after which the
    /// client would lose the response.
    Awaits,
    /// They are not for the server, nor is anything behind them.
    Dropped,
}

/// One direction.
struct TunnelHalf<'a> {
    buffer: &'a mut RelayBuffer,
    state: HalfState,
}

/// How far a direction has come.
enum HalfState {
    Open,
    /// Its sender has ended its side.
    Ended,
    /// Its receiver takes nothing more. Bytes that the receiver has sent are still
    /// carried the other way.
    Broken(io::Error),
}

// === impl TunnelHalf ===

impl TunnelHalf<'_> {
    /// Carries all that can be read now. Ready once nothing more can follow.
    ///
    /// # Errors
    ///
    /// The sender is lost. All bytes that it sent before have been carried.
    fn poll_carry(
        &mut self,
        context: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        opposite: &HalfState,
    ) -> Poll<io::Result<()>> {
        let mut moved = 0;
        while matches!(self.state, HalfState::Open) {
            self.buffer.clear_all();
            if let Err(error) = ready!(self.buffer.poll_drain(context, to)) {
                self.state = HalfState::Broken(error);
            } else if self.buffer.is_ended() {
                // A sender that no longer receives was reset: the caller passes the reset on, so this is not a plain end.
                self.state = match opposite {
                    HalfState::Broken(_) => HalfState::Ended,
                    _ => match ready!(Pin::new(&mut *to).poll_shutdown(context)) {
                        Ok(()) => HalfState::Ended,
                        Err(error) => HalfState::Broken(error),
                    },
                };
            } else if moved >= TURN_BYTES {
                context.waker().wake_by_ref();
                return Poll::Pending;
            } else {
                moved += ready!(self.poll_fill(context, from))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fill(&mut self, context: &mut Context<'_>, from: &mut TcpStream) -> Poll<io::Result<usize>> {
        if self.buffer.is_bulk()
            && let Some(moved) = ready!(self.buffer.poll_fill_unseen(context, from, u64::MAX))?
        {
            return Poll::Ready(Ok(moved));
        }
        self.buffer.poll_fill(context, from)
    }
}

/// The same as [`carry`], with bytes in `up` that the server has not got although
/// they have arrived.
///
/// # Errors
///
/// Either connection is broken. The caller has to reset both.
pub(super) async fn carry_held(
    client: &mut TcpStream,
    server: &mut TcpStream,
    up: &mut RelayBuffer,
    down: &mut RelayBuffer,
    held: Held,
) -> io::Result<()> {
    match held {
        Held::Awaits if !up.held().is_empty() => {
            if !closes(client, server, down).await? {
                return carry(client, server, up, down).await;
            }
            // The client has got everything, so nothing that happens now is an error to it.
            carry_up(client, server, up).await;
            let _ = linger(client).await;
            Ok(())
        }
        Held::Dropped => {
            carry_down(client, server, down).await?;
            let _ = linger(client).await;
            Ok(())
        }
        Held::Sent | Held::Awaits => carry(client, server, up, down).await,
    }
}

/// Carries what the server sends until it closes, or has been silent for
/// [`CLOSE_WAIT`] while the client has read everything. Returns whether it has closed.
async fn closes(client: &mut TcpStream, server: &mut TcpStream, down: &mut RelayBuffer) -> io::Result<bool> {
    let mut down = TunnelHalf { buffer: down, state: HalfState::Open };
    let mut silence = pin!(sleep(CLOSE_WAIT));
    let has_closed = std::future::poll_fn(|context| {
        if down.poll_carry(context, server, client, &HalfState::Open)?.is_ready() {
            return Poll::Ready(io::Result::Ok(true));
        }
        let is_silent = silence.as_mut().poll(context).is_ready();
        if is_silent && down.buffer.is_empty() {
            return Poll::Ready(Ok(false));
        }
        // Either side has moved, or the client is slow.
        silence.as_mut().reset(Instant::now() + CLOSE_WAIT);
        let _ = silence.as_mut().poll(context);
        Poll::Pending
    })
    .await?;
    match down.state {
        HalfState::Broken(error) => Err(error),
        _ => Ok(has_closed),
    }
}

/// Carries what the client sends to a server that has ended its side, and may still
/// read, until it does not or the client has ended.
async fn carry_up(client: &mut TcpStream, server: &mut TcpStream, up: &mut RelayBuffer) {
    up.clear_all();
    if std::future::poll_fn(|context| up.poll_drain(context, server)).await.is_err() {
        return;
    }
    let mut byte = [0];
    tokio::select! {
        _ = server.ready(Interest::ERROR) => return,
        _ = client.peek(&mut byte) => {}
    }
    let mut up = TunnelHalf { buffer: up, state: HalfState::Open };
    let _ = std::future::poll_fn(|context| up.poll_carry(context, client, server, &HalfState::Open)).await;
}

/// Carries what the server sends until it closes. Of the client, it gets only the end.
async fn carry_down(
    client: &mut TcpStream,
    server: &mut TcpStream,
    down: &mut RelayBuffer,
) -> io::Result<()> {
    let mut down = TunnelHalf { buffer: down, state: HalfState::Open };
    let mut sends = true;
    let mut sink = [0; 4096];
    std::future::poll_fn(|context| {
        if down.poll_carry(context, server, client, &HalfState::Open)?.is_ready() {
            return Poll::Ready(io::Result::Ok(()));
        }
        let mut dropped = ReadBuf::new(&mut sink);
        if sends && Pin::new(&mut *client).poll_read(context, &mut dropped)?.is_ready() {
            sends = !dropped.filled().is_empty();
            if !sends {
                // A server that is gone has nothing to learn.
                let _ = Pin::new(&mut *server).poll_shutdown(context);
            }
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await?;
    match down.state {
        HalfState::Broken(error) => Err(error),
        _ => Ok(()),
    }
}

/// Carries all bytes between `client` and `server` until both have ended their
/// sides. The bytes in the buffers go first. Half-closed connections stay half open
/// for as long as their ends want.
///
/// # Errors
///
/// Either connection is broken. The caller has to reset both.
pub(super) async fn carry(
    client: &mut TcpStream,
    server: &mut TcpStream,
    up: &mut RelayBuffer,
    down: &mut RelayBuffer,
) -> io::Result<()> {
    let mut up = TunnelHalf { buffer: up, state: HalfState::Open };
    let mut down = TunnelHalf { buffer: down, state: HalfState::Open };
    let mut is_ups_turn = true;
    std::future::poll_fn(|context| {
        // A direction that never has to wait would leave no time to the other.
        is_ups_turn = !is_ups_turn;
        let mut is_over = true;
        for is_up in [is_ups_turn, !is_ups_turn] {
            let carried = if is_up {
                up.poll_carry(context, client, server, &down.state)?
            } else {
                down.poll_carry(context, server, client, &up.state)?
            };
            is_over &= carried.is_ready();
        }
        if is_over { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
    })
    .await?;
    for direction in [up, down] {
        if let HalfState::Broken(error) = direction.state {
            return Err(error);
        }
    }
    Ok(())
}
