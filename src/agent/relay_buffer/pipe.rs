//! Moves bytes that need not be looked at through a kernel pipe from one connection
//! to the other, with splice(2). They never enter the program.

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

/// How many spare pipes a thread keeps. Each takes two descriptors, and no memory
/// while it is empty. They have the system's default size (16 stretches of received
/// bytes): larger ones are not faster.
const MAX_SPARE: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A kernel pipe and the number of bytes in it.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    bytes: usize,
}

// === impl Pipe ===

impl Pipe {
    /// An empty pipe.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub(super) fn take() -> io::Result<Self> {
        if let Some(spare) = SPARE.with_borrow_mut(Vec::pop) {
            return Ok(spare);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer, bytes: 0 })
    }

    /// Keeps the pipe for the next connection if it is empty. The bytes in it must
    /// not reach another connection.
    pub(super) fn give_back(self) {
        SPARE.with_borrow_mut(|spare| {
            if self.bytes == 0 && spare.len() < MAX_SPARE {
                spare.push(self);
            }
        });
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes up to `most` received bytes; 0: the sender has ended its side. Only while
    /// the pipe is empty: a full pipe cannot be told from a connection without bytes.
    /// `None`: there are bytes, and splice(2) cannot take them. It stops before urgent
    /// data.
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
                Err(error) if is_retryable(&error) => {}
                spliced => {
                    self.bytes = spliced.as_ref().ok().copied().flatten().unwrap_or(0);
                    return Poll::Ready(spliced);
                }
            }
        }
    }

    /// Sends all bytes in the pipe.
    pub(super) fn poll_drain(&mut self, context: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            ready!(to.poll_write_ready(context))?;
            let spliced = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.reader, None, to, None, self.bytes, SpliceFlags::NONBLOCK)?)
            });
            match spliced {
                Err(error) if is_retryable(&error) => {}
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

fn is_retryable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether the system does not splice these connections: a sandbox does not know
/// splice(2), or forbids it.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    )
}
