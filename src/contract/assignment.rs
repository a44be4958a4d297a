//! What a keeper is told, once and for all, in its own pod's environment: the
//! part of the plan that outlives the command that made it.

use serde::{Deserialize, Serialize};

use crate::traffic::rules::Port;
use crate::traffic::{Claim, Filter, Mode};

/// What to keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assignment {
    /// The session's identifier.
    pub session: String,
    /// The key, for messages to people.
    pub key: String,
    /// Where everything is.
    pub namespace: String,
    /// The root's name.
    pub root: String,
    /// The target's path, for messages to people.
    pub target: String,
    /// The target's pods.
    pub pods: Pods,
    /// What happens to requests that match.
    pub mode: Mode,
    /// The application's ports, and the preview's for them.
    pub ports: Vec<Port>,
    /// Those of them that speak TLS, by all that the target says of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypted: Vec<u16>,
    /// Which requests match.
    pub filter: Filter,
    /// Whether another key may have what both want.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yields: bool,
    /// Whether other keys that want the same have been stopped for this one:
    /// nothing is proven before they are gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overrides: bool,
    /// Whether connections from before the capture are closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// The agents.
    pub agent: Agent,
}

/// Which pods are the target's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pods {
    /// Those that carry these labels, in the API's own words.
    Labelled(String),
    /// The one of this name.
    Named(String),
}

/// How agents are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agent {
    /// Their image: our own.
    pub image: String,
    /// When it is pulled; Kubernetes' own rule where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// What they and the keeper log, as `agent.log_level` has it; `info` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
}

// === impl Assignment ===

impl Assignment {
    /// Whether two keys would steal the same requests of one target. Whether one
    /// of them yields makes no difference: it decides what `start` does about it.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.target == other.target && self.claim().conflicts_with(&other.claim())
    }

    fn claim(&self) -> Claim<'_> {
        Claim { key: &self.key, mode: self.mode, ports: &self.ports, filter: &self.filter }
    }
}
