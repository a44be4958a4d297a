//! Copies for sessions that mirror. The original never waits for a copy: what
//! does not fit into a session's budget of bytes is dropped, and counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::discard;
use super::head::RequestKind;
use super::undecided::Undecided;
use crate::agent::preview_pods::{PreviewPods, is_quiet};
use crate::agent::shared::ActiveSession;

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
pub(super) struct Copies {
    begun: Vec<Copy>,
    later: Option<Box<Later>>,
}

/// Copies that are decided about when the body is known.
struct Later {
    mirrors: Rc<Mirrors>,
    form: Form,
    request: Undecided,
}

/// What a copy's way depends on.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// The application's port.
    pub(super) port: u16,
    pub(super) kind: RequestKind,
}

struct Copy {
    session: ActiveSession,
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
    /// A copy begins: how its answer ends.
    Head {
        session: ActiveSession,
        kind: RequestKind,
    },
    Body(Vec<u8>),
    End,
    GivenUp,
}

// === impl Mirrors ===

impl Mirrors {
    /// Begins the copies of one request. One that is not plain (an upgrade)
    /// is not copied, and counts as dropped: the connection becomes something else.
    pub(super) fn begin(
        &self,
        sessions: Vec<ActiveSession>,
        Form { port, kind }: Form,
        head: &[u8],
    ) -> Copies {
        let is_plain = matches!(kind, RequestKind::Plain | RequestKind::Head);
        let copies = sessions.into_iter().filter_map(|session| {
            if !is_plain || session.rules.preview.is_empty() || !session.kept.reserve(head.len()) {
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
            // The receiver lives as long as the connection; if not, nobody wants it.
            let _ = sender.send(Part::Head { session: session.clone(), kind });
            let _ = sender.send(Part::Body(head.to_vec()));
            Some(Copy { session, sender: sender.clone(), state: Progress::Begun })
        });
        Copies { begun: copies.collect(), later: None }
    }
}

// === impl Copies ===

impl Copies {
    /// Begins more of them once it is known who wants one.
    pub(super) fn decide_later(&mut self, request: Undecided, form: Form, mirrors: &Rc<Mirrors>) {
        if !request.is_nobodys() {
            self.later = Some(Box::new(Later { mirrors: Rc::clone(mirrors), form, request }));
        }
    }

    /// Whether anybody still wants the rest.
    pub(super) fn are_wanted(&self) -> bool {
        self.later.is_some() || self.begun.iter().any(|copy| copy.state == Progress::Begun)
    }

    /// Copies more of the request.
    pub(super) fn body(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        for copy in self.begun.iter_mut().filter(|copy| copy.state == Progress::Begun) {
            if copy.session.kept.reserve(bytes.len()) {
                let _ = copy.sender.send(Part::Body(bytes.to_vec()));
            } else {
                copy.give_up();
            }
        }
        if let Some(later) = &mut self.later
            && !later.request.goes_on(bytes)
        {
            self.decide();
        }
    }

    /// The request is whole.
    pub(super) fn end(&mut self) {
        self.decide();
        for copy in self.begun.iter_mut().filter(|copy| copy.state == Progress::Begun) {
            copy.state = Progress::Ended;
            let _ = copy.sender.send(Part::End);
        }
    }

    /// Whoever wants a copy gets what has come so far.
    fn decide(&mut self) {
        let Some(later) = self.later.take() else { return };
        let Later { mirrors, form, request } = *later;
        let (wanting, head, body) = request.decide();
        let mut copies = mirrors.begin(wanting, form, &head);
        copies.body(&body);
        self.begun.append(&mut copies.begun);
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // Broken off before that was known: whoever wants half a request gets none.
        if let Some(later) = self.later.take() {
            later.request.decide().0.iter().for_each(|session| session.kept.dropped());
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
    let mut connection: Option<(SocketAddr, TcpStream)> = None;
    let mut current: Option<(ActiveSession, RequestKind)> = None;
    let mut is_broken = false;
    // What had come by the time that a preview let us wait in vain is of no use
    // to it any more, and would have all that follows wait again.
    let mut stale = 0_usize;
    while let Some(part) = parts.recv().await {
        let is_stale = stale > 0;
        stale = stale.saturating_sub(1);
        match part {
            Part::Head { session, kind } => {
                connection = connection.filter(|(address, stream)| is_good(*address, stream, &session, port));
                if !is_stale && connection.is_none() {
                    connection = match PreviewPods::of(&session.rules, port)
                        .connect(0, async |stream| Ok(stream))
                        .await
                    {
                        Ok(connection) => Some(connection),
                        Err(error) => {
                            if error.kind() == io::ErrorKind::TimedOut {
                                stale = parts.len();
                            }
                            None
                        }
                    };
                }
                is_broken = is_stale || connection.is_none();
                if is_broken {
                    session.kept.dropped();
                }
                current = Some((session, kind));
            }
            Part::Body(bytes) => {
                let Some((session, _)) = &current else { continue };
                if let Some((_, stream)) = &mut connection
                    && !is_broken
                {
                    let written = timeout(PATIENCE, stream.write_all(&bytes)).await;
                    if !matches!(written, Ok(Ok(()))) {
                        is_broken = true;
                        connection = None;
                        session.kept.dropped();
                        stale = if written.is_err() { parts.len() } else { stale };
                    }
                }
                session.kept.release(bytes.len());
            }
            Part::End => {
                let Some((session, kind)) = current.take() else { continue };
                if is_broken {
                    continue;
                }
                let Some((address, mut stream)) = connection.take() else { continue };
                // The preview has had the copy once it begins to answer: what only left
                // us may have met a pod that was going away.
                match timeout(PATIENCE, stream.peek(&mut [0])).await {
                    Ok(Ok(1..)) => session.kept.mirrored(),
                    begun => {
                        session.kept.dropped();
                        stale = if begun.is_err() { parts.len() } else { stale };
                        continue;
                    }
                }
                match timeout(PATIENCE, discard::response(&mut stream, kind)).await {
                    Ok(Ok(true)) => connection = Some((address, stream)),
                    Ok(_) => {}
                    Err(_) => stale = parts.len(),
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

/// Whether a connection from the last copy can carry another: the pod still
/// belongs to the preview, and has neither closed it nor sent anything since.
fn is_good(address: SocketAddr, stream: &TcpStream, session: &ActiveSession, port: u16) -> bool {
    PreviewPods::of(&session.rules, port).contains(address) && is_quiet(stream)
}
