//! The canary: a request with which the keeper proves that keyed requests come
//! to the preview, and others to the application.
//!
//! It goes the way of every request, from pod to pod, and its head is judged
//! like every other. But the agent answers it itself, once it has reached the
//! port of the side that it would have gone to: no handler of anybody runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::filter::Body;
use super::judge::Session;
use super::{Head, Table};

/// The header that makes a request a canary: the secret of a session's rules.
pub const HEADER: &str = "x-mirrord-canary";

/// Behind the secret: never mind the filter, only say whether the preview can be reached.
pub const REACH: &str = " reach";

/// What the agent answers, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Whether the session would have taken the request, or a copy of it.
    pub matched: bool,
    /// The key that would have taken it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<String>,
    /// Why the chosen side's port could not be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<String>,
}

/// A canary that was recognised, and what the rules say of it.
#[derive(Debug)]
pub struct Asked<T> {
    /// The session that sent it.
    pub session: Arc<Session<T>>,
    /// What the rules say.
    pub found: Found,
    /// Whether the preview is to be reached, rather than the application alone.
    pub reach: bool,
}

// === impl Asked ===

impl<T> Asked<T> {
    /// Recognises a canary by its secret.
    pub fn of(table: &Table<T>, port: u16, head: &Head<'_>) -> Option<Self> {
        let value = head.values(HEADER).next()?;
        let (secret, reach) =
            value.strip_suffix(REACH.as_bytes()).map_or((value, false), |secret| (secret, true));
        let is_meant = |session: &&Arc<Session<T>>| {
            session.rules.canary.as_ref().is_some_and(|canary| canary.as_bytes() == secret)
        };
        let session = table.sessions().find(is_meant)?;
        // A canary has no body; what only a body could decide, it does not decide.
        let judgement = table.judge(port, head, Body::Unknown);
        let is_this = |one: &Arc<Session<T>>| Arc::ptr_eq(one, session);
        let matched = judgement.stealer.iter().chain(&judgement.mirrors).any(is_this);
        // What another session steals is copied all the same.
        let taken_by = judgement.stealer.as_ref().filter(|one| !matched && !is_this(one));
        let found =
            Found { matched, taken_by: taken_by.map(|other| other.rules.key.clone()), unreached: None };
        Some(Self { session: Arc::clone(session), reach: reach || found.matched, found })
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;
    use serde_json::json;

    use super::*;
    use crate::traffic::Rules;

    fn table() -> Table<()> {
        let session = |name: &str, since: u64, path: &str| {
            let rules = Rules::read(json!({
                "version": 1, "session": name, "generation": 1, "key": format!("key-{name}"), "order": since,
                "lease_seconds": 60, "mode": "steal", "ports": [{"port": 80}], "filter": {"path": path}, "preview": [],
                "canary": format!("secret-{name}"),
            }));
            Session { rules: rules.unwrap(), kept: () }
        };
        Table::empty()
            .with(session("a", 1, "^/a"))
            .and_then(|table| table.with(session("b", 2, "^/")))
            .unwrap()
    }

    #[test]
    fn a_canary_learns_what_every_request_like_it_would_meet() {
        let table = table();
        for (path, value, matched, taken_by, reach) in [
            ("/a", "secret-a", true, None, true),
            ("/x", "secret-a", false, Some("key-b"), false),
            ("/x", "secret-a reach", false, Some("key-b"), true),
            ("/a", "secret-b", false, Some("key-a"), false),
            ("/x", "secret-b", true, None, true),
        ] {
            let headers = [Header { name: "X-Mirrord-Canary", value: value.as_bytes() }];
            let head = Head { method: "GET", target: path, authority: None, headers: &headers };
            let asked = Asked::of(&table, 80, &head).unwrap();
            assert_eq!(
                (asked.found.matched, asked.found.taken_by.as_deref(), asked.reach),
                (matched, taken_by, reach),
                "{path} {value}"
            );
        }
    }

    #[test]
    fn what_another_session_steals_is_mirrored_all_the_same() {
        let session = |name: &str, mode: &str| {
            let rules = Rules::read(json!({
                "version": 1, "session": name, "generation": 1, "key": format!("key-{name}"), "order": 1,
                "lease_seconds": 60, "mode": mode, "ports": [{"port": 80}], "filter": {"path": "^/"}, "preview": [],
                "canary": format!("secret-{name}"),
            }));
            Session { rules: rules.unwrap(), kept: () }
        };
        let table =
            Table::empty().with(session("a", "steal")).and_then(|table| table.with(session("b", "mirror")));
        let headers = [Header { name: "x-mirrord-canary", value: b"secret-b" }];
        let head = Head { method: "GET", target: "/", authority: None, headers: &headers };
        let found = Asked::of(&table.unwrap(), 80, &head).unwrap().found;
        assert_eq!(found, Found { matched: true, ..Found::default() });
    }

    #[test]
    fn without_the_secret_it_is_a_request_like_every_other() {
        let table = table();
        for headers in [&[][..], &[Header { name: "x-mirrord-canary", value: b"secret" }]] {
            let head = Head { method: "GET", target: "/", authority: None, headers };
            assert!(Asked::of(&table, 80, &head).is_none());
        }
    }
}
