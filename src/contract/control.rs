//! What the keeper and the agent say to each other, one JSON object a line.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::traffic::{Counts, Refusal};

/// How an agent captures new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// BPF `sk_lookup`, through a link that ends with the process.
    SkLookup,
    /// `tproxy` in an nftables table that ends with the process.
    Nftables,
}

/// The version of this conversation.
pub const PROTOCOL: u32 = 1;

/// What the keeper says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Take these rules, or renew them: a full snapshot of one session.
    /// Answered by [`Reply::Accepted`] once the capture is in place, or by
    /// [`Reply::Refused`].
    Rules {
        /// [`crate::traffic::Rules`], read by the agent in one piece or not at all.
        rules: Value,
    },
    /// Drop a session's rules. Answered by [`Reply::Withdrawn`].
    Withdraw {
        /// The session.
        session: String,
    },
    /// Answered by [`Reply::Status`].
    Status,
}

/// What the agent says.
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
        method: Method,
    },
    /// The rules are in force.
    Accepted {
        /// The session.
        session: String,
        /// The generation in force.
        generation: u64,
        /// Ports of the rules on which the application does not listen now;
        /// they are captured as soon as it does.
        not_listening: Vec<u16>,
    },
    /// None of the session's rules are in force, but for those of a newer
    /// generation than was sent.
    Refused(Refusal),
    /// The session has no rules any more.
    Withdrawn {
        /// The session.
        session: String,
    },
    /// How things are.
    Status(Status),
    /// Something happened.
    Event(Event),
    /// The message was no message.
    Error {
        /// Why.
        why: String,
    },
}

/// How things are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How the agent captures.
    pub method: Method,
    /// Where new connections come to the agent.
    pub captured: Vec<Captured>,
    /// Connections that go through the agent now.
    pub connections: usize,
    /// Connections of the application, on captured ports, that do not.
    pub predating: usize,
    /// Connections from before the capture that sessions had closed.
    #[serde(default)]
    pub reset: usize,
    /// The sessions, oldest first.
    pub sessions: Vec<SessionStatus>,
}

/// One place that is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The address; unspecified for all.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The session.
    pub session: String,
    /// Its key.
    pub key: String,
    /// The generation in force.
    pub generation: u64,
    /// Seconds until its rules run out.
    pub lease_seconds_left: u64,
    /// What happened for it.
    pub counts: Counts,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// New connections for this place come to the agent.
    Captured(Captured),
    /// They are the application's again: no rules, or it does not listen.
    Released(Captured),
    /// The session's lease ran out, and its rules with it.
    Expired {
        /// The session.
        session: String,
    },
    /// The memory budget is exceeded: new connections are carried unread.
    Frugal {
        /// Whether it is so now.
        frugal: bool,
    },
    /// The agent got no processor time, or was stopped, and the kernel let new
    /// connections pass to the application until now.
    Lapsed {
        /// How long there was no heartbeat, in milliseconds.
        after_milliseconds: u64,
    },
    /// The agent leaves.
    Leaving {
        /// Why.
        why: String,
    },
}

// === impl Method ===

impl Method {
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
