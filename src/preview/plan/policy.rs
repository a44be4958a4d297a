//! The network policies of an environment, where policies of the namespace
//! isolate its pods. They select its own pods only, and go with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::connections::{Connections, Direction};
use super::metadata::Stamp;
use crate::session::Role;
use crate::words;
use crate::workload::{LivePods, Source};

/// The policies of the namespace that isolate an environment's pods: their names,
/// by the pods' role and the direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Isolation(BTreeMap<(Role, Direction), Vec<String>>);

// === impl Isolation ===

impl Isolation {
    /// Notes the policies that isolate the pods with this role.
    pub(crate) fn insert(&mut self, role: Role, direction: Direction, policies: Vec<String>) {
        if !policies.is_empty() {
            self.0.insert((role, direction), policies);
        }
    }

    /// The policies that isolate the pods with this role.
    pub(crate) fn of(&self, role: Role, direction: Direction) -> &[String] {
        self.0.get(&(role, direction)).map_or(&[], Vec::as_slice)
    }

    /// The names of all of them, each once.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Names of policies, for a sentence.
pub(crate) fn in_words(names: &[String]) -> String {
    let word = if names.len() == 1 { "NetworkPolicy" } else { "NetworkPolicies" };
    format!("{word} {}", words::quoted_list(names))
}

/// The policies: one for each role and direction that is isolated.
pub(crate) fn objects(
    connections: &[Connections],
    isolation: &Isolation,
    source: &Source,
    stamp: &Stamp<'_>,
) -> Vec<Value> {
    let target = match &source.pods {
        Some(LivePods::Selected(selector)) => selector.clone(),
        // A policy selects pods by labels only.
        Some(LivePods::Named(_)) => json!({"matchLabels": source.labels()}),
        None => return Vec::new(),
    };
    isolated(connections, isolation).map(|(connections, _)| object(connections, &target, stamp)).collect()
}

/// A warning for each policy that is added.
pub(super) fn warnings(connections: &[Connections], isolation: &Isolation) -> Vec<String> {
    let warning = |(connections, policies): (&Connections, &[String])| {
        format!(
            "the {} is isolated by {}; the environment adds a policy that {}",
            connections.role.as_str(),
            in_words(policies),
            connections.opened
        )
    };
    isolated(connections, isolation).map(warning).collect()
}

/// The connections of pods that are isolated, and the policies that do it.
fn isolated<'a>(
    connections: &'a [Connections],
    isolation: &'a Isolation,
) -> impl Iterator<Item = (&'a Connections, &'a [String])> {
    let with_policies = connections.iter().map(|one| (one, isolation.of(one.role, one.direction)));
    with_policies.filter(|(_, policies)| !policies.is_empty())
}

fn object(connections: &Connections, target: &Value, stamp: &Stamp<'_>) -> Value {
    let Connections { role, direction, rules, .. } = connections;
    let id = &stamp.identity.id;
    let rules: Vec<Value> = rules.iter().map(|rule| rule.in_policy(*direction, target)).collect();
    let mut spec = json!({
        "podSelector": role.selector(id.as_str()),
        "policyTypes": [direction.policy_type()],
    });
    spec[direction.policy_type().to_lowercase()] = rules.into();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": stamp.metadata(id.object_name(*role, &stamp.identity.target)),
        "spec": spec,
    })
}
