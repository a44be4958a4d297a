//! One direction of a relay: bytes read here, to be written there.
//!
//! A lane knows which of its bytes are cleared to leave; framing clears them.
//! Nothing in it is lost when a future is dropped half way, and it holds a
//! buffer only while there are bytes in it: idle connections cost none. Long
//! stretches that nobody has to look at stay in the kernel, in a pipe.

mod pipe;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use pipe::Pipe;

/// Fits most heads and small bodies whole.
const SMALL_BYTES: usize = 16 * 1024;

/// For bulk: fewer system calls per byte, still in the processor's cache.
const LARGE_BYTES: usize = 128 * 1024;

/// A stretch this long is worth a pipe: two system calls on pages instead of
/// two copies.
pub(super) const MIN_PIPED_BYTES: u64 = 128 * 1024;

/// What the kernel is asked to move at once: lengths that no signed integer
/// holds it refuses.
const MAX_MOVED_BYTES: usize = 1 << 30;

/// How many buffers of each size a worker keeps for the next connection.
const MAX_KEPT: usize = 64;

thread_local! {
    static SPARE: RefCell<[Vec<Vec<u8>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Bytes on their way: `start..cleared` may leave, `cleared..end` is held back.
/// What is in the pipe may leave, and the buffer is empty meanwhile.
#[derive(Debug, Default)]
pub(super) struct RelayBuffer {
    buffer: Vec<u8>,
    start: usize,
    cleared: usize,
    end: usize,
    pipe: Option<Pipe>,
    bulk: bool,
    ended: bool,
}

// === impl RelayBuffer ===

impl RelayBuffer {
    /// What was read and is not cleared yet.
    pub(super) fn held(&self) -> &[u8] {
        &self.buffer[self.cleared..self.end]
    }

    /// The same, to be edited.
    pub(super) fn held_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.cleared..self.end]
    }

    /// Lets the next `bytes` of what is held leave.
    pub(super) fn clear(&mut self, bytes: usize) {
        self.cleared = (self.cleared + bytes).min(self.end);
    }

    /// Lets everything leave.
    pub(super) fn clear_all(&mut self) {
        self.cleared = self.end;
    }

    /// Forgets the next `bytes` of what is held. Only with nothing cleared.
    pub(super) fn discard(&mut self, bytes: usize) {
        debug_assert_eq!(self.start, self.cleared, "cleared bytes must have left");
        self.clear(bytes);
        self.start = self.cleared;
        self.settle();
    }

    /// Whether nothing is left to write or to judge.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end && self.pipe.is_none()
    }

    /// Whether everything that was cleared has left.
    pub(super) const fn is_drained(&self) -> bool {
        self.start == self.cleared && self.pipe.is_none()
    }

    /// Whether the sender sends faster than it is read.
    pub(super) const fn is_bulk(&self) -> bool {
        self.bulk
    }

    /// Whether the sender has ended its side.
    pub(super) const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Writes what is cleared.
    pub(super) fn poll_drain(
        &mut self,
        context: &mut Context<'_>,
        to: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        while self.start < self.cleared {
            let bytes = &self.buffer[self.start..self.cleared];
            let written = ready!(Pin::new(&mut *to).poll_write(context, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += written;
        }
        if let Some(pipe) = &mut self.pipe {
            ready!(pipe.poll_drain(context, to))?;
        }
        self.settle();
        Poll::Ready(Ok(()))
    }

    /// Reads more behind what is held; 0 bytes: the sender has ended its side.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        from: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut space = ReadBuf::new(&mut self.buffer[self.end..]);
        let result = Pin::new(from).poll_read(context, &mut space);
        let (read, full) = (space.filled().len(), space.remaining() == 0);
        self.end += read;
        if self.is_empty() {
            self.settle();
        }
        ready!(result)?;
        self.bulk = full;
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Takes up to `most` bytes that nobody has to look at: they are cleared,
    /// and not held. Only with nothing under way. `None`: the system does not
    /// do that, or not here; [`Self::poll_fill`] does.
    pub(super) fn poll_fill_unseen(
        &mut self,
        context: &mut Context<'_>,
        from: &TcpStream,
        most: u64,
    ) -> Poll<io::Result<Option<usize>>> {
        debug_assert!(self.is_empty(), "what is under way must have left");
        let Ok(mut pipe) = Pipe::take() else { return Poll::Ready(Ok(None)) };
        let most = usize::try_from(most).map_or(MAX_MOVED_BYTES, |most| most.min(MAX_MOVED_BYTES));
        let filled = pipe.poll_fill(context, from, most);
        if pipe.is_empty() {
            pipe.give_back();
        } else {
            self.pipe = Some(pipe);
        }
        match ready!(filled) {
            Err(error) if pipe::is_refusal(&error) => Poll::Ready(Ok(None)),
            Err(error) => Poll::Ready(Err(error)),
            Ok(None) => Poll::Ready(Ok(None)),
            Ok(Some(moved)) => {
                self.bulk = moved >= SMALL_BYTES;
                self.ended = moved == 0;
                Poll::Ready(Ok(Some(moved)))
            }
        }
    }

    fn make_room(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = take(self.bulk);
        }
        if self.end == self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.cleared -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize((self.end * 2).max(SMALL_BYTES), 0);
        }
    }

    /// An empty lane gives its buffer and its pipe back.
    fn settle(&mut self) {
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty()) {
            pipe.give_back();
        }
        if self.is_empty() && !self.buffer.is_empty() {
            (self.start, self.cleared, self.end) = (0, 0, 0);
            give_back(std::mem::take(&mut self.buffer));
        }
    }
}

impl Drop for RelayBuffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.buffer));
    }
}

fn take(bulk: bool) -> Vec<u8> {
    let spare = SPARE.with_borrow_mut(|spare| spare[usize::from(bulk)].pop());
    spare.unwrap_or_else(|| vec![0; if bulk { LARGE_BYTES } else { SMALL_BYTES }])
}

/// Buffers of other sizes (a long head, an inserted answer) are not kept.
fn give_back(buffer: Vec<u8>) {
    let class = match buffer.len() {
        SMALL_BYTES => 0,
        LARGE_BYTES => 1,
        _ => return,
    };
    SPARE.with_borrow_mut(|spare| {
        if spare[class].len() < MAX_KEPT {
            spare[class].push(buffer);
        }
    });
}
