//! The canary: a request with which the keeper proves that matching requests
//! reach the preview, and others the application.
//!
//! It is sent from pod to pod like every request, and its head is judged like
//! every other. But the agent answers it itself, after it has connected to the
//! port that the request would have gone to. The application gets no request, and
//! the preview only `OPTIONS *`, which servers answer without a handler.

use std::sync::Arc;

use httparse::Header;
use serde::{Deserialize, Serialize};

use super::filter::Body;
use super::judge::{Meter, Session};
use super::{Head, Table};

/// The header that makes a request a canary. Its value is the secret in the
/// session's rules.
pub const HEADER: &str = "x-mirrord-canary";

/// The header with the method and the target that a canary stands for, separated by a
/// space. On the wire every canary is `OPTIONS /`, which runs no handler wherever it
/// lands: an agent over its memory budget, for example, passes it on unread.
pub const REQUEST: &str = "x-mirrord-canary-request";

/// A word behind the secret: the agent tries to connect to the preview even where
/// the filter does not match.
pub const REACH: &str = " reach";

/// The agent's answer, as JSON in the body of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryAnswer {
    /// Whether the session would have taken the request, or a copy of it.
    pub matched: bool,
    /// The key that would have got the request instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_by: Option<String>,
    /// Why the agent could not connect to the port that the request would have gone
    /// to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<String>,
    /// Why a preview that accepts connections gives no answer to a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<String>,
    /// Whether the preview answers with something else than HTTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_foreign: bool,
}

/// A canary that was recognised, and how it was judged.
#[derive(Debug)]
pub struct Judged<T> {
    /// The session whose keeper sent it.
    pub session: Arc<Session<T>>,
    /// How it was judged.
    pub found: CanaryAnswer,
    /// Whether the agent tries to connect to the preview rather than to the
    /// application.
    pub reach: bool,
}

// === impl Judged ===

impl<T: Meter> Judged<T> {
    /// Recognises a canary by its secret and judges it; `None` for any other
    /// request.
    pub fn of(table: &Table<T>, port: u16, head: &Head<'_>) -> Option<Self> {
        let value = head.values(HEADER).next()?;
        let (secret, reach) =
            value.strip_suffix(REACH.as_bytes()).map_or((value, false), |secret| (secret, true));
        let is_meant = |session: &&Arc<Session<T>>| {
            session.rules.canary.as_ref().is_some_and(|canary| canary.as_bytes() == secret)
        };
        let session = table.sessions().find(is_meant)?;
        // Filters see the request that the canary stands for.
        let of_canary = |header: &&Header<'_>| {
            header.name.eq_ignore_ascii_case(HEADER) || header.name.eq_ignore_ascii_case(REQUEST)
        };
        let headers: Vec<Header<'_>> =
            head.headers.iter().filter(|header| !of_canary(header)).copied().collect();
        let request = head.values(REQUEST).next().and_then(|request| std::str::from_utf8(request).ok());
        let (method, target) =
            request.and_then(|request| request.split_once(' ')).unwrap_or((head.method, head.target));
        let head = Head { method, target, headers: &headers, ..*head };
        // A canary has no body, so a filter that needs one does not match.
        let judgement = table.judge(port, &head, Body::Unknown);
        let is_this = |one: &Arc<Session<T>>| Arc::ptr_eq(one, session);
        let matched = judgement.stealer.iter().chain(&judgement.mirrors).any(is_this);
        // A mirror gets its copy even where another session steals the request.
        let taken_by = judgement.stealer.as_ref().filter(|one| !matched && !is_this(one));
        let found = CanaryAnswer {
            matched,
            taken_by: taken_by.map(|other| other.rules.key.clone()),
            ..CanaryAnswer::default()
        };
        Some(Self { session: Arc::clone(session), reach: reach || found.matched, found })
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;
    use serde_json::json;

    use super::*;
    use crate::traffic::fixture;

    fn session(name: &str, order: u64, mode: &str, path: &str) -> Session<()> {
        let rules = fixture::rules(&json!({
            "session": name, "key": format!("key-{name}"), "order": order, "mode": mode,
            "filter": {"path": path}, "canary": format!("secret-{name}"),
        }));
        Session { rules, kept: () }
    }

    fn table() -> Table<()> {
        Table::empty()
            .with(session("a", 1, "steal", "^/a"))
            .and_then(|table| table.with(session("b", 2, "steal", "^/")))
            .unwrap()
    }

    #[test]
    fn a_canary_is_judged_like_the_request_that_it_stands_for() {
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
            let canary = Judged::of(&table, 80, &head).unwrap();
            assert_eq!(
                (canary.found.matched, canary.found.taken_by.as_deref(), canary.reach),
                (matched, taken_by, reach),
                "{path} {value}"
            );
        }
    }

    #[test]
    fn filters_see_the_method_and_the_target_that_a_canary_stands_for() {
        let filter = json!({"all_of": [{"method": "DELETE"}, {"path": "^/orders/1$"}]});
        let secret = Header { name: HEADER, value: b"secret" };
        let judged = |filter: &serde_json::Value, headers: &[Header<'_>]| {
            let rules = fixture::rules(&json!({"filter": filter, "canary": "secret"}));
            let table = Table::empty().with(Session { rules, kept: () }).unwrap();
            let head = Head { method: "OPTIONS", target: "/", authority: None, headers };
            Judged::of(&table, 80, &head).unwrap().found.matched
        };
        for (request, matched) in [
            ("DELETE /orders/1", true),
            ("DELETE /orders/1?a=b", true),
            ("GET /orders/1", false),
            ("DELETE", false),
        ] {
            let request = Header { name: REQUEST, value: request.as_bytes() };
            assert_eq!(judged(&filter, &[secret, request]), matched, "{request:?}");
        }
        assert!(!judged(&filter, &[secret]));
        let request = Header { name: REQUEST, value: b"GET /" };
        assert!(
            !judged(&json!({"header": "canary|secret"}), &[secret, request]),
            "its own headers are no sample"
        );
        let sample = Header { name: "x-mirrord-canary-sample", value: b"canary" };
        assert!(judged(&json!({"header": "canary"}), &[secret, sample]));
    }

    #[test]
    fn a_request_that_another_session_steals_is_mirrored_too() {
        let table = Table::empty()
            .with(session("a", 1, "steal", "^/"))
            .and_then(|table| table.with(session("b", 1, "mirror", "^/")));
        let headers = [Header { name: "x-mirrord-canary", value: b"secret-b" }];
        let head = Head { method: "GET", target: "/", authority: None, headers: &headers };
        let found = Judged::of(&table.unwrap(), 80, &head).unwrap().found;
        assert_eq!(found, CanaryAnswer { matched: true, ..CanaryAnswer::default() });
    }

    #[test]
    fn a_request_without_the_secret_is_not_a_canary() {
        let table = table();
        for headers in [&[][..], &[Header { name: "x-mirrord-canary", value: b"secret" }]] {
            let head = Head { method: "GET", target: "/", authority: None, headers };
            assert!(Judged::of(&table, 80, &head).is_none());
        }
    }
}
