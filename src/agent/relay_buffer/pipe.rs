//! Bytes that nobody has to look at: a kernel pipe carries them from one
//! connection to the other, and they never enter the program (splice(2)).

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How many pipes a worker keeps for the next long body. Each is two
/// descriptors, and holds no memory while it is empty. Their size is the
/// system's (16 stretches of what was received): larger ones are no faster.
const MAX_KEPT: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe of the kernel's, and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    bytes: usize,
}

// === impl Pipe ===

impl Pipe {
    /// An empty one. Fails where the process has no descriptor left.
    pub(super) fn take() -> io::Result<Self> {
        if let Some(spare) = SPARE.with_borrow_mut(Vec::pop) {
            return Ok(spare);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer, bytes: 0 })
    }

    /// Keeps an empty one for the next. What is not empty is not kept: its
    /// bytes are somebody's.
    pub(super) fn give_back(self) {
        SPARE.with_borrow_mut(|spare| {
            if self.bytes == 0 && spare.len() < MAX_KEPT {
                spare.push(self);
            }
        });
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes up to `most` bytes of what was received; 0: the sender has ended
    /// its side. Only while the pipe is empty: a full one cannot be told from
    /// a connection that has nothing. `None`: there is something, and it cannot
    /// be taken: urgent data is spliced neither over nor past.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        from: &TcpStream,
        most: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        debug_assert!(self.is_empty(), "only an empty pipe is filled");
        loop {
            ready!(from.poll_read_ready(context))?;
            let spliced = from.try_io(Interest::READABLE, || {
                match splice(from, None, &self.writer, None, most, SpliceFlags::NONBLOCK) {
                    Ok(0) | Err(Errno::AGAIN) if has_bytes(from) => Ok(None),
                    spliced => Ok(Some(spliced?)),
                }
            });
            match spliced {
                Err(error) if is_in_vain(&error) => {}
                spliced => {
                    self.bytes = spliced.as_ref().ok().copied().flatten().unwrap_or(0);
                    return Poll::Ready(spliced);
                }
            }
        }
    }

    /// Sends everything on.
    pub(super) fn poll_drain(&mut self, context: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            ready!(to.poll_write_ready(context))?;
            let spliced = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.reader, None, to, None, self.bytes, SpliceFlags::NONBLOCK)?)
            });
            match spliced {
                Err(error) if is_in_vain(&error) => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                spliced => self.bytes -= spliced?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether an ordinary read would find something.
fn has_bytes(stream: &TcpStream) -> bool {
    matches!(SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]), Ok(1..))
}

fn is_in_vain(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether the system does not splice these connections: a sandbox that knows
/// no splice(2), or forbids it.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    )
}
