//! The connections that the pods of an environment need: each part says which
//! pods its own pods speak with. Network policies are decided from these.

use serde_json::{Value, json};

use super::labels::Labels;
use crate::session::{ROLE, Role};

/// A direction, seen from the pods that a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// Others connect to the pods.
    Ingress,
    /// The pods connect to others.
    Egress,
}

/// Pods at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The target's pods.
    Target,
    /// Pods of an environment with this role.
    Role(Role),
}

/// A port of the listening end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllowedPort {
    /// Its number.
    pub(crate) number: u16,
    /// The protocol as Kubernetes writes it.
    protocol: &'static str,
}

/// Connections with the same peers and ports.
#[derive(Clone, Debug)]
pub(crate) struct AllowedConnection {
    /// The pods at the other end; empty where no pod is, as for the API server.
    pub(crate) peers: Vec<Peer>,
    /// The ports.
    pub(crate) ports: Vec<AllowedPort>,
    /// Whether a policy of ours opens these ports only, or all ports.
    pub(crate) opens: Opens,
}

/// Which ports a policy of ours opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    /// All of them.
    AllPorts,
    /// The rule's.
    ThesePorts,
}

/// The connections in one direction that the pods of one role need.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    /// The pods.
    pub(crate) role: Role,
    /// The labels of these pods.
    pub(crate) labels: Labels,
    /// The direction.
    pub(crate) direction: Direction,
    /// The connections.
    pub(crate) rules: Vec<AllowedConnection>,
    /// Continues "network policies may keep …", where live pods are isolated.
    pub(crate) blocked: String,
    /// Continues "the environment adds a policy that …".
    pub(crate) opened: String,
}

// === impl Direction ===

impl Direction {
    /// The same direction, seen from the other end.
    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }

    /// As `policyTypes` has it.
    pub(super) fn policy_type(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }
}

// === impl AllowedPort ===

impl AllowedPort {
    /// A TCP port.
    pub(super) fn tcp(number: u16) -> Self {
        Self { number, protocol: "TCP" }
    }

    /// A UDP port.
    pub(super) fn udp(number: u16) -> Self {
        Self { number, protocol: "UDP" }
    }
}

// === impl AllowedConnection ===

impl AllowedConnection {
    /// The rule of a policy's `ingress` or `egress`; `target` is the
    /// `LabelSelector` of the target's pods.
    pub(super) fn in_policy(&self, direction: Direction, target: &Value) -> Value {
        let (peers, ports) = match direction {
            Direction::Ingress => ("from", "ports"),
            Direction::Egress => ("to", "ports"),
        };
        let selector = |peer: &Peer| match peer {
            Peer::Target => json!({"podSelector": target}),
            Peer::Role(role) => json!({"podSelector": {"matchLabels": {ROLE: role.as_str()}}}),
        };
        let mut rule = json!({});
        if !self.peers.is_empty() {
            rule[peers] = self.peers.iter().map(selector).collect();
        }
        if self.opens == Opens::ThesePorts {
            let port = |port: &AllowedPort| json!({"port": port.number, "protocol": port.protocol});
            rule[ports] = self.ports.iter().map(port).collect();
        }
        rule
    }
}
