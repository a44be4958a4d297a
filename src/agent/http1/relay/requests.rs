//! The request half of a relay.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::exchanges::Exchanges;
use crate::agent::http1::canary::CanaryRequest;
use crate::agent::http1::copy::{self, CopiedRequest, Copies, Mirrors};
use crate::agent::http1::exchange::MatchedRequest;
use crate::agent::http1::framing::Framing;
use crate::agent::http1::head::{self, Doubt, RequestHead, RequestKind, filter_head};
use crate::agent::http1::judgement::{Judge, JudgedRequest};
use crate::agent::relay_buffer::RelayBuffer;
use crate::agent::shared::Shared;
use crate::traffic::{Judgement, canary};

/// From the client to the application, until a request goes elsewhere.
pub(super) struct Requests {
    pub(super) up: RelayBuffer,
    shared: Arc<Shared>,
    /// The application's port.
    port: u16,
    place: RequestPlace,
    judge: Judge,
    mirrors: Rc<Mirrors>,
    copies: Copies,
}

/// How far the client's requests have been read.
enum RequestPlace {
    /// Before or inside a head.
    Head,
    /// Inside a body.
    Body(Framing),
    /// Behind a head that asks for another protocol: the response decides what follows.
    AwaitsResponse,
    /// At a request that is not for the application.
    Taken(Taken),
    /// At bytes that can be read in two ways.
    Doubtful,
}

/// A request that is not for the application. Its head is still held.
pub(in crate::agent::http1) enum Taken {
    /// A session wants it.
    Matched(MatchedRequest),
    /// It is the keeper's canary.
    Canary(CanaryRequest),
}

/// How the request half goes on.
pub(super) enum Requested {
    /// Nothing to do until the response is there.
    Waits,
    /// The rest is to be carried unread.
    Tunnel,
    /// Bytes are for the application, which has no connection.
    Redial,
    /// The client has ended its side, and the application has no connection.
    Over,
}

/// Whether more bytes are needed to go on.
enum RequestRead {
    NeedsMore,
    /// No more is read before the responses so far have left.
    Settled,
}

// === impl Requests ===

impl Requests {
    /// For `port` of the application.
    pub(super) fn new(shared: Arc<Shared>, port: u16, up: RelayBuffer) -> Self {
        Self {
            up,
            shared,
            port,
            place: RequestPlace::Head,
            judge: Judge::default(),
            mirrors: Rc::default(),
            copies: Copies::default(),
        }
    }

    /// Continues after a request that went elsewhere.
    pub(super) fn resume(&mut self) {
        self.place = RequestPlace::Head;
    }

    /// Gives up the copies of a request under way: none of them can become whole.
    pub(super) fn give_up_copies(&mut self) {
        self.copies = Copies::default();
    }

    /// Whether nothing of a request has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.up.is_empty() && matches!(self.place, RequestPlace::Head)
    }

    /// The request that goes elsewhere, if the client has sent one. Only once all
    /// earlier responses have left.
    pub(super) fn take(&mut self) -> Option<Taken> {
        if !matches!(self.place, RequestPlace::Taken(_) | RequestPlace::AwaitsResponse) {
            return None;
        }
        match std::mem::replace(&mut self.place, RequestPlace::Head) {
            RequestPlace::Taken(taken) => Some(taken),
            // The application did not change the protocol: ordinary requests follow.
            _ => None,
        }
    }

    /// Whether the client's next bytes belong to a request that goes elsewhere.
    pub(super) const fn is_taken(&self) -> bool {
        matches!(self.place, RequestPlace::Taken(_))
    }

    /// Whether the body of a request is on its way.
    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.place, RequestPlace::Body(_))
    }

    /// The canary at the start of what is held, if there is one. For bytes that
    /// have not been judged.
    pub(super) fn held_canary(&self) -> Option<CanaryRequest> {
        if !matches!(self.place, RequestPlace::Head) || !self.up.is_drained() {
            return None;
        }
        let (rules, port) = (self.shared.rules(), self.port);
        let found = head::request(self.up.held(), &mut 0, |request, parsed| {
            let canary = canary::Judged::of(&rules, port, &filter_head(parsed))?;
            Some(CanaryRequest { canary, port, length: request.length })
        });
        found.ok().flatten()?.1
    }

    /// Carries the requests that have arrived.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
        mut server: Option<&mut TcpStream>,
        exchanges: &mut Exchanges,
    ) -> Poll<io::Result<Requested>> {
        loop {
            let read = self.read(context, exchanges);
            if server.is_none() && (read.is_err() || !self.up.is_drained()) {
                return Poll::Ready(Ok(Requested::Redial));
            }
            if read.is_err() {
                // The bytes must not be read again while earlier ones leave.
                self.place = RequestPlace::Doubtful;
            }
            if let Some(server) = server.as_deref_mut()
                && ready!(self.up.poll_drain(context, server)).is_err()
            {
                // The application reads no more; what it has sent is still carried.
                return Poll::Ready(Ok(Requested::Tunnel));
            }
            match read {
                Err(Doubt) => return Poll::Ready(Ok(Requested::Tunnel)),
                Ok(RequestRead::Settled) => return self.poll_client_gone(context, client),
                Ok(RequestRead::NeedsMore) => {}
            }
            let filled = match &mut self.place {
                // Copies need to see the bytes.
                RequestPlace::Body(framing) if !self.copies.are_wanted() => {
                    framing.poll_fill(context, &mut self.up, client)
                }
                _ => self.up.poll_fill(context, client),
            };
            if ready!(filled)? == 0 {
                return Poll::Ready(Ok(match server {
                    // The client sends no more requests: the rest needs no framing.
                    Some(_) => Requested::Tunnel,
                    None if self.up.is_empty() => Requested::Over,
                    // Half a request is for the application.
                    None => Requested::Redial,
                }));
            }
        }
    }

    /// Notices a client that goes away while nothing of it is read, so that the
    /// application can see it.
    fn poll_client_gone(
        &self,
        context: &mut Context<'_>,
        client: &mut TcpStream,
    ) -> Poll<io::Result<Requested>> {
        let peeked = match client.poll_peek(context, &mut ReadBuf::new(&mut [0])) {
            Poll::Ready(peeked) => Some(peeked?),
            Poll::Pending => None,
        };
        // Bytes behind the request must not reach the application before its response.
        let is_over =
            peeked == Some(0) && self.up.is_empty() && matches!(self.place, RequestPlace::AwaitsResponse);
        Poll::Ready(Ok(if is_over { Requested::Tunnel } else { Requested::Waits }))
    }

    /// Clears the bytes that are for the application.
    fn read(&mut self, context: &mut Context<'_>, exchanges: &mut Exchanges) -> Result<RequestRead, Doubt> {
        loop {
            match &mut self.place {
                RequestPlace::Taken(_) | RequestPlace::AwaitsResponse => return Ok(RequestRead::Settled),
                RequestPlace::Doubtful => return Err(Doubt),
                RequestPlace::Body(framing) => {
                    let held = self.up.held();
                    let length = framing.advance(held, |_| {}).map_err(|_| Doubt)?;
                    copy::body(&mut self.copies, &held[..length]);
                    self.up.clear(length);
                    if !framing.is_done() {
                        return Ok(RequestRead::NeedsMore);
                    }
                    self.copies.end(None);
                    self.place = match exchanges.pending.back() {
                        Some(RequestKind::Upgrade | RequestKind::Connect) => RequestPlace::AwaitsResponse,
                        _ => RequestPlace::Head,
                    };
                }
                RequestPlace::Head if self.up.held().is_empty() => return Ok(RequestRead::NeedsMore),
                RequestPlace::Head => {
                    let judged = self.judge.poll(&self.shared, self.port, self.up.held(), context)?;
                    let Some((head, judged)) = judged else { return Ok(RequestRead::NeedsMore) };
                    self.place = self.begin(head, judged, exchanges);
                }
            }
        }
    }

    /// Begins a request that has been judged.
    fn begin(&mut self, head: RequestHead, judged: JudgedRequest, exchanges: &mut Exchanges) -> RequestPlace {
        let judgement = match judged {
            JudgedRequest::Request(judgement) => judgement,
            JudgedRequest::Canary(canary) => {
                let canary = CanaryRequest { canary, port: self.port, length: head.length };
                return RequestPlace::Taken(Taken::Canary(canary));
            }
        };
        let Judgement { stealer, mirrors, undecided } = judgement;
        let mut copies = Copies::default();
        if !mirrors.is_empty() || !undecided.is_empty() {
            let bytes = Bytes::copy_from_slice(&self.up.held()[..head.length]);
            let original = CopiedRequest::new(Rc::clone(&self.mirrors), self.port, &head, bytes);
            copies = Copies::begin(mirrors, undecided, original);
        }
        if let Some(session) = stealer {
            let request = MatchedRequest { session, port: self.port, head, copies };
            return RequestPlace::Taken(Taken::Matched(request));
        }
        self.copies = copies;
        self.up.clear(head.length);
        exchanges.pending.push_back(head.kind);
        match head.kind {
            RequestKind::Upgrade | RequestKind::Connect if head.framing.is_done() => {
                RequestPlace::AwaitsResponse
            }
            _ if head.framing.is_done() => {
                self.copies.end(None);
                RequestPlace::Head
            }
            _ => RequestPlace::Body(head.framing),
        }
    }
}
