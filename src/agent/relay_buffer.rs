//! The bytes of one direction of a relay, between reading and writing.
//!
//! The relay buffer knows which of its bytes are cleared to leave; framing clears
//! them. It loses nothing when a future is dropped half way. It has memory only
//! while it holds bytes, so idle connections need none. Long stretches that need
//! not be looked at stay in the kernel, in a pipe.

mod pipe;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use pipe::Pipe;

/// The usual buffer: most heads and small bodies fit into it.
const SMALL_BYTES: usize = 16 * 1024;

/// The buffer for bulk data: fewer system calls per byte, still in the processor's
/// cache.
const LARGE_BYTES: usize = 128 * 1024;

/// The shortest stretch that is worth a pipe: two system calls on pages instead of
/// two copies.
pub(super) const MIN_PIPED_BYTES: u64 = 128 * 1024;

/// The most that the kernel is asked to move at once: it refuses lengths that do
/// not fit into a signed integer.
const MAX_MOVED_BYTES: usize = 1 << 30;

/// How many spare buffers of each size a thread keeps.
const MAX_SPARE: usize = 64;

thread_local! {
    static SPARE: RefCell<[Vec<Vec<u8>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Bytes on their way: `start..cleared` may leave, `cleared..end` is held back. The
/// bytes in the pipe may leave, and the buffer is empty meanwhile.
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
    /// The bytes that are held back.
    pub(super) fn held(&self) -> &[u8] {
        &self.buffer[self.cleared..self.end]
    }

    /// The same bytes, to be edited.
    pub(super) fn held_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.cleared..self.end]
    }

    /// Clears the next `bytes` held bytes.
    pub(super) fn clear(&mut self, bytes: usize) {
        self.cleared = (self.cleared + bytes).min(self.end);
    }

    /// Clears all held bytes.
    pub(super) fn clear_all(&mut self) {
        self.cleared = self.end;
    }

    /// Drops the next `bytes` held bytes. Cleared bytes must have left before.
    pub(super) fn discard(&mut self, bytes: usize) {
        debug_assert_eq!(self.start, self.cleared, "cleared bytes must have left");
        self.clear(bytes);
        self.start = self.cleared;
        self.settle();
    }

    /// Whether there are no bytes.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end && self.pipe.is_none()
    }

    /// Whether all cleared bytes have left.
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

    /// Writes the cleared bytes. Ready once all of them have left.
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

    /// Reads more bytes, which are held; 0 bytes: the sender has ended its side.
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

    /// Moves up to `most` bytes that need not be looked at: they are cleared at once.
    /// Only while the buffer is empty. `None`: the system cannot do that, or not here,
    /// and [`Self::poll_fill`] has to.
    pub(super) fn poll_fill_unseen(
        &mut self,
        context: &mut Context<'_>,
        from: &TcpStream,
        most: u64,
    ) -> Poll<io::Result<Option<usize>>> {
        debug_assert!(self.is_empty(), "earlier bytes must have left");
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

    /// Gives the memory and the pipe back once they are empty.
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

/// Buffers of other sizes, made for a long head, are not kept.
fn give_back(buffer: Vec<u8>) {
    let class = match buffer.len() {
        SMALL_BYTES => 0,
        LARGE_BYTES => 1,
        _ => return,
    };
    SPARE.with_borrow_mut(|spare| {
        if spare[class].len() < MAX_SPARE {
            spare[class].push(buffer);
        }
    });
}
