//! The verbatim relay: requests to the application, responses back, until a
//! request is somebody's, or something is in doubt.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::canary::Canary;
use super::framing::Framing;
use super::head::{self, Doubt, Kind, Next, Persistence};
use super::judgement::{self, Judged, Patience};
use super::undecided::Undecided;
use crate::agent::lane::Lane;
use crate::agent::mirror::{Copies, Form, Mirrors};
use crate::agent::shared::{ActiveSession, Shared};
use crate::traffic::Head;
use crate::traffic::canary::Asked as AskedCanary;

/// What the relay cannot settle alone.
pub(super) enum Outcome {
    /// The connection is to be carried unread from here on.
    Tunnel,
    /// The application has ended the connection between two exchanges.
    Over,
    /// A request is for the application, whose connection has ended while the
    /// preview had the client's requests: another is needed.
    Redial,
    /// A session wants the next request; every earlier response has left.
    Matched(Matched),
    /// The next request is the keeper's own.
    Canary(Canary),
}

/// A request that a session wants. Its head is still held in the lane.
pub(super) struct Matched {
    pub(super) session: ActiveSession,
    /// The application's port it was for.
    pub(super) port: u16,
    pub(super) request: head::Request,
    pub(super) copies: Copies,
}

/// Where the request side stands.
enum Requests {
    /// Before or inside a head.
    Head,
    /// Inside a body.
    Body(Framing),
    /// Behind a head that asked for another protocol: what follows depends on the answer.
    Waiting,
    /// At a request that is not the application's.
    Matched(Matched),
    /// At a request that is the keeper's own.
    Canary(Canary),
    /// At something that is not certain.
    Doubtful,
}

/// Whether a side has anything to say now.
enum Side {
    Stopped(Outcome),
    Waits,
}

/// Whom the last exchange was with, and whether the application is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// The application: what it does to its connection, it does to the client's.
    Application,
    /// The preview: to the application, the connection looks idle.
    Preview,
    /// The preview, and the application has ended its connection meanwhile.
    Gone,
}

pub(super) struct Relay {
    state: Arc<Shared>,
    port: u16,
    up: Lane,
    down: Lane,
    requests: Requests,
    /// The body whose end the response side is looking for.
    response: Option<(Framing, Persistence)>,
    /// Requests whose responses are still to come, oldest first.
    pending: VecDeque<Kind>,
    /// What of a head was looked at, each way.
    scanned: (usize, usize),
    /// Whether what the application sends is read no more: the connection
    /// becomes a tunnel once what was cleared has left.
    is_tunnel: bool,
    /// Whose the last exchange was.
    last: Server,
    mirrors: Rc<Mirrors>,
    copies: Copies,
    patience: Patience,
}

// === impl Relay ===

impl Relay {
    pub(super) fn new(state: Arc<Shared>, port: u16, up: Lane, mirrors: Rc<Mirrors>) -> Self {
        Self {
            state,
            port,
            up,
            down: Lane::default(),
            requests: Requests::Head,
            response: None,
            pending: VecDeque::new(),
            scanned: (0, 0),
            is_tunnel: false,
            last: Server::Application,
            mirrors,
            copies: Copies::default(),
            patience: Patience::default(),
        }
    }

    /// The bytes on their way up and down.
    pub(super) fn lanes(&mut self) -> (&mut Lane, &mut Lane) {
        (&mut self.up, &mut self.down)
    }

    /// Goes on behind an exchange that the relay did not carry.
    pub(super) fn resume(&mut self) {
        self.requests = Requests::Head;
        if self.last == Server::Application {
            self.last = Server::Preview;
        }
    }

    /// Goes on with another connection to the application.
    pub(super) fn redialled(&mut self) {
        self.last = Server::Application;
        // The end of the last one is not the end of this one.
        self.down = Lane::default();
    }

    /// Reads no more requests: the rest is carried unread. A request under way
    /// has no copy that would ever be whole.
    pub(super) fn end_as_tunnel(&mut self) -> (&mut Lane, &mut Lane) {
        self.copies = Copies::default();
        self.lanes()
    }

    /// Relays until something has to be settled elsewhere.
    pub(super) async fn run(
        &mut self,
        client: &mut TcpStream,
        server: &mut TcpStream,
    ) -> io::Result<Outcome> {
        std::future::poll_fn(|context| {
            loop {
                // Responses first: they make room for what follows them.
                if let Poll::Ready(side) = self.poll_responses(context, client, server)
                    && let Side::Stopped(outcome) = side?
                {
                    let canary = match outcome {
                        Outcome::Tunnel => self.canary_held(),
                        _ => None,
                    };
                    return Poll::Ready(Ok(canary.map_or(outcome, Outcome::Canary)));
                }
                let between = self.is_between();
                match &mut self.requests {
                    Requests::Matched(_) if between => {
                        let requests = std::mem::replace(&mut self.requests, Requests::Head);
                        let Requests::Matched(matched) = requests else { continue };
                        return Poll::Ready(Ok(Outcome::Matched(matched)));
                    }
                    Requests::Canary(_) if between => {
                        let requests = std::mem::replace(&mut self.requests, Requests::Head);
                        let Requests::Canary(canary) = requests else { continue };
                        return Poll::Ready(Ok(Outcome::Canary(canary)));
                    }
                    // The application did not switch: ordinary requests follow.
                    Requests::Waiting if between => self.requests = Requests::Head,
                    _ => {}
                }
                return match self.poll_requests(context, client, server) {
                    Poll::Ready(Ok(Side::Stopped(outcome))) => Poll::Ready(Ok(outcome)),
                    Poll::Ready(Ok(Side::Waits)) if self.is_between() => continue,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(Side::Waits)) | Poll::Pending => Poll::Pending,
                };
            }
        })
        .await
    }

    /// The keeper's own request, where the application has spoken before any was
    /// read: a server that begins with HTTP/2's settings is a tunnel to every
    /// other HTTP/1 client, and none to the canary.
    fn canary_held(&self) -> Option<Canary> {
        let is_at_head = matches!(self.requests, Requests::Head) && self.up.is_drained();
        if !is_at_head || !self.pending.is_empty() || self.response.is_some() {
            return None;
        }
        let (rules, port) = (self.state.rules(), self.port);
        let found = head::request(self.up.held(), &mut 0, |request, parsed| {
            let asked = Head {
                method: parsed.method.unwrap_or_default(),
                target: parsed.path.unwrap_or_default(),
                authority: None,
                headers: parsed.headers,
            };
            let asked = AskedCanary::of(&rules, port, &asked)?;
            Some(Canary { asked, port, length: request.length })
        });
        found.ok().flatten()?.1
    }

    /// Whether every request so far has its whole response.
    fn is_between(&self) -> bool {
        self.pending.is_empty() && self.response.is_none() && self.down.is_empty() && self.up.is_drained()
    }

    fn poll_requests(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
        server: &mut TcpStream,
    ) -> Poll<io::Result<Side>> {
        loop {
            let read = self.read_requests(context);
            if self.last == Server::Gone && (read.is_err() || !self.up.is_drained()) {
                return Poll::Ready(Ok(Side::Stopped(Outcome::Redial)));
            }
            if read.is_err() {
                // Nothing of it is read again while earlier bytes leave.
                self.requests = Requests::Doubtful;
            }
            if ready!(self.up.poll_drain(context, server)).is_err() {
                // It takes nothing more; what it has said is the client's still.
                return Poll::Ready(Ok(Side::Stopped(Outcome::Tunnel)));
            }
            match read {
                Err(Doubt) => return Poll::Ready(Ok(Side::Stopped(Outcome::Tunnel))),
                Ok(Asked::Settled) => return self.poll_client_gone(context, client),
                Ok(Asked::More) => {}
            }
            let filled = match &mut self.requests {
                // A copy has to be made of what is seen.
                Requests::Body(framing) if !self.copies.are_wanted() => {
                    framing.poll_fill(context, &mut self.up, client)
                }
                _ => self.up.poll_fill(context, client),
            };
            if ready!(filled)? == 0 {
                // No more requests: what is under way needs no framing.
                return Poll::Ready(Ok(Side::Stopped(Outcome::Tunnel)));
            }
        }
    }

    /// While nothing more is read of the client: if it leaves, whoever serves it
    /// learns it.
    fn poll_client_gone(&self, context: &mut Context<'_>, client: &mut TcpStream) -> Poll<io::Result<Side>> {
        let peeked = match client.poll_peek(context, &mut ReadBuf::new(&mut [0])) {
            Poll::Ready(peeked) => Some(peeked?),
            Poll::Pending => None,
        };
        // What it has sent behind its request is for nobody to see before the answer.
        let is_over = peeked == Some(0) && self.up.is_empty() && matches!(self.requests, Requests::Waiting);
        Poll::Ready(Ok(if is_over { Side::Stopped(Outcome::Tunnel) } else { Side::Waits }))
    }

    /// Clears what is the application's.
    fn read_requests(&mut self, context: &mut Context<'_>) -> Result<Asked, Doubt> {
        loop {
            match &mut self.requests {
                Requests::Matched(_) | Requests::Canary(_) | Requests::Waiting => return Ok(Asked::Settled),
                Requests::Doubtful => return Err(Doubt),
                Requests::Body(framing) => {
                    let held = self.up.held();
                    let length = framing.advance(held, |_| {}).map_err(|_| Doubt)?;
                    self.copies.body(&held[..length]);
                    self.up.clear(length);
                    if !framing.is_done() {
                        return Ok(Asked::More);
                    }
                    self.copies.end();
                    self.requests = match self.pending.back() {
                        Some(Kind::Upgrade | Kind::Connect) => Requests::Waiting,
                        _ => Requests::Head,
                    };
                }
                Requests::Head if self.up.held().is_empty() => return Ok(Asked::More),
                Requests::Head => {
                    let Some((request, judged)) = judgement::of(
                        &self.state,
                        self.port,
                        self.up.held(),
                        &mut self.scanned.0,
                        &mut self.patience,
                        context,
                    )?
                    else {
                        return Ok(Asked::More);
                    };
                    self.take(request, judged);
                }
            }
        }
    }

    /// A head is complete, and whose it is is known.
    fn take(&mut self, request: head::Request, judged: Judged) {
        self.scanned.0 = 0;
        self.patience = Patience::default();
        let Judged { stealer, mirrors, undecided, canary } = judged;
        if let Some(asked) = canary {
            self.requests = Requests::Canary(Canary { asked, port: self.port, length: request.length });
            return;
        }
        let mut copies = Copies::default();
        if !mirrors.is_empty() || !undecided.is_empty() {
            let head = &self.up.held()[..request.length];
            let form = Form { port: self.port, kind: request.kind };
            copies = self.mirrors.begin(mirrors, form, head);
            copies.decide_later(Undecided::new(undecided, &request, head), form, &self.mirrors);
        }
        if let Some(session) = stealer {
            self.requests = Requests::Matched(Matched { session, port: self.port, request, copies });
            return;
        }
        self.copies = copies;
        if self.last == Server::Preview {
            self.last = Server::Application;
        }
        self.up.clear(request.length);
        self.pending.push_back(request.kind);
        self.requests = match request.kind {
            Kind::Upgrade | Kind::Connect if request.framing.is_done() => Requests::Waiting,
            _ if request.framing.is_done() => {
                self.copies.end();
                Requests::Head
            }
            _ => Requests::Body(request.framing),
        };
    }

    fn poll_responses(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
        server: &mut TcpStream,
    ) -> Poll<io::Result<Side>> {
        loop {
            if self.last == Server::Gone {
                return Poll::Ready(Ok(Side::Waits));
            }
            let read = self.read_responses();
            self.is_tunnel = !matches!(read, Ok(Answered::More));
            ready!(self.down.poll_drain(context, client))?;
            match read {
                Err(Doubt) | Ok(Answered::Tunnel) => return Poll::Ready(Ok(Side::Stopped(Outcome::Tunnel))),
                Ok(Answered::More) => {}
            }
            let filled = match &mut self.response {
                Some((framing, _)) => framing.poll_fill(context, &mut self.down, server),
                None => self.down.poll_fill(context, server),
            };
            if self.last == Server::Preview {
                // Nobody has asked it for anything: it gives the connection up, in
                // whatever words, and the client has no part in that.
                let _ = ready!(filled);
                self.down.discard(self.down.held().len());
                let _ = Pin::new(&mut *server).poll_shutdown(context);
                self.last = Server::Gone;
                return Poll::Ready(Ok(Side::Waits));
            }
            if ready!(filled)? == 0 {
                let idle = self.is_between() && self.up.is_empty() && matches!(self.requests, Requests::Head);
                return Poll::Ready(Ok(Side::Stopped(if idle { Outcome::Over } else { Outcome::Tunnel })));
            }
        }
    }

    /// Clears what is whole or under way.
    fn read_responses(&mut self) -> Result<Answered, Doubt> {
        loop {
            if self.is_tunnel {
                return Ok(Answered::Tunnel);
            }
            if let Some((framing, persistence)) = &mut self.response {
                let length = framing.advance(self.down.held(), |_| {}).map_err(|_| Doubt)?;
                self.down.clear(length);
                if !framing.is_done() {
                    return Ok(Answered::More);
                }
                let persistence = *persistence;
                self.response = None;
                self.pending.pop_front();
                if persistence == Persistence::Closes {
                    // Nothing but the end can follow; whatever does is not for us to read.
                    return Ok(Answered::Tunnel);
                }
            }
            if self.down.held().is_empty() {
                return Ok(Answered::More);
            }
            // An answer that nobody asked for.
            let kind = *self.pending.front().ok_or(Doubt)?;
            let Some(response) = head::response(self.down.held(), &mut self.scanned.1, kind)? else {
                return Ok(Answered::More);
            };
            self.scanned.1 = 0;
            self.down.clear(response.length);
            match response.next {
                Next::AnotherHead => {}
                Next::Tunnel => return Ok(Answered::Tunnel),
                Next::Body(framing) => self.response = Some((framing, response.persistence)),
            }
        }
    }
}

enum Asked {
    More,
    Settled,
}

enum Answered {
    More,
    Tunnel,
}
