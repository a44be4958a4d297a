//! Copies for sessions that mirror. The original never waits for a copy: what
//! does not fit into a session's budget of bytes is dropped, and counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::http1::forget;
use super::state::Stealer;

/// How long a preview may take over one piece of a copy, or over its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The mirrors of one client connection: one connection to each session's
/// preview, made when first needed. The channels are bounded in bytes, by the
/// session's budget.
#[derive(Default)]
pub(super) struct Mirrors {
    senders: RefCell<BTreeMap<(String, u16), UnboundedSender<Part>>>,
}

/// The copies of one request.
#[derive(Default)]
pub(super) struct Copies(Vec<Copy>);

struct Copy {
    session: Stealer,
    sender: UnboundedSender<Part>,
    state: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Begun,
    Ended,
    GivenUp,
}

enum Part {
    Head { session: Stealer, is_head: bool },
    Body(Vec<u8>),
    End,
    GivenUp,
}

// === impl Mirrors ===

impl Mirrors {
    /// Begins the copies of one request. One that is not plain (an upgrade)
    /// is not copied, and counts as dropped.
    pub(super) fn begin(&self, sessions: Vec<Stealer>, port: u16, is_plain: bool, is_head: bool) -> Copies {
        let copies = sessions.into_iter().filter_map(|session| {
            if !is_plain || session.rules.preview.is_empty() {
                session.kept.dropped();
                return None;
            }
            let key = (session.rules.session.clone(), port);
            let mut senders = self.senders.borrow_mut();
            let sender = senders.entry(key).or_insert_with(|| {
                let (sender, receiver) = unbounded_channel();
                tokio::task::spawn_local(run(receiver, port));
                sender
            });
            // The head follows at once; this only says how its answer ends.
            let head = Part::Head { session: session.clone(), is_head };
            let _ = sender.send(head);
            Some(Copy { session, sender: sender.clone(), state: Progress::Begun })
        });
        Copies(copies.collect())
    }
}

// === impl Copies ===

impl Copies {
    /// Whether anybody still wants the rest.
    pub(super) fn are_wanted(&self) -> bool {
        self.0.iter().any(|copy| copy.state == Progress::Begun)
    }

    /// Copies the head.
    pub(super) fn head(&mut self, bytes: &[u8]) {
        self.body(bytes);
    }

    /// Copies more of the request.
    pub(super) fn body(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        for copy in self.0.iter_mut().filter(|copy| copy.state == Progress::Begun) {
            if copy.session.kept.reserve(bytes.len()) {
                // The receiver lives as long as the connection; if not, nobody wants it.
                let _ = copy.sender.send(Part::Body(bytes.to_vec()));
            } else {
                copy.give_up();
            }
        }
    }

    /// The request is whole.
    pub(super) fn end(&mut self) {
        for copy in self.0.iter_mut().filter(|copy| copy.state == Progress::Begun) {
            copy.state = Progress::Ended;
            let _ = copy.sender.send(Part::End);
        }
    }
}

// === impl Copy ===

impl Copy {
    fn give_up(&mut self) {
        self.state = Progress::GivenUp;
        self.session.kept.dropped();
        let _ = self.sender.send(Part::GivenUp);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // The connection became a tunnel, or broke, in the middle of the request.
        if self.state == Progress::Begun {
            self.give_up();
        }
    }
}

/// Sends one session its copies, in order, for one client connection.
async fn run(mut parts: UnboundedReceiver<Part>, port: u16) {
    let mut connection: Option<TcpStream> = None;
    let mut current: Option<(Stealer, bool)> = None;
    let mut is_broken = false;
    while let Some(part) = parts.recv().await {
        match part {
            Part::Head { session, is_head } => {
                is_broken = false;
                if connection.is_none() {
                    connection = connect(&session, port).await.ok();
                }
                if connection.is_none() {
                    is_broken = true;
                    session.kept.dropped();
                }
                current = Some((session, is_head));
            }
            Part::Body(bytes) => {
                let Some((session, _)) = &current else { continue };
                if let Some(stream) = &mut connection
                    && !is_broken
                    && !matches!(timeout(PATIENCE, stream.write_all(&bytes)).await, Ok(Ok(())))
                {
                    is_broken = true;
                    connection = None;
                    session.kept.dropped();
                }
                session.kept.release(bytes.len());
            }
            Part::End => {
                let Some((session, is_head)) = current.take() else { continue };
                if is_broken {
                    continue;
                }
                if let Some(mut stream) = connection.take() {
                    session.kept.mirrored();
                    let answered = timeout(PATIENCE, forget(&mut stream, is_head)).await;
                    if matches!(answered, Ok(Ok(true))) {
                        connection = Some(stream);
                    }
                }
            }
            // Half a request can only end with its connection.
            Part::GivenUp => {
                connection = None;
                current = None;
            }
        }
    }
}

async fn connect(session: &Stealer, port: u16) -> io::Result<TcpStream> {
    let rules = &session.rules;
    let to = rules.preview.first().ok_or(io::ErrorKind::NotFound)?;
    let address = SocketAddr::from((*to, rules.preview_port(port).unwrap_or(port)));
    let stream =
        timeout(PATIENCE, TcpStream::connect(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
