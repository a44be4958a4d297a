//! The rules of one session for one target, in the form in which the keeper
//! sends them to agents.
//!
//! Each message holds all rules of the session, never a change to earlier ones.
//! An agent that does not understand a part of them refuses all of them: a
//! restriction that a newer keeper adds must never be skipped by an older agent.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Claim, Filter};

/// The version of this form.
///
/// Raise it when rules would still be parsed by an older agent, or older rules by
/// a newer agent, and mean something else there: a field that changes its
/// meaning, or a default that changes. A new field or a new kind of filter is
/// refused by agents that do not know it, and a field that may be absent keeps
/// older rules readable: neither needs a new version. Agent and keeper may differ
/// in age either way: all environments of a pod share the agent of the first.
pub const VERSION: u32 = 1;

/// The rules of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// [`VERSION`].
    pub version: u32,
    /// The session's identifier.
    pub session: String,
    /// Counts the changes of this session's rules: a lower one never replaces a
    /// higher one.
    pub generation: u64,
    /// The key, for messages to people.
    pub key: String,
    /// The order of sessions, lower for older ones: the oldest key that matches a
    /// request gets it.
    pub order: u64,
    /// How long the rules are in force, in seconds, unless they are renewed.
    pub lease_seconds: u64,
    /// What happens to a request that matches.
    pub mode: Mode,
    /// The ports of the application.
    pub ports: Vec<Port>,
    /// Which requests match.
    pub filter: Filter,
    /// The addresses of the preview pods. While there are none, a request that
    /// matches gets a 503.
    pub preview: Vec<IpAddr>,
    /// The secret that makes a request a canary, in [`super::canary::HEADER`]: the
    /// agent answers it itself. Only the keeper and the agent know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// Whether connections that are older than the capture are closed, idle ones
    /// first, so that the next requests of their clients are judged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// Whether another key may steal the same requests. Else the rules are refused
    /// where another key already does.
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

/// A port of the application, and the port of the preview for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The port at which the application listens.
    pub port: u16,
    /// The port at which the preview listens, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_port: Option<u16>,
}

/// Why an agent refused the rules of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The identifier of the session, where it could be read.
    pub session: Option<String>,
    /// Why, for people.
    pub why: String,
    /// The key that steals the same requests, where that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicting_key: Option<String>,
    /// The generation in force, where the reason is that the refused one is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_generation: Option<u64>,
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
    /// Parses rules from a message: all of them, or why they are refused.
    pub fn read(value: Value) -> Result<Self, Refusal> {
        let session = value.get("session").and_then(Value::as_str).map(str::to_owned);
        let refusal = |why: String| Refusal {
            session: session.clone(),
            why,
            conflicting_key: None,
            newer_generation: None,
        };
        let version = value.get("version").and_then(Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let theirs = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            return Err(refusal(format!(
                "this agent understands version {VERSION} of the rules, not {theirs}"
            )));
        }
        let rules: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| refusal(format!("this agent does not understand the rules: {error}")))?;
        if rules.ports.is_empty() {
            return Err(refusal("the rules name no port".to_owned()));
        }
        Ok(rules)
    }

    /// The preview's port for `port` of the application; `None` where the session
    /// leaves that port alone.
    pub fn preview_port(&self, port: u16) -> Option<u16> {
        let found = self.ports.iter().find(|candidate| candidate.port == port)?;
        Some(found.preview_port.unwrap_or(port))
    }

    /// Whether two keys would steal the same requests and neither of them yields.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let yields = self.yields || other.yields;
        self.session != other.session && !yields && self.claim().conflicts_with(&other.claim())
    }

    fn claim(&self) -> Claim<'_> {
        Claim { key: &self.key, mode: self.mode, ports: &self.ports, filter: &self.filter }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::traffic::fixture::wire;

    fn rules() -> Value {
        wire(&json!({
            "generation": 3,
            "ports": [{"port": 80}, {"port": 81, "preview_port": 8081}],
            "filter": {"all_of": [{"method": "post"}, {"body": {"query": "$.a", "matches": "^b$"}}]},
            "preview": ["10.0.0.7", "fd00::7"],
        }))
    }

    #[test]
    fn rules_are_read_as_they_were_sent() {
        let read = Rules::read(rules()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), rules());
        assert_eq!(
            (read.preview_port(80), read.preview_port(81), read.preview_port(82)),
            (Some(80), Some(8081), None)
        );
    }

    #[test]
    fn rules_that_are_not_understood_in_full_are_refused_with_the_session_and_the_reason() {
        for (path, value, why) in [
            ("/version", json!(2), "version 1 of the rules, not 2"),
            ("/filter", json!({"moon_phase": "full"}), "moon_phase"),
            ("/filter", json!({"header": "("}), "not a valid regular expression"),
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
