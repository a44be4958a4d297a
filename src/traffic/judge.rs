//! Whose a request is: at most one session steals it, any number mirror it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::filter::{Answer, Body};
use super::{Head, Mode, Refusal, Rules};

/// The sessions of one target, in the order in which they are asked. `T` is what the agent keeps per
/// session beside its rules.
#[derive(Clone, Debug)]
pub struct Table<T> {
    sessions: Vec<Arc<Session<T>>>,
}

/// One session: its rules, and what is kept beside them.
#[derive(Debug)]
pub struct Session<T> {
    /// What it asks for.
    pub rules: Rules,
    /// What is kept beside them.
    pub kept: T,
}

/// Whose a request is.
#[derive(Clone, Debug)]
pub struct Judgement<T> {
    /// The one session whose preview answers it instead of the application.
    pub stealer: Option<Arc<Session<T>>>,
    /// The sessions whose previews get a copy.
    pub mirrors: Vec<Arc<Session<T>>>,
    /// The sessions for which the head does not settle it: they want to know the body.
    pub undecided: Vec<Arc<Session<T>>>,
}

// === impl Table ===

impl<T> Table<T> {
    /// Nobody wants anything.
    pub const fn empty() -> Self {
        Self { sessions: Vec::new() }
    }

    /// The sessions, in the order in which they are asked.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session<T>>> {
        self.sessions.iter()
    }

    /// The session with this identifier.
    pub fn get(&self, session: &str) -> Option<&Arc<Session<T>>> {
        self.sessions.iter().find(|candidate| candidate.rules.session == session)
    }

    /// The table with this session added, or replaced by its newer snapshot.
    pub fn with(&self, session: Session<T>) -> Result<Self, Refusal> {
        let rules = &session.rules;
        let refusal =
            |why, conflicting_key| Refusal { session: Some(rules.session.clone()), why, conflicting_key };
        if let Some(known) = self.get(&rules.session)
            && known.rules.generation > rules.generation
        {
            let (known, sent) = (known.rules.generation, rules.generation);
            return Err(refusal(format!("generation {sent} is older than {known}, which is in force"), None));
        }
        if let Some(other) = self.sessions.iter().find(|other| other.rules.conflicts_with(rules)) {
            let key = other.rules.key.clone();
            return Err(refusal(format!("the key `{key}` already steals these requests"), Some(key)));
        }
        let mut table = self.without(&rules.session);
        table.sessions.push(Arc::new(session));
        table.sort();
        Ok(table)
    }

    /// Oldest key first; of one key's sessions the newest, which replaces the
    /// others, before them.
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

    /// The application's ports that a session wants, each once.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> =
            self.sessions.iter().flat_map(|session| &session.rules.ports).map(|port| port.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Judges a request that arrived for `port` of the application.
    pub fn judge(&self, port: u16, head: &Head<'_>, body: Body<'_>) -> Judgement<T> {
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
            match (session.rules.filter.judge(head, body), session.rules.mode) {
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
    /// Whether the request is the application's alone.
    pub fn is_unmatched(&self) -> bool {
        self.stealer.is_none() && self.mirrors.is_empty()
    }

    /// Whether the body is worth holding the request back for: it decides who
    /// answers it, not only who gets a copy.
    pub fn is_worth_waiting(&self) -> bool {
        self.undecided.iter().any(|session| session.rules.mode == Mode::Steal)
    }

    /// The request goes on before its body is known: nobody who wanted to know
    /// that steals it.
    pub fn wait_no_longer(&mut self) {
        self.undecided.retain(|session| session.rules.mode == Mode::Mirror);
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;
    use serde_json::{Value, json};

    use super::*;

    fn rules(session: &str, since: u64, mode: &str, filter: &Value) -> Session<()> {
        let rules = Rules::read(json!({
            "version": 1, "session": session, "generation": 1, "key": format!("key-{session}"),
            "order": since, "lease_seconds": 60, "mode": mode,
            "ports": [{"port": 80}], "filter": filter, "preview": [],
        }))
        .unwrap();
        Session { rules, kept: () }
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
    fn the_newest_session_of_a_key_gets_what_both_want_and_keeps_the_keys_place() {
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
    fn a_probe_is_nobodys() {
        let table = Table::empty().with(rules("a", 1, "steal", &json!({"path": "."}))).unwrap();
        let probe = [Header { name: "user-agent", value: b"kube-probe/1.34" }];
        assert_eq!(judged(&table, 80, &probe), (None, vec![]));
        assert_eq!(judged(&table, 80, &[]).0.as_deref(), Some("a"));
    }

    #[test]
    fn an_equal_filter_under_another_key_is_refused_with_that_key() {
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
        assert!(table.with(rules("a", 1, "steal", &json!({"path": "old"}))).is_err());
        assert!(table.get("a").is_some_and(|session| session.rules.generation == 2));
    }

    #[test]
    fn a_body_is_asked_for_only_where_the_rest_matched() {
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
