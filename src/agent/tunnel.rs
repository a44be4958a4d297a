//! Bytes both ways, unread: for everything that is no HTTP, is encrypted, was
//! upgraded, or was in any way doubtful.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;

use super::relay_buffer::RelayBuffer;

/// How much one direction moves before others have their turn: the other
/// direction, other connections, the heartbeat.
const TURN_BYTES: usize = 1024 * 1024;

/// One direction.
struct Way<'a> {
    lane: &'a mut RelayBuffer,
    stage: Stage,
}

/// How far a direction has come.
enum Stage {
    Open,
    /// Its sender has ended its side.
    Ended,
    /// Its receiver takes nothing more. What that one has said is still carried.
    Broken(io::Error),
}

// === impl Way ===

impl Way<'_> {
    /// Carries what there is. Ready once nothing more can come; an error: the
    /// sender is lost, and all that it had said has been carried.
    fn poll_carry(
        &mut self,
        context: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        opposite: &Stage,
    ) -> Poll<io::Result<()>> {
        let mut moved = 0;
        while matches!(self.stage, Stage::Open) {
            self.lane.clear_all();
            if let Err(error) = ready!(self.lane.poll_drain(context, to)) {
                self.stage = Stage::Broken(error);
            } else if self.lane.is_ended() {
                // A sender whose own receiving end is gone was reset: that is passed on, not its end.
                self.stage = match opposite {
                    Stage::Broken(_) => Stage::Ended,
                    _ => match ready!(Pin::new(&mut *to).poll_shutdown(context)) {
                        Ok(()) => Stage::Ended,
                        Err(error) => Stage::Broken(error),
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
        if self.lane.is_bulk()
            && let Some(moved) = ready!(self.lane.poll_fill_unseen(context, from, u64::MAX))?
        {
            return Poll::Ready(Ok(moved));
        }
        self.lane.poll_fill(context, from)
    }
}

/// Carries everything between `client` and `server` until both have ended
/// their sides. What the lanes already hold goes first. Half-closed
/// connections stay half open for as long as their ends like. After an error
/// both are to be reset.
pub(super) async fn carry(
    client: &mut TcpStream,
    server: &mut TcpStream,
    up: &mut RelayBuffer,
    down: &mut RelayBuffer,
) -> io::Result<()> {
    let mut up = Way { lane: up, stage: Stage::Open };
    let mut down = Way { lane: down, stage: Stage::Open };
    let mut is_ups_turn = true;
    std::future::poll_fn(|context| {
        // One that never has to wait would leave nothing to the other.
        is_ups_turn = !is_ups_turn;
        let mut is_over = true;
        for is_up in [is_ups_turn, !is_ups_turn] {
            let carried = if is_up {
                up.poll_carry(context, client, server, &down.stage)?
            } else {
                down.poll_carry(context, server, client, &up.stage)?
            };
            is_over &= carried.is_ready();
        }
        if is_over { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
    })
    .await?;
    for way in [up, down] {
        if let Stage::Broken(error) = way.stage {
            return Err(error);
        }
    }
    Ok(())
}
