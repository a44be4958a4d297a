//! A request that some mirror may want, once its body is known. The request
//! goes on meanwhile: what went is kept, as long as a filter would look at it.

use std::sync::Arc;

use super::framing::Framing;
use super::head::{self, Kind};
use super::judgement::{asked, is_too_long};
use crate::agent::state::{State, Stealer};
use crate::traffic::filter::Body;

pub(in crate::agent) struct Undecided {
    state: Arc<State>,
    port: u16,
    kind: Kind,
    head: Vec<u8>,
    framing: Framing,
    /// Of the body, as it came.
    body: Vec<u8>,
    /// Its content: without what chunks have around theirs.
    content: Vec<u8>,
}

// === impl Undecided ===

impl Undecided {
    /// A request with this head.
    pub(super) fn new(state: &Arc<State>, port: u16, request: &head::Request, head: &[u8]) -> Self {
        Self {
            state: Arc::clone(state),
            port,
            kind: request.kind,
            head: head.to_vec(),
            framing: request.framing,
            body: Vec::new(),
            content: Vec::new(),
        }
    }

    /// The application's port.
    pub(in crate::agent) const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection stays what it is behind this request.
    pub(in crate::agent) const fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Head)
    }

    /// Whether its response has no body whatever it says.
    pub(in crate::agent) const fn is_head(&self) -> bool {
        matches!(self.kind, Kind::Head)
    }

    /// The head, and what has come of the body.
    pub(in crate::agent) fn so_far(&self) -> (&[u8], &[u8]) {
        (&self.head, &self.body)
    }

    /// More of the body has come; whether filters would still look at it.
    pub(in crate::agent) fn goes_on(&mut self, bytes: &[u8]) -> bool {
        self.body.extend_from_slice(bytes);
        let read = self.framing.advance(bytes, |piece| self.content.extend_from_slice(piece));
        read.is_ok() && !is_too_long(&self.framing, self.content.len(), self.body.len())
    }

    /// The sessions that want a copy of it, now that no more will be known.
    pub(in crate::agent) fn decide(&self) -> Vec<Stealer> {
        let body = if self.framing.is_done() { Body::Whole(&self.content) } else { Body::Unknown };
        let judged = head::request(&self.head, &mut 0, |_, parsed| {
            self.state.judge(self.port, &asked(parsed), body).mirrors
        });
        // It was a head before.
        judged.ok().flatten().map(|(_, mirrors)| mirrors).unwrap_or_default()
    }
}
