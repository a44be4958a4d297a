//! Copies of a stream's request for sessions that mirror. The original never
//! waits for a copy: what does not fit into a session's budget of bytes is
//! given up, and counted.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{HeaderMap, Method, Request};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use super::head::{self, outgoing, with_filter_head};
use super::previews::PreviewConnections;
use super::send::send;
use crate::agent::shared::{ActiveSession, Pending};
use crate::traffic::filter::Body;
use crate::traffic::filter::body::MAX_BODY_BYTES;

/// How long a preview may take over one piece of a copy, or over its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The copies of one request.
#[derive(Default)]
pub(super) struct Copies {
    begun: Vec<Copy>,
    later: Option<Box<Later>>,
}

/// Copies that are decided about when the body is known. The original goes on
/// meanwhile: what went is kept, as long as a filter would look at it and the
/// sessions' budgets have room for it.
struct Later {
    sessions: Vec<Pending>,
    request: Request<()>,
    previews: Rc<PreviewConnections>,
    port: u16,
    body: Vec<u8>,
}

struct Copy {
    session: ActiveSession,
    sender: UnboundedSender<Part>,
    task: AbortHandle,
    state: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Begun,
    Ended,
    GivenUp,
}

enum Part {
    Data(Bytes, Held),
    End(Option<HeaderMap>),
}

/// Bytes of a session's budget, given back when dropped.
struct Held(ActiveSession, usize);

// === impl Held ===

impl Held {
    fn take(session: &ActiveSession, bytes: usize) -> Option<Self> {
        session.kept.reserve(bytes).then(|| Self(session.clone(), bytes))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kept.release(self.1);
    }
}

// === impl Copies ===

impl Copies {
    /// Begins the copies of one request. A CONNECT, which is how HTTP/2
    /// upgrades, is not copied: what follows it depends on the answer.
    pub(super) fn begin(
        sessions: Vec<ActiveSession>,
        request: &Request<()>,
        previews: &Rc<PreviewConnections>,
        port: u16,
    ) -> Self {
        let copies = sessions.into_iter().filter_map(|session| {
            let head = Held::take(&session, head::bytes(request));
            let is_plain = request.method() != Method::CONNECT;
            let Some(head) = head.filter(|_| is_plain && !session.rules.preview.is_empty()) else {
                session.kept.dropped();
                return None;
            };
            let (sender, parts) = unbounded_channel();
            let (request, previews) = (outgoing(request), Rc::clone(previews));
            let task = spawn_local(run(session.clone(), request, head, previews, port, parts));
            Some(Copy { session, sender, task: task.abort_handle(), state: Progress::Begun })
        });
        Self { begun: copies.collect(), later: None }
    }

    /// Begins more of them once it is known which of these sessions want one.
    pub(super) fn decide_later(
        &mut self,
        sessions: Vec<ActiveSession>,
        request: &Request<()>,
        previews: &Rc<PreviewConnections>,
        port: u16,
    ) {
        let mut sessions: Vec<_> = sessions.into_iter().map(Pending::new).collect();
        sessions.retain_mut(|session| session.keep(head::bytes(request)));
        if !sessions.is_empty() {
            let (request, previews) = (request.clone(), Rc::clone(previews));
            self.later = Some(Box::new(Later { sessions, request, previews, port, body: Vec::new() }));
        }
    }

    /// Copies more of the body.
    pub(super) fn body(&mut self, bytes: &Bytes) {
        for copy in self.begun.iter_mut().filter(|copy| copy.state == Progress::Begun) {
            match Held::take(&copy.session, bytes.len()) {
                // A copy that has failed already has been counted.
                Some(held) => drop(copy.sender.send(Part::Data(apart(bytes), held))),
                None => copy.give_up(),
            }
        }
        if let Some(later) = &mut self.later
            && !later.goes_on(bytes)
        {
            self.decide(false);
        }
    }

    /// The request is whole.
    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.decide(true);
        for copy in self.begun.iter_mut().filter(|copy| copy.state == Progress::Begun) {
            copy.state = Progress::Ended;
            let _ = copy.sender.send(Part::End(trailers.cloned()));
        }
    }

    /// Whoever wants a copy gets what has come so far.
    fn decide(&mut self, is_whole: bool) {
        let Some(later) = self.later.take() else { return };
        let (request, previews, port) = (later.request.clone(), Rc::clone(&later.previews), later.port);
        let (wanting, body) = later.decide(is_whole);
        let mut copies = Self::begin(wanting, &request, &previews, port);
        if !body.is_empty() {
            copies.body(&body.into_boxed_slice().into());
        }
        self.begun.append(&mut copies.begun);
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        // Broken off before that was known: whoever wants half a request gets none.
        if let Some(later) = self.later.take() {
            later.decide(false).0.iter().for_each(|session| session.kept.dropped());
        }
    }
}

// === impl Later ===

impl Later {
    /// More of the body has come; whether anybody would still look at it.
    fn goes_on(&mut self, bytes: &Bytes) -> bool {
        self.sessions.retain_mut(|session| session.keep(bytes.len()));
        self.body.extend_from_slice(bytes);
        !self.sessions.is_empty() && self.body.len() <= MAX_BODY_BYTES
    }

    /// The sessions that want a copy, now that no more will be known, and what has come of the body.
    fn decide(self, is_whole: bool) -> (Vec<ActiveSession>, Vec<u8>) {
        let body = if is_whole { Body::Whole(&self.body) } else { Body::Unknown };
        let wanting = with_filter_head(&self.request, |head| {
            self.sessions.into_iter().filter_map(|session| session.decide(head, body)).collect()
        });
        (wanting, self.body)
    }
}

// === impl Copy ===

impl Copy {
    fn give_up(&mut self) {
        self.state = Progress::GivenUp;
        if !self.task.is_finished() {
            // Half a request can only end with a reset, which h2 sends when it is dropped.
            self.task.abort();
            self.session.kept.dropped();
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // The original was broken off in the middle of the request.
        if self.state == Progress::Begun {
            self.give_up();
        }
    }
}

/// Sends one session its copy, and counts what became of it.
async fn run(
    session: ActiveSession,
    request: Request<()>,
    head: Held,
    previews: Rc<PreviewConnections>,
    port: u16,
    mut parts: UnboundedReceiver<Part>,
) {
    let mut answered = None;
    let sending = async {
        let mut sender = timeout(PATIENCE, previews.get(&session, port)).await.ok()?.ok()?;
        let (response, mut to) = sender.send_request(request, false).ok()?;
        drop(head);
        // Read while we send: a preview that answers early must not run out of room.
        let forgetting = spawn_local(forget(response));
        answered = Some(AbortOnDrop(forgetting.abort_handle()));
        loop {
            match parts.recv().await? {
                Part::Data(bytes, _held) => {
                    timeout(PATIENCE, send(bytes, false, &mut to)).await.ok()?.ok()?;
                }
                Part::End(trailers) => {
                    let ended = match trailers {
                        None => to.send_data(Bytes::new(), true),
                        Some(trailers) => to.send_trailers(trailers),
                    };
                    return ended.ok().map(|()| forgetting);
                }
            }
        }
    };
    match sending.await {
        None => session.kept.dropped(),
        Some(forgetting) => {
            session.kept.mirrored();
            // Its answer is nobody's; a stream without end is reset.
            let _ = timeout(PATIENCE, forgetting).await;
        }
    }
}

/// Reads an answer to its end.
async fn forget(response: ResponseFuture) -> Result<(), h2::Error> {
    let mut body: RecvStream = response.await?.into_body();
    while let Some(bytes) = body.data().await {
        body.flow_control().release_capacity(bytes?.len())?;
    }
    Ok(())
}

/// A task that ends with the one that began it.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A piece to keep. A small one is taken out of the buffer that it came in,
/// which would otherwise stay for its sake.
fn apart(bytes: &Bytes) -> Bytes {
    const SMALL_BYTES: usize = 4 * 1024;
    if bytes.len() < SMALL_BYTES { Bytes::copy_from_slice(bytes) } else { bytes.clone() }
}
