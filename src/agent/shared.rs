//! What every connection of the agent shares: the rules in force and what was
//! counted. Read without locks; a slow session can hold up nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use crate::traffic::filter::{Answer, Body};
use crate::traffic::judge::Session;
use crate::traffic::{Counts, Head, Judgement, Table};

/// Copies that may wait for one session's preview before copies are dropped.
const MAX_MIRROR_BYTES: usize = 4 * 1024 * 1024;

/// What each piece of a copy costs beside its bytes: bodies may come in pieces
/// of one byte.
const PIECE_BYTES: usize = 128;

/// The rules in force, with what is counted for each session.
pub(super) type Rules = Table<Arc<Counters>>;

/// One session of the rules.
pub(super) type ActiveSession = Arc<Session<Arc<Counters>>>;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    rules: ArcSwap<Rules>,
    /// Connections open now.
    pub(super) connections: AtomicUsize,
    /// Over the memory budget: new connections are tunnels.
    pub(super) over_memory_budget: AtomicBool,
    /// Told when there is no room for another connection.
    pub(super) exhausted: Notify,
    max_connections: usize,
}

/// One open connection.
pub(super) struct Open(Arc<Shared>);

/// What happened for one session. Kept across its snapshots.
#[derive(Debug, Default)]
pub(super) struct Counters {
    matched: AtomicU64,
    passed: AtomicU64,
    mirrored: AtomicU64,
    dropped: AtomicU64,
    unavailable: AtomicU64,
    last_matched_milliseconds: AtomicU64,
    lapses: AtomicU64,
    waiting_bytes: AtomicUsize,
}

/// A session that is asked again about a request whose body is not known yet,
/// and what is kept of that for its sake, within its budget.
pub(super) struct Pending {
    session: ActiveSession,
    taken: usize,
}

// === impl Shared ===

impl Shared {
    /// Of a process that may have so many connections at once.
    pub(super) fn new(max_connections: usize) -> Self {
        Self {
            rules: ArcSwap::from_pointee(Table::empty()),
            connections: AtomicUsize::new(0),
            over_memory_budget: AtomicBool::new(false),
            exhausted: Notify::new(),
            max_connections,
        }
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Puts other rules in force, for the next request head on.
    pub(super) fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Judges a request by what is known of its body. Nothing is counted yet.
    pub(super) fn judge(&self, port: u16, head: &Head<'_>, body: Body<'_>) -> Judgement<Arc<Counters>> {
        self.rules().judge(port, head, body)
    }

    /// Counts what is settled about a request as it goes on: once for each. Whoever
    /// is undecided is counted later.
    pub(super) fn count(&self, port: u16, head: &Head<'_>, judgement: &Judgement<Arc<Counters>>) {
        // The kubelet's probes are nobody's requests.
        if head.is_probe() {
            return;
        }
        let rules = self.rules();
        for session in rules.sessions().filter(|session| session.rules.preview_port(port).is_some()) {
            let is_meant = |one: &ActiveSession| Arc::ptr_eq(one, session);
            if judgement.stealer.as_ref().is_some_and(is_meant) {
                session.kept.matched();
            } else if !judgement.mirrors.iter().chain(&judgement.undecided).any(is_meant) {
                session.kept.passed();
            }
        }
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Relaxed);
        if self.is_full() {
            self.exhausted.notify_one();
        }
        Open(Arc::clone(self))
    }

    /// Whether there are as many connections as there is room for.
    pub(super) fn is_full(&self) -> bool {
        self.connections.load(Relaxed) >= self.max_connections
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

// === impl Counters ===

impl Counters {
    fn matched(&self) {
        self.matched.fetch_add(1, Relaxed);
        self.last_matched_milliseconds.store(super::clock::unix_milliseconds(), Relaxed);
    }

    /// A request was none of the session's.
    pub(super) fn passed(&self) {
        self.passed.fetch_add(1, Relaxed);
    }

    /// A preview got a copy.
    pub(super) fn mirrored(&self) {
        self.mirrored.fetch_add(1, Relaxed);
        self.last_matched_milliseconds.store(super::clock::unix_milliseconds(), Relaxed);
    }

    /// A copy was given up.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// A matched request got a 503.
    pub(super) fn unavailable(&self) {
        self.unavailable.fetch_add(1, Relaxed);
    }

    /// The capture let connections pass for a while.
    pub(super) fn lapsed(&self) {
        self.lapses.fetch_add(1, Relaxed);
    }

    /// Takes a piece of so many bytes out of the session's budget for copies, if
    /// it fits.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let bytes = bytes + PIECE_BYTES;
        let fits = |waiting: usize| Some(waiting + bytes).filter(|total| *total <= MAX_MIRROR_BYTES);
        self.waiting_bytes.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Gives it back.
    pub(super) fn release(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes + PIECE_BYTES, Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let last = self.last_matched_milliseconds.load(Relaxed);
        Counts {
            matched: self.matched.load(Relaxed),
            passed: self.passed.load(Relaxed),
            mirrored: self.mirrored.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            lapses: self.lapses.load(Relaxed),
            last_matched_milliseconds: Some(last).filter(|last| *last > 0),
        }
    }
}

// === impl Pending ===

impl Pending {
    /// A session that is to be asked again.
    pub(super) const fn new(session: ActiveSession) -> Self {
        Self { session, taken: 0 }
    }

    /// Keeps a piece of so many bytes of the request for it, if its budget has
    /// room for that. If not, it gets no copy.
    pub(super) fn keep(&mut self, bytes: usize) -> bool {
        let fits = self.session.kept.reserve(bytes);
        if fits {
            self.taken += bytes + PIECE_BYTES;
        } else {
            self.session.kept.dropped();
        }
        fits
    }

    /// Whether it wants a copy, now that no more will be known.
    pub(super) fn decide(self, head: &Head<'_>, body: Body<'_>) -> Option<ActiveSession> {
        let session = Arc::clone(&self.session);
        if session.rules.filter.judge(head, body) == Answer::Yes {
            return Some(session);
        }
        session.kept.passed();
        None
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.session.kept.waiting_bytes.fetch_sub(self.taken, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_for_small_pieces_too_and_comes_back_whole() {
        let counters = Counters::default();
        assert!(!counters.reserve(MAX_MIRROR_BYTES), "a piece costs more than its bytes");
        let pieces = (0..MAX_MIRROR_BYTES).take_while(|_| counters.reserve(1)).count();
        assert!((1_000..40_000).contains(&pieces), "{pieces}");
        (0..pieces).for_each(|_| counters.release(1));
        assert_eq!(counters.waiting_bytes.load(Relaxed), 0);
        assert!(counters.reserve(MAX_MIRROR_BYTES - PIECE_BYTES));
    }
}
