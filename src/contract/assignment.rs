//! The keeper's assignment: the part of the plan that outlives the command that made it,
//! in the environment of the keeper's container.
//!
//! Across versions: the keeper runs from the image that the command chose, and refuses
//! fields that it does not know. Other commands read the assignment to find conflicts,
//! and ignore one that they cannot read.

use serde::{Deserialize, Serialize};

use crate::traffic::rules::Port;
use crate::traffic::{Claim, Filter, Mode};

/// One session, as its keeper needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assignment {
    /// The session's identifier.
    pub session: String,
    /// The key, for messages to people.
    pub key: String,
    /// The namespace of all objects.
    pub namespace: String,
    /// The root's name.
    pub root: String,
    /// The target's path, for messages to people.
    pub target: String,
    /// The target's pods.
    pub pods: Pods,
    /// The workloads that control them: other pods with the same labels are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
    /// Whether matching requests are moved or copied.
    pub mode: Mode,
    /// The application's ports, and the preview's ports for them.
    pub ports: Vec<Port>,
    /// Those of the ports that speak TLS, judging by the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypted: Vec<u16>,
    /// Which requests match.
    pub filter: Filter,
    /// Whether another key may keep requests that both want.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yields: bool,
    /// Whether other keys that want the same requests were stopped for this one. The
    /// routes cannot be proven before those are gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overrides: bool,
    /// Whether connections that are older than the capture are closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// The settings of the agents.
    pub agent: AgentSettings,
}

/// The pods of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pods {
    /// The pods that this label selector of the API selects.
    Labelled(String),
    /// The pod of this name.
    Named(String),
}

/// A workload that controls pods, itself or through ReplicaSets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// `Deployment`, …
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The settings of the agents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentSettings {
    /// The image, which is also the keeper's.
    pub image: String,
    /// Its `imagePullPolicy`; Kubernetes' default without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// The log level of agents and keeper, from `agent.log_level`; `info` without it.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn assignment(change: &Value) -> Assignment {
        let mut assignment = json!({
            "session": "s1", "key": "pr-1", "namespace": "shop", "root": "root", "target": "deployment/shop",
            "pods": {"labelled": "app=shop"}, "mode": "steal", "ports": [{"port": 80}, {"port": 81}],
            "filter": {"method": "post"}, "agent": {"image": "mirrord:1"},
        });
        for (field, value) in change.as_object().unwrap() {
            assignment[field] = value.clone();
        }
        serde_json::from_value(assignment).unwrap()
    }

    #[test]
    fn two_keys_conflict_if_they_steal_with_equal_filters_on_a_common_port_of_one_target() {
        let one = assignment(&json!({}));
        for (change, conflicts) in [
            (json!({}), true),
            (json!({"ports": [{"port": 81, "preview_port": 8081}]}), true),
            (json!({"yields": true}), true),
            (json!({"key": "pr-1"}), false),
            (json!({"target": "deployment/cart"}), false),
            (json!({"mode": "mirror"}), false),
            (json!({"filter": {"method": "get"}}), false),
            (json!({"ports": [{"port": 82}]}), false),
        ] {
            let mut other = json!({"session": "s2", "key": "pr-2"});
            other.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let other = assignment(&other);
            assert_eq!(one.conflicts_with(&other), conflicts, "{change}");
            assert_eq!(other.conflicts_with(&one), conflicts, "{change}");
        }
    }

    #[test]
    fn an_assignment_with_an_unknown_field_is_refused() {
        let mut text = serde_json::to_value(assignment(&json!({}))).unwrap();
        text["later"] = json!(true);
        assert!(serde_json::from_value::<Assignment>(text).is_err());
    }
}
