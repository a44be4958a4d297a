//! The values that all connections share: the rules in force and the counters.
//! Connections read them without locks, so that a slow one delays no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use super::copy_budget::CopyBudget;
use super::filter_time::FilterTime;
use super::open_connections::OpenConnections;
use crate::traffic::filter::Body;
use crate::traffic::judge::Session;
use crate::traffic::{Counts, Head, Judgement, Table};

/// How long a request is held back for its body where a filter wants to see it.
/// After that, filters over its body do not match.
pub(super) const MAX_BODY_WAIT: Duration = Duration::from_secs(1);

/// The rules in force, with each session's counters.
pub(super) type Rules = Table<Arc<Counters>>;

/// A session whose rules are in force, for stealing or mirroring.
pub(super) type ActiveSession = Arc<Session<Arc<Counters>>>;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    rules: ArcSwap<Rules>,
    /// Open connections.
    pub(super) connections: Arc<OpenConnections>,
    /// Whether the process uses more memory than its budget. New connections are
    /// tunnels then.
    pub(super) over_memory_budget: AtomicBool,
    /// Notified when descriptors or source ports for another connection are lacking.
    pub(super) exhausted: Notify,
}

/// The counters of one session, which outlive each generation of its rules.
#[derive(Debug, Default)]
pub(super) struct Counters {
    matched: AtomicU64,
    passed: AtomicU64,
    beyond_bounds: AtomicU64,
    mirrored: AtomicU64,
    dropped: AtomicU64,
    unavailable: AtomicU64,
    last_matched_milliseconds: AtomicU64,
    lapses: AtomicU64,
    /// Suspends the session's filter if it is slow.
    pub(super) filter_time: FilterTime,
    /// For the copies that wait for the session's preview.
    pub(super) copy_budget: CopyBudget,
}

// === impl Shared ===

impl Shared {
    /// The state without rules, for at most `max_connections` at once.
    pub(super) fn new(max_connections: usize) -> Self {
        Self {
            rules: ArcSwap::from_pointee(Table::empty()),
            connections: Arc::new(OpenConnections::new(max_connections)),
            over_memory_budget: AtomicBool::new(false),
            exhausted: Notify::new(),
        }
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Puts other rules in force, from the next request head on.
    pub(super) fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Judges a request by the known part of its body, without counting it.
    pub(super) fn judge(&self, port: u16, head: &Head<'_>, body: Body<'_>) -> Judgement<Arc<Counters>> {
        self.rules().judge(port, head, body)
    }

    /// Counts a request for the sessions that have decided about it. The others count
    /// it when they decide.
    pub(super) fn count(&self, port: u16, head: &Head<'_>, judgement: &Judgement<Arc<Counters>>) {
        // The kubelet's probes do not count.
        if head.is_probe() {
            return;
        }
        let rules = self.rules();
        for session in rules.sessions().filter(|session| session.rules.preview_port(port).is_some()) {
            let is_session = |one: &ActiveSession| Arc::ptr_eq(one, session);
            if judgement.stealer.as_ref().is_some_and(is_session) {
                session.kept.matched();
            } else if !judgement.mirrors.iter().chain(&judgement.undecided).any(is_session) {
                session.kept.passed();
                if session.rules.filter.overlooks(head) {
                    session.kept.beyond_bounds.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

// === impl Counters ===

impl Counters {
    fn matched(&self) {
        self.matched.fetch_add(1, Relaxed);
        self.last_matched_milliseconds.store(super::clock::unix_milliseconds(), Relaxed);
    }

    /// A request did not match.
    pub(super) fn passed(&self) {
        self.passed.fetch_add(1, Relaxed);
    }

    /// A preview got a copy.
    pub(super) fn mirrored(&self) {
        self.mirrored.fetch_add(1, Relaxed);
        self.last_matched_milliseconds.store(super::clock::unix_milliseconds(), Relaxed);
    }

    /// A copy was abandoned.
    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// A matched request got a 503.
    pub(super) fn unavailable(&self) {
        self.unavailable.fetch_add(1, Relaxed);
    }

    /// New connections went to the application for a while.
    pub(super) fn lapsed(&self) {
        self.lapses.fetch_add(1, Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let last = self.last_matched_milliseconds.load(Relaxed);
        Counts {
            matched: self.matched.load(Relaxed),
            passed: self.passed.load(Relaxed),
            beyond_bounds: self.beyond_bounds.load(Relaxed),
            mirrored: self.mirrored.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            lapses: self.lapses.load(Relaxed),
            last_matched_milliseconds: Some(last).filter(|last| *last > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_of_which_a_filter_has_not_seen_all_are_counted() {
        let shared = Shared::new(1);
        let table = ["jq", "header", "baggage"].into_iter().fold(Rules::empty(), |table, kind| {
            let pattern = if kind == "jq" { r#"test("^x-user: ann$")"# } else { "^x-user: ann$" };
            let rules = crate::traffic::Rules::read(json!({
                "version": 1, "session": kind, "generation": 1, "key": kind, "order": 1, "lease_seconds": 60,
                "mode": "steal", "ports": [{"port": 80}], "preview": [], "filter": {kind: pattern},
            }));
            table.with(Session { rules: rules.unwrap(), kept: Arc::default() }).unwrap()
        });
        shared.set_rules(table);
        let line = Header { name: "a", value: b"" };
        for headers in [vec![line; 3], vec![line; 30_000]] {
            let head = Head { method: "GET", target: "/", authority: None, headers: &headers };
            let judgement = shared.judge(80, &head, Body::Unread);
            assert!(judgement.stealer.is_none());
            shared.count(80, &head, &judgement);
        }
        for (kind, beyond_bounds) in [("jq", 1), ("header", 1), ("baggage", 0)] {
            let counts = shared.rules().get(kind).unwrap().kept.counts();
            assert_eq!((counts.passed, counts.beyond_bounds), (2, beyond_bounds), "{kind}");
        }
    }
}
