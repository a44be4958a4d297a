//! Copies of requests for sessions that mirror, in both protocols. The original
//! never waits for a copy: a copy that does not fit into its session's budget of
//! bytes is given up, and counted.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use http::HeaderMap;

use super::copy_budget::Reservation;
use super::shared::ActiveSession;
use crate::traffic::Head;
use crate::traffic::filter::{Answer, Body};

/// A request that is copied, in one of the protocols.
pub(super) trait Original {
    /// Carries one copy of it.
    type Carrier: Carrier;

    /// Whether it can be copied: an upgrade turns the connection into something else.
    fn can_be_copied(&self) -> bool;

    /// About how many bytes its head takes.
    fn head_bytes(&self) -> usize;

    /// Gives `look` its head as filters see it.
    fn with_filter_head<T>(&self, look: impl FnOnce(&Head<'_>) -> T) -> T;

    /// Notes that more of its body was received. Returns whether a filter would
    /// still look at the body.
    fn receive(&mut self, bytes: &[u8]) -> bool;

    /// The content of its whole body, which was received as `bytes`.
    fn content<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]>;

    /// Begins a copy with the head, for which this much of the budget is reserved.
    fn carry(&self, outcome: Rc<CopyOutcome>, head: Reservation) -> Self::Carrier;
}

/// Carries one copy to the preview. It never waits: bytes that it cannot send at
/// once, it keeps together with their reservation.
pub(super) trait Carrier {
    /// More of the body.
    fn body(&mut self, piece: Bytes, reservation: Reservation);

    /// The end of the request.
    fn end(&mut self, trailers: Option<&HeaderMap>);

    /// The copy is not going to be whole.
    fn give_up(&mut self);
}

/// The copies of one request.
pub(super) struct Copies<R: Original> {
    begun: Vec<Copy<R::Carrier>>,
    undecided: Option<Box<Undecided<R>>>,
}

/// Counts the result of one copy, exactly once. When it is dropped without a
/// result, the copy counts as dropped.
#[derive(Debug)]
pub(super) struct CopyOutcome {
    session: ActiveSession,
    is_counted: Cell<bool>,
}

struct Copy<C: Carrier> {
    session: ActiveSession,
    /// The carrier has the outcome: once it drops it, the copy is counted.
    outcome: Weak<CopyOutcome>,
    carrier: C,
    /// Whether more of the request is still to come.
    is_open: bool,
}

/// A request that sessions may want once its body is known. The original goes on
/// meanwhile: its bytes are kept, as long as a filter would look at them and the
/// sessions' budgets have room for them.
struct Undecided<R> {
    sessions: Vec<Pending>,
    original: R,
    body: Vec<u8>,
}

/// A session that decides once the body is known, and the bytes that are kept for it.
struct Pending {
    session: ActiveSession,
    kept: Reservation,
}

// === impl Copies ===

impl<R: Original> Default for Copies<R> {
    /// No copies.
    fn default() -> Self {
        Self { begun: Vec::new(), undecided: None }
    }
}

impl<R: Original> Copies<R> {
    /// Begins the copies for these mirrors. The undecided sessions are asked again
    /// when the body is known.
    pub(super) fn begin(mirrors: Vec<ActiveSession>, undecided: Vec<ActiveSession>, original: R) -> Self {
        let begun = begin(mirrors, &original);
        let bytes = original.head_bytes();
        let sessions: Vec<_> = undecided.into_iter().filter_map(|one| Pending::new(one, bytes)).collect();
        let undecided =
            (!sessions.is_empty()).then(|| Box::new(Undecided { sessions, original, body: Vec::new() }));
        Self { begun, undecided }
    }

    /// Whether a session still wants the rest of the request.
    pub(super) fn are_wanted(&self) -> bool {
        self.undecided.is_some() || self.begun.iter().any(|copy| copy.is_open)
    }

    /// Copies more of the body. `owned` is called at most once.
    pub(super) fn body(&mut self, bytes: &[u8], owned: impl FnOnce() -> Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut open = self.begun.iter_mut().filter(|copy| copy.is_open).peekable();
        if open.peek().is_some() {
            let piece = owned();
            for copy in open {
                copy.body(&piece);
            }
        }
        if let Some(undecided) = &mut self.undecided
            && !undecided.receive(bytes)
        {
            self.decide(false);
        }
    }

    /// The request is whole.
    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) {
        self.decide(true);
        for copy in self.begun.iter_mut().filter(|copy| copy.is_open) {
            copy.is_open = false;
            copy.carrier.end(trailers);
        }
    }

    /// Begins copies with the bytes so far for the undecided sessions that want one.
    fn decide(&mut self, is_whole: bool) {
        let Some(undecided) = self.undecided.take() else { return };
        let (wanting, original, body) = undecided.decide(is_whole);
        let mut begun = begin(wanting, &original);
        if !body.is_empty() {
            let body = Bytes::from(body.into_boxed_slice());
            for copy in &mut begun {
                copy.body(&body);
            }
        }
        self.begun.append(&mut begun);
    }
}

impl<R: Original> Drop for Copies<R> {
    fn drop(&mut self) {
        // The request broke off before its body was known: a session that wants it
        // regardless of its body gets no half request.
        if let Some(undecided) = self.undecided.take() {
            undecided.decide(false).0.iter().for_each(|session| session.kept.dropped());
        }
    }
}

fn begin<R: Original>(sessions: Vec<ActiveSession>, original: &R) -> Vec<Copy<R::Carrier>> {
    let copy = |session: ActiveSession| {
        // Where no copy begins, this counts as dropped.
        let outcome = CopyOutcome { session: session.clone(), is_counted: Cell::new(false) };
        if !original.can_be_copied() || session.rules.preview.is_empty() {
            return None;
        }
        let head = session.kept.copy_budget.reserve(original.head_bytes())?;
        let outcome = Rc::new(outcome);
        let weak = Rc::downgrade(&outcome);
        Some(Copy { session, outcome: weak, carrier: original.carry(outcome, head), is_open: true })
    };
    sessions.into_iter().filter_map(copy).collect()
}

// === impl CopyOutcome ===

impl CopyOutcome {
    /// The session whose preview gets the copy.
    pub(super) const fn session(&self) -> &ActiveSession {
        &self.session
    }

    /// The preview has the whole copy.
    pub(super) fn mirrored(&self) {
        if !self.is_counted.replace(true) {
            self.session.kept.mirrored();
        }
    }

    /// The preview does not get the whole copy.
    pub(super) fn dropped(&self) {
        if !self.is_counted.replace(true) {
            self.session.kept.dropped();
        }
    }
}

impl Drop for CopyOutcome {
    fn drop(&mut self) {
        self.dropped();
    }
}

// === impl Copy ===

impl<C: Carrier> Copy<C> {
    fn body(&mut self, piece: &Bytes) {
        match self.session.kept.copy_budget.reserve(piece.len()) {
            Some(reservation) => self.carrier.body(piece.clone(), reservation),
            None => self.give_up(),
        }
    }

    fn give_up(&mut self) {
        self.is_open = false;
        if let Some(outcome) = self.outcome.upgrade() {
            outcome.dropped();
        }
        self.carrier.give_up();
    }
}

impl<C: Carrier> Drop for Copy<C> {
    fn drop(&mut self) {
        // The connection broke, or became a tunnel, in the middle of the request.
        if self.is_open {
            self.give_up();
        }
    }
}

// === impl Undecided ===

impl<R: Original> Undecided<R> {
    /// Keeps more of the body. Returns whether a session would still look at it.
    fn receive(&mut self, bytes: &[u8]) -> bool {
        self.sessions.retain_mut(|session| session.keep(bytes.len()));
        self.body.extend_from_slice(bytes);
        self.original.receive(bytes) && !self.sessions.is_empty()
    }

    /// The sessions that want a copy, now that no more will be known, and the
    /// request as far as it was received.
    fn decide(self, is_whole: bool) -> (Vec<ActiveSession>, R, Vec<u8>) {
        let Self { sessions, original, body } = self;
        let content = is_whole.then(|| original.content(&body));
        let known = content.as_deref().map_or(Body::Unknown, Body::Whole);
        let wanting = original.with_filter_head(|head| {
            sessions.into_iter().filter_map(|session| session.decide(head, known)).collect()
        });
        drop(content);
        (wanting, original, body)
    }
}

// === impl Pending ===

impl Pending {
    /// `None`: the session's budget has no room for the head, and it gets no copy.
    fn new(session: ActiveSession, head_bytes: usize) -> Option<Self> {
        let kept = session.kept.copy_budget.reserve(head_bytes);
        if kept.is_none() {
            session.kept.dropped();
        }
        Some(Self { kept: kept?, session })
    }

    /// Reserves room for more of the request. Without room, it gets no copy.
    fn keep(&mut self, bytes: usize) -> bool {
        let fits = self.kept.extend(bytes);
        if !fits {
            self.session.kept.dropped();
        }
        fits
    }

    fn decide(self, head: &Head<'_>, body: Body<'_>) -> Option<ActiveSession> {
        if self.session.judge(head, body) == Answer::Yes {
            return Some(self.session);
        }
        self.session.kept.passed();
        None
    }
}
