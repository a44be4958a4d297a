//! The messages between a keeper and an agent: one JSON object per line.
//!
//! Across versions: either side ignores fields that it does not know. A keeper
//! ignores replies that it does not know ([`Reply::Unknown`]); an agent answers a
//! request that it does not know with [`Reply::Error`]. An agent from before
//! [`ControlRequest::Renew`] says so by the absence of `renews` in its [`Reply::Hello`], and
//! its keeper sends it the rules themselves each time. A keeper from before it sends
//! the rules each time to any agent.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::traffic::{Counts, Refusal};

/// How an agent captures new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMethod {
    /// BPF `sk_lookup`, through a link that ends with the process.
    SkLookup,
    /// `tproxy` in an nftables table that ends with the process.
    Nftables,
}

/// The version of these messages. An agent of another version is not spoken to.
pub const PROTOCOL: u32 = 1;

/// A message of the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlRequest {
    /// Puts the rules of one session in force, in place of its earlier rules.
    /// Answered by [`Reply::Accepted`] once the ports are captured, or by
    /// [`Reply::Refused`].
    Rules {
        /// [`crate::traffic::Rules`], which the agent takes as a whole or not at all.
        rules: Value,
    },
    /// Extends the lease of a session's rules, for the time that they say. Answered
    /// by [`Reply::Accepted`], or by [`Reply::NotHeld`] if rules of another
    /// generation are in force, or none.
    Renew {
        /// The session.
        session: String,
        /// The generation that should be in force.
        generation: u64,
    },
    /// Removes a session's rules. Answered by [`Reply::Withdrawn`].
    Withdraw {
        /// The session.
        session: String,
    },
    /// Answered by [`Reply::Status`].
    Status {
        /// The only session to report; all sessions without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
}

/// A message of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// The first line of each conversation.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The agent's version.
        version: String,
        /// How it captures.
        method: CaptureMethod,
        /// Whether it knows [`ControlRequest::Renew`].
        #[serde(default)]
        renews: bool,
        /// Whether it reads [`crate::traffic::canary::REQUEST`].
        #[serde(default)]
        reads_canary_request: bool,
    },
    /// The rules are in force, for another lease.
    Accepted {
        /// The session.
        session: String,
        /// The generation in force.
        generation: u64,
        /// Ports of the rules on which the application does not listen now. The
        /// agent captures them as soon as it does.
        not_listening: Vec<u16>,
    },
    /// The agent has put none of the sent rules in force. Rules of a newer generation
    /// stay in force; others of the session are withdrawn.
    Refused(Refusal),
    /// The generation to renew is not in force: the keeper has to send its rules.
    NotHeld {
        /// The session.
        session: String,
    },
    /// The session has no rules any more.
    Withdrawn {
        /// The session.
        session: String,
    },
    /// The agent's state.
    Status(AgentStatus),
    /// The agent does not understand the request, or cannot serve it.
    Error {
        /// The reason.
        why: String,
    },
    /// A reply of another version, to be ignored.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// The agent's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// How the agent captures.
    pub method: CaptureMethod,
    /// The places whose new connections go to the agent.
    pub captured: Vec<Captured>,
    /// Connections that go through the agent now.
    pub connections: usize,
    /// Connections to the application on captured ports that do not go through the
    /// agent, because they are older than the capture. Counted at most once a second.
    pub predating: usize,
    /// Older connections that sessions had closed.
    #[serde(default)]
    pub reset: usize,
    /// Sessions with rules in force, oldest first.
    pub sessions: Vec<SessionStatus>,
}

/// One captured place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The address; unspecified for all addresses of its family.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// The state of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The session.
    pub session: String,
    /// Its key.
    pub key: String,
    /// The generation in force.
    pub generation: u64,
    /// Seconds until its lease ends.
    pub lease_seconds_left: u64,
    /// Its counters.
    pub counts: Counts,
    /// How long the judgement took after which the agent suspended the session's filter,
    /// in milliseconds: from then on no request matches. Absent before, and from agents
    /// that suspend none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_after_milliseconds: Option<u64>,
}

// === impl CaptureMethod ===

impl CaptureMethod {
    /// Every method, the preferred one first.
    pub const ALL: [Self; 2] = [Self::SkLookup, Self::Nftables];

    /// The word that stands for it in options, messages and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SkLookup => "sk_lookup",
            Self::Nftables => "nftables",
        }
    }

    /// The mechanism, for a log or an error.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::SkLookup => "BPF sk_lookup",
            Self::Nftables => "nftables tproxy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn a_status_request_without_a_session_is_that_of_earlier_versions() {
        assert_eq!(wire(&ControlRequest::Status { session: None }), r#"{"type":"status"}"#);
        let all: ControlRequest = serde_json::from_str(r#"{"type":"status"}"#).unwrap();
        assert_eq!(all, ControlRequest::Status { session: None });
    }

    #[test]
    fn a_session_whose_filter_is_not_suspended_is_reported_as_by_earlier_versions() {
        let earlier = r#"{"session":"s","key":"k","generation":1,"lease_seconds_left":60,"counts":{"matched":0,"passed":0,"mirrored":0,"dropped":0,"unavailable":0}}"#;
        let read: SessionStatus = serde_json::from_str(earlier).unwrap();
        assert_eq!((read.suspended_after_milliseconds, read.counts.beyond_bounds), (None, 0));
        assert!(!wire(&read).contains("suspended"));
    }

    #[test]
    fn replies_of_other_versions_are_read_or_ignored() {
        let hello = r#"{"type":"hello","protocol":1,"version":"0.1.0","method":"sk_lookup"}"#;
        let hello: Reply = serde_json::from_str(hello).unwrap();
        assert!(matches!(hello, Reply::Hello { renews: false, reads_canary_request: false, .. }));
        // Earlier agents sent what they had logged.
        let event = r#"{"type":"event","event":"captured","address":"0.0.0.0","port":8080}"#;
        assert_eq!(serde_json::from_str::<Reply>(event).unwrap(), Reply::Unknown);
        assert_eq!(serde_json::from_str::<Reply>(r#"{"type":"later"}"#).unwrap(), Reply::Unknown);
    }
}
