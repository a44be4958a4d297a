//! Which sessions a request belongs to: at most one steals it, any number mirror
//! it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::filter::{Answer, Body};
use super::{Head, Mode, Refusal, Rules};

/// The sessions of one target, in the order in which their filters are asked. `T`
/// is the agent's own data for each session.
#[derive(Clone, Debug)]
pub struct Table<T> {
    sessions: Vec<Arc<Session<T>>>,
}

/// One session: its rules, and the agent's own data for it.
#[derive(Debug)]
pub struct Session<T> {
    /// Its rules.
    pub rules: Rules,
    /// The agent's own data.
    pub kept: T,
}

/// The agent's own data of a session, as far as judgements concern it: it may limit how
/// long the session's filter takes.
pub trait Meter {
    /// Runs one judgement of the session with `rules`, and passes it a function that says
    /// whether it has taken too long.
    fn measure(&self, rules: &Rules, judge: impl FnOnce(&dyn Fn() -> bool) -> Answer) -> Answer;
}

/// The sessions that a request belongs to.
#[derive(Clone, Debug)]
pub struct Judgement<T> {
    /// The one session whose preview answers the request instead of the application.
    pub stealer: Option<Arc<Session<T>>>,
    /// The sessions whose previews get a copy.
    pub mirrors: Vec<Arc<Session<T>>>,
    /// The sessions whose filters need the body to decide.
    pub undecided: Vec<Arc<Session<T>>>,
}

// === impl Meter ===

/// Without limit.
impl Meter for () {
    fn measure(&self, _: &Rules, judge: impl FnOnce(&dyn Fn() -> bool) -> Answer) -> Answer {
        judge(&|| false)
    }
}

// === impl Session ===

impl<T: Meter> Session<T> {
    /// The answer of the session's filter.
    pub fn judge(&self, head: &Head<'_>, body: Body<'_>) -> Answer {
        self.kept.measure(&self.rules, |is_over| self.rules.filter.judge(head, body, is_over))
    }
}

// === impl Table ===

impl<T> Table<T> {
    /// A table without sessions: every request belongs to the application.
    pub const fn empty() -> Self {
        Self { sessions: Vec::new() }
    }

    /// The sessions, in the order in which their filters are asked.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session<T>>> {
        self.sessions.iter()
    }

    /// The session with this identifier.
    pub fn get(&self, session: &str) -> Option<&Arc<Session<T>>> {
        self.sessions.iter().find(|candidate| candidate.rules.session == session)
    }

    /// The table with this session, in place of its older rules where it is known.
    /// Refused are rules of an older generation, and those that conflict with
    /// another session's.
    pub fn with(&self, session: Session<T>) -> Result<Self, Refusal> {
        let rules = &session.rules;
        let refusal = |why, conflicting_key, newer_generation| Refusal {
            session: Some(rules.session.clone()),
            why,
            conflicting_key,
            newer_generation,
        };
        if let Some(known) = self.get(&rules.session)
            && known.rules.generation > rules.generation
        {
            let (known, sent) = (known.rules.generation, rules.generation);
            let why = format!("generation {sent} is older than {known}, which is in force");
            return Err(refusal(why, None, Some(known)));
        }
        if let Some(other) = self.sessions.iter().find(|other| other.rules.conflicts_with(rules)) {
            let key = other.rules.key.clone();
            let why = format!("the key `{key}` already steals these requests");
            return Err(refusal(why, Some(key), None));
        }
        let mut table = self.without(&rules.session);
        table.sessions.push(Arc::new(session));
        table.sort();
        Ok(table)
    }

    /// The oldest key first. Of the sessions of one key the newest first: it
    /// replaces the others.
    fn sort(&mut self) {
        let mut begun = BTreeMap::new();
        for Rules { key, order, .. } in self.sessions.iter().map(|session| &session.rules) {
            let first: &mut u64 = begun.entry(key.clone()).or_insert(*order);
            *first = (*first).min(*order);
        }
        self.sessions.sort_by_cached_key(|session| {
            let Rules { key, order, session, .. } = &session.rules;
            (begun.get(key).copied(), key.clone(), Reverse(*order), session.clone())
        });
    }

    /// The table without this session.
    #[must_use]
    pub fn without(&self, session: &str) -> Self {
        let stays = |candidate: &&Arc<Session<T>>| candidate.rules.session != session;
        Self { sessions: self.sessions.iter().filter(stays).cloned().collect() }
    }

    /// The application's ports that any session names, in order, each once.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> =
            self.sessions.iter().flat_map(|session| &session.rules.ports).map(|port| port.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Judges a request to `port` of the application. Probes of the kubelet belong
    /// to no session.
    pub fn judge(&self, port: u16, head: &Head<'_>, body: Body<'_>) -> Judgement<T>
    where
        T: Meter,
    {
        let mut judgement = Judgement { stealer: None, mirrors: Vec::new(), undecided: Vec::new() };
        if self.sessions.is_empty() || head.is_probe() {
            return judgement;
        }
        for session in &self.sessions {
            if session.rules.preview_port(port).is_none() {
                continue;
            }
            let decided = judgement.stealer.is_some() && session.rules.mode == Mode::Steal;
            if decided {
                continue;
            }
            match (session.judge(head, body), session.rules.mode) {
                (Answer::No, _) => {}
                (Answer::Body, _) => judgement.undecided.push(Arc::clone(session)),
                (Answer::Yes, Mode::Steal) => judgement.stealer = Some(Arc::clone(session)),
                (Answer::Yes, Mode::Mirror) => judgement.mirrors.push(Arc::clone(session)),
            }
        }
        judgement
    }
}

// === impl Judgement ===

impl<T> Judgement<T> {
    /// Whether no session gets the request or a copy of it.
    pub fn is_unmatched(&self) -> bool {
        self.stealer.is_none() && self.mirrors.is_empty()
    }

    /// Whether the request has to be held back until its body is known: the body
    /// decides who answers, not only who gets a copy.
    pub fn is_worth_waiting(&self) -> bool {
        self.undecided.iter().any(|session| session.rules.mode == Mode::Steal)
    }

    /// Ends the wait for the body: undecided sessions that would steal the request
    /// do not get it.
    pub fn wait_no_longer(&mut self) {
        self.undecided.retain(|session| session.rules.mode == Mode::Mirror);
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;
    use serde_json::{Value, json};

    use super::*;
    use crate::traffic::fixture;

    fn rules(session: &str, since: u64, mode: &str, filter: &Value) -> Session<()> {
        let key = format!("key-{session}");
        let changes = json!({"session": session, "key": key, "order": since, "mode": mode, "filter": filter});
        Session { rules: fixture::rules(&changes), kept: () }
    }

    fn judged(table: &Table<()>, port: u16, headers: &[Header<'_>]) -> (Option<String>, Vec<String>) {
        let head = Head { method: "GET", target: "/", authority: None, headers };
        let judgement = table.judge(port, &head, Body::Unread);
        assert!(judgement.undecided.is_empty());
        (
            judgement.stealer.map(|session| session.rules.session.clone()),
            judgement.mirrors.iter().map(|session| session.rules.session.clone()).collect(),
        )
    }

    #[test]
    fn the_oldest_of_several_stealers_gets_the_request_and_every_mirror_a_copy() {
        let table = Table::empty()
            .with(rules("b", 20, "steal", &json!({"path": "^/"})))
            .and_then(|table| table.with(rules("a", 30, "steal", &json!({"method": "get"}))))
            .and_then(|table| table.with(rules("m", 10, "mirror", &json!({"path": "/"}))))
            .and_then(|table| table.with(rules("n", 40, "mirror", &json!({"path": "/"}))))
            .unwrap();
        let mirrors = vec!["m".to_owned(), "n".to_owned()];
        assert_eq!(judged(&table, 80, &[]), (Some("b".to_owned()), mirrors.clone()));
        assert_eq!(judged(&table.without("b"), 80, &[]), (Some("a".to_owned()), mirrors));
        assert_eq!(judged(&table, 81, &[]), (None, vec![]));
        assert_eq!(table.ports(), [80]);
    }

    #[test]
    fn the_newest_session_of_a_key_comes_first_and_the_key_keeps_its_age() {
        let keyed = |session: &str, since, key: &str, filter: Value| {
            let mut made = rules(session, since, "steal", &filter);
            made.rules.key = key.to_owned();
            made
        };
        let table = Table::empty()
            .with(keyed("a", 10, "pr-1", json!({"path": "/"})))
            .and_then(|table| table.with(keyed("b", 20, "pr-2", json!({"path": "^/"}))))
            .and_then(|table| table.with(keyed("c", 30, "pr-1", json!({"path": "/"}))))
            .unwrap();
        assert_eq!(judged(&table, 80, &[]).0.as_deref(), Some("c"), "it replaces `a`, older than `pr-2`");
        assert_eq!(judged(&table.without("c"), 80, &[]).0.as_deref(), Some("a"));
    }

    #[test]
    fn a_probe_belongs_to_no_session() {
        let table = Table::empty().with(rules("a", 1, "steal", &json!({"path": "."}))).unwrap();
        let probe = [Header { name: "user-agent", value: b"kube-probe/1.34" }];
        assert_eq!(judged(&table, 80, &probe), (None, vec![]));
        assert_eq!(judged(&table, 80, &[]).0.as_deref(), Some("a"));
    }

    #[test]
    fn an_equal_filter_of_another_key_is_refused_and_that_key_is_named() {
        let filter = json!({"header": "x-user: ann"});
        let table = Table::empty().with(rules("a", 1, "steal", &filter)).unwrap();
        let refusal = table.with(rules("b", 2, "steal", &filter)).unwrap_err();
        assert_eq!(refusal.conflicting_key.as_deref(), Some("key-a"));
        assert!(table.with(rules("b", 2, "mirror", &filter)).is_ok());
        let mut successor = rules("b", 2, "steal", &filter);
        successor.rules.key = "key-a".to_owned();
        assert!(table.with(successor).is_ok(), "the same key replaces, it does not conflict");
    }

    #[test]
    fn an_older_generation_never_replaces_a_newer_one() {
        let mut newer = rules("a", 1, "steal", &json!({"path": "new"}));
        newer.rules.generation = 2;
        let table = Table::empty().with(newer).unwrap();
        let refusal = table.with(rules("a", 1, "steal", &json!({"path": "old"}))).unwrap_err();
        assert_eq!(refusal.newer_generation, Some(2));
        assert!(table.get("a").is_some_and(|session| session.rules.generation == 2));
    }

    #[test]
    fn a_body_is_needed_only_where_every_other_condition_matched() {
        let filter =
            json!({"all_of": [{"body": {"query": "$.user", "matches": "^ann$"}}, {"method": "POST"}]});
        let table = Table::empty().with(rules("a", 1, "steal", &filter)).unwrap();
        let post = Head { method: "post", target: "/", authority: None, headers: &[] };
        assert!(table.judge(80, &Head { method: "GET", ..post }, Body::Unread).undecided.is_empty());
        assert!(table.judge(80, &post, Body::Unread).is_worth_waiting());
        let with = |body| table.judge(80, &post, body).stealer.is_some();
        assert!(with(Body::Whole(br#"{"user":"ann"}"#)));
        assert!(!with(Body::Whole(br#"{"user":"anna"}"#)));
        assert!(!with(Body::Whole(b"user=ann")));
        assert!(!with(Body::Unknown));
    }
}
