//! A request that some mirrors may want, once its body is known. The request
//! goes on meanwhile: what went is kept, as long as a filter would look at it
//! and the sessions' budgets have room for it.

use super::framing::Framing;
use super::head::{self, RequestHead};
use super::judgement::{filter_head, is_too_long};
use crate::agent::shared::{ActiveSession, Pending};
use crate::traffic::filter::Body;

pub(super) struct Undecided {
    sessions: Vec<Pending>,
    head: Vec<u8>,
    /// Where the body ends, seen from its beginning.
    framing: Framing,
    /// What is left of it.
    rest: Framing,
    /// Of the body, as it came.
    body: Vec<u8>,
    /// How much of that is content: not what chunks have around theirs.
    content: usize,
}

// === impl Undecided ===

impl Undecided {
    /// A request with this head, which these sessions may want.
    pub(super) fn new(sessions: Vec<ActiveSession>, request: &RequestHead, head: &[u8]) -> Self {
        let mut sessions: Vec<_> = sessions.into_iter().map(Pending::new).collect();
        sessions.retain_mut(|session| session.keep(head.len()));
        let framing = request.framing;
        Self { sessions, head: head.to_vec(), framing, rest: framing, body: Vec::new(), content: 0 }
    }

    /// Whether nobody may want it any more.
    pub(super) const fn is_nobodys(&self) -> bool {
        self.sessions.is_empty()
    }

    /// More of the body has come; whether anybody would still look at it.
    pub(super) fn goes_on(&mut self, bytes: &[u8]) -> bool {
        self.sessions.retain_mut(|session| session.keep(bytes.len()));
        self.body.extend_from_slice(bytes);
        // What cannot be read ends the connection's framing elsewhere.
        let _ = self.rest.advance(bytes, |piece| self.content += piece.len());
        !self.sessions.is_empty() && !self.is_too_long()
    }

    /// The sessions that want a copy, now that no more will be known, of this
    /// head and what has come of the body.
    pub(super) fn decide(self) -> (Vec<ActiveSession>, Vec<u8>, Vec<u8>) {
        let mut content = Vec::with_capacity(self.content);
        let is_whole = self.rest.is_done() && !self.is_too_long();
        if is_whole {
            let _ = { self.framing }.advance(&self.body, |piece| content.extend_from_slice(piece));
        }
        let body = if is_whole { Body::Whole(&content) } else { Body::Unknown };
        let wanting = head::request(&self.head, &mut 0, |_, parsed| {
            let head = filter_head(parsed);
            self.sessions.into_iter().filter_map(|session| session.decide(&head, body)).collect()
        });
        // It was a head before.
        let wanting = wanting.ok().flatten().map(|(_, wanting)| wanting).unwrap_or_default();
        (wanting, self.head, self.body)
    }

    fn is_too_long(&self) -> bool {
        is_too_long(&self.framing, self.content, self.body.len())
    }
}
