//! Carries bytes both ways without reading them: for connections that are not HTTP,
//! are encrypted or upgraded, or had a byte that could be read in two ways.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use super::relay_buffer::RelayBuffer;

/// How much one direction moves before the other direction, other connections and
/// the heartbeat have their turn.
const TURN_BYTES: usize = 1024 * 1024;

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
