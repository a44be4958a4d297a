//! The rules of one session for one target, in the form in which they travel.
//!
//! A full snapshot each time, never a change to an earlier one. What an agent
//! does not understand entirely it does not take: a restriction that a newer
//! keeper adds must never be skipped by an older agent.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Filter;

/// The version of this form. Raised when a change would mislead a reader.
pub const VERSION: u32 = 1;

/// What a session asks of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// [`VERSION`].
    pub version: u32,
    /// The session's identifier.
    pub session: String,
    /// Counts the snapshots of this session: an older one never replaces a newer.
    pub generation: u64,
    /// The key, for messages to people.
    pub key: String,
    /// The session's place in time, lower for older ones: the oldest key that
    /// wants a request gets it.
    pub order: u64,
    /// For how long the rules hold unless they are sent again.
    pub lease_seconds: u64,
    /// What happens to a request that matches.
    pub mode: Mode,
    /// The ports of the application.
    pub ports: Vec<Port>,
    /// Which requests match.
    pub filter: Filter,
    /// Where the preview pods answer; empty while there is none, and then a
    /// matched request gets a 503.
    pub preview: Vec<IpAddr>,
    /// What a request must carry in [`super::canary::HEADER`] for the agent to
    /// answer it itself. Known to the keeper that made it up, and to the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Close connections of the application that are older than the capture,
    /// idle ones first, so that their clients' next requests are judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// Whether another key may want the same, rather than be in the way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yields: bool,
}

/// What happens to a request that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The preview answers it instead of the application.
    Steal,
    /// The application answers it, the preview gets a copy.
    Mirror,
}

/// A port of the application, and the preview's for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Where the application listens.
    pub port: u16,
    /// Where the preview listens, if not on the same port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_port: Option<u16>,
}

/// Why an agent took none of a session's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The session, where its name could be read.
    pub session: Option<String>,
    /// Why, for people.
    pub why: String,
    /// The key of the session that is in the way, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicting_key: Option<String>,
}

// === impl Mode ===

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Steal => "steal",
            Self::Mirror => "mirror",
        })
    }
}

// === impl Rules ===

impl Rules {
    /// Reads rules off the wire: all of them, or none and why.
    pub fn read(value: Value) -> Result<Self, Refusal> {
        let session = value.get("session").and_then(Value::as_str).map(str::to_owned);
        let refusal = |why: String| Refusal { session: session.clone(), why, conflicting_key: None };
        let version = value.get("version").and_then(Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let theirs = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            return Err(refusal(format!(
                "this agent understands version {VERSION} of the rules, not {theirs}"
            )));
        }
        let rules: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| refusal(format!("the rules are not understood: {error}")))?;
        if rules.ports.is_empty() {
            return Err(refusal("the rules name no port".to_owned()));
        }
        Ok(rules)
    }

    /// The preview's port for `port` of the application, if the session wants it.
    pub fn preview_port(&self, port: u16) -> Option<u16> {
        let found = self.ports.iter().find(|candidate| candidate.port == port)?;
        Some(found.preview_port.unwrap_or(port))
    }

    /// Whether two sessions would steal the same requests. Only equal filters
    /// can be told to; where others overlap, the older session wins.
    ///
    /// The same key twice is no conflict: one replaces the other.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.session != other.session
            && self.key != other.key
            && !self.yields
            && !other.yields
            && self.mode == Mode::Steal
            && other.mode == Mode::Steal
            && self.filter == other.filter
            && self.ports.iter().any(|port| other.preview_port(port.port).is_some())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Value {
        json!({
            "version": 1, "session": "s1", "generation": 3, "key": "pr-1",
            "order": 1, "lease_seconds": 60, "mode": "steal",
            "ports": [{"port": 80}, {"port": 81, "preview_port": 8081}],
            "filter": {"all_of": [{"method": "post"}, {"body": {"query": "$.a", "matches": "^b$"}}]},
            "preview": ["10.0.0.7", "fd00::7"],
        })
    }

    #[test]
    fn rules_cross_the_wire_unchanged() {
        let read = Rules::read(rules()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), rules());
        assert_eq!(
            (read.preview_port(80), read.preview_port(81), read.preview_port(82)),
            (Some(80), Some(8081), None)
        );
    }

    #[test]
    fn rules_not_understood_entirely_are_refused_with_the_session_and_the_reason() {
        for (path, value, why) in [
            ("/version", json!(2), "version 1 of the rules, not 2"),
            ("/filter", json!({"moon_phase": "full"}), "moon_phase"),
            ("/filter", json!({"header": "("}), "no regular expression"),
            ("/filter", json!({"any_of": []}), "at least one"),
            ("/filter", json!({"any_of": [{"all_of": [{"path": "x"}]}]}), "lists themselves"),
            ("/filter", json!({"header": ""}), "empty pattern"),
            ("/mode", json!("replay"), "replay"),
            ("/ports", json!([]), "no port"),
            ("/ports", json!([{"port": 70000}]), "ports[0].port"),
        ] {
            let mut wire = rules();
            *wire.pointer_mut(path).unwrap() = value;
            let refusal = Rules::read(wire).unwrap_err();
            assert_eq!(refusal.session.as_deref(), Some("s1"));
            assert!(refusal.why.contains(why), "{why}: {}", refusal.why);
        }
        let mut wire = rules();
        wire["percentage"] = json!(10);
        assert!(Rules::read(wire).unwrap_err().why.contains("percentage"));
    }
}
