//! Which network policies of the namespace block the connections of a preview.
//! Pure.
//!
//! A policy isolates the pods that it selects, in one direction; a connection is
//! allowed if any policy that isolates the pod allows it. Three connections
//! matter: agents in the target's pods pass requests on to the preview, the
//! keeper proves the route through the target's pods, and the keeper speaks with
//! the API server.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};

use crate::preview::plan::connections::{AllowedPort, Connections, Direction, Peer};
use crate::preview::plan::labels::Labels;
use crate::preview::plan::policy::{Isolation, in_words};
use crate::session::ROLE;

/// The label of every namespace that holds its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The target's pods.
pub(super) struct Live {
    /// The path of the target.
    pub(super) target: String,
    /// Its namespace, which is the environment's.
    pub(super) namespace: String,
    /// The labels of its pods.
    pub(super) labels: Labels,
}

/// Finds the policies that isolate the environment's pods, and writes a warning
/// for each connection of live pods that may be blocked.
///
/// Policies that select live pods are never added to. Beside one that isolates
/// them it would only allow more; but once that one is removed, ours alone would
/// isolate them, and a preview would cut the live workload off.
pub(super) fn found(
    policies: &[NetworkPolicy],
    live: &Live,
    connections: &[Connections],
) -> (Isolation, Vec<String>) {
    let isolating = |labels, direction| {
        let selecting = policies.iter().filter(|policy| isolates(policy, labels, direction));
        selecting.collect::<Vec<_>>()
    };
    let named =
        |policies: &[&NetworkPolicy]| policies.iter().map(|policy| policy.name_any()).collect::<Vec<_>>();
    let (mut isolation, mut warnings) = (Isolation::default(), Vec::new());
    for Connections { role, labels, direction, rules, blocked, .. } in connections {
        isolation.insert(*role, *direction, named(&isolating(labels, *direction)));
        let from_live = direction.opposite();
        let around_live = isolating(&live.labels, from_live);
        for rule in rules.iter().filter(|rule| rule.peers.contains(&Peer::Target)) {
            if allowed(&around_live, from_live, (labels, &live.namespace), &rule.ports) {
                continue;
            }
            let ports: Vec<String> = rule.ports.iter().map(|port| port.number.to_string()).collect();
            let label = format!("`{ROLE}={}`", role.as_str());
            let advice = match from_live {
                Direction::Egress => format!("allow egress to pods with the label {label} on port"),
                Direction::Ingress => format!("allow ingress from pods with the label {label} to port"),
            };
            warnings.push(format!(
                "{} may keep {blocked}: for the pods of `{}`, {advice} {}; mirrord adds no policy to live pods",
                in_words(&named(&around_live)),
                live.target,
                ports.join(", ")
            ));
        }
    }
    (isolation, warnings)
}

/// Whether a policy selects pods with `labels` and isolates them in this direction.
fn isolates(policy: &NetworkPolicy, labels: &Labels, direction: Direction) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let decides = match (&spec.policy_types, direction) {
        (Some(types), Direction::Ingress) => types.iter().any(|one| one == "Ingress"),
        (Some(types), Direction::Egress) => types.iter().any(|one| one == "Egress"),
        // Kubernetes' own default.
        (None, Direction::Ingress) => true,
        (None, Direction::Egress) => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
    };
    decides && matches(&spec.pod_selector.clone().unwrap_or_default(), labels)
}

/// Whether the policies that isolate some pods surely allow connections with the
/// `other` pods on all `ports`; without a policy everything is allowed.
fn allowed(
    policies: &[&NetworkPolicy],
    direction: Direction,
    other: (&Labels, &str),
    ports: &[AllowedPort],
) -> bool {
    let rules: Vec<_> = policies
        .iter()
        .filter_map(|policy| policy.spec.as_ref())
        .flat_map(|spec| rules(spec, direction))
        .collect();
    policies.is_empty()
        || ports.iter().all(|port| {
            rules.iter().any(|(peers, ports)| {
                (peers.is_empty() || peers.iter().any(|peer| is(peer, other)))
                    && (ports.is_empty() || ports.iter().any(|range| holds(range, port.number)))
            })
        })
}

/// The peers and the ports of each rule; an empty list means any.
fn rules(
    spec: &NetworkPolicySpec,
    direction: Direction,
) -> Vec<(Vec<NetworkPolicyPeer>, Vec<NetworkPolicyPort>)> {
    match direction {
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten().cloned();
            rules.map(|rule| (rule.from.unwrap_or_default(), rule.ports.unwrap_or_default())).collect()
        }
        Direction::Egress => {
            let rules = spec.egress.iter().flatten().cloned();
            rules.map(|rule| (rule.to.unwrap_or_default(), rule.ports.unwrap_or_default())).collect()
        }
    }
}

/// Whether a peer selects pods with these labels in this namespace. Only some
/// network plugins apply address blocks to pods: a block is not a sure permission.
fn is(peer: &NetworkPolicyPeer, (labels, namespace): (&Labels, &str)) -> bool {
    let name: Labels = [(NAMESPACE_NAME.to_owned(), namespace.to_owned())].into();
    peer.ip_block.is_none()
        && peer.namespace_selector.as_ref().is_none_or(|selector| matches(selector, &name))
        && peer.pod_selector.as_ref().is_none_or(|selector| matches(selector, labels))
}

/// Whether a rule's port covers this one. A name stands for a declared port, and
/// captured ports usually are declared.
fn holds(range: &NetworkPolicyPort, port: u16) -> bool {
    let port = i32::from(port);
    let is_tcp = range.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    is_tcp
        && match &range.port {
            None | Some(IntOrString::String(_)) => true,
            Some(IntOrString::Int(first)) => (*first..=range.end_port.unwrap_or(*first)).contains(&port),
        }
}

fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::preview::plan::connections;
    use crate::session::{Role, SESSION};

    fn labels(given: &[(&str, &str)]) -> Labels {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn isolation(specs: &[Value]) -> (Isolation, Vec<String>) {
        let policies: Vec<NetworkPolicy> = specs
            .iter()
            .enumerate()
            .map(|(number, spec)| {
                serde_json::from_value(json!({"metadata": {"name": format!("p{number}")}, "spec": spec}))
                    .unwrap()
            })
            .collect();
        let live = Live {
            target: "deployment/shop".to_owned(),
            namespace: "staging".to_owned(),
            labels: labels(&[("app", "shop")]),
        };
        let assignment = serde_json::from_value(json!({
            "session": "1a2b3c4d", "key": "pr-12", "namespace": "staging", "root": "keeper",
            "target": "deployment/shop", "pods": {"labelled": "app=shop"}, "mode": "steal",
            "ports": [{"port": 80, "preview_port": 8080}], "filter": {"baggage": "pr-12"}, "agent": {"image": "mirrord:1"},
        }));
        let connections = connections(
            Some(&assignment.unwrap()),
            labels(&[("app", "shop"), (SESSION, "1a2b3c4d"), (ROLE, "preview")]),
            labels(&[(SESSION, "1a2b3c4d"), (ROLE, "keeper")]),
            6443,
        );
        found(&policies, &live, &connections)
    }

    /// The policies that isolate the preview and the keeper, and the directions of
    /// live pods that are warned about.
    fn summary(specs: &[Value]) -> (String, String, String) {
        let (isolation, warnings) = isolation(specs);
        let preview = isolation.of(Role::Preview, Direction::Ingress);
        let keeper = isolation.of(Role::Keeper, Direction::Egress);
        let ways = warnings.iter().map(|warning| if warning.contains("allow egress") { "out" } else { "in" });
        (preview.join(" "), keeper.join(" "), ways.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_direction_of_each_pod_is_checked() {
        let shop = json!({"matchLabels": {"app": "shop"}});
        for (why, specs, preview, keeper, ways) in [
            ("no policy", vec![], "", "", ""),
            ("another's", vec![json!({"podSelector": {"matchLabels": {"app": "other"}}})], "", "", ""),
            ("ingress of the namespace", vec![json!({"podSelector": {}})], "p0", "", "in"),
            (
                "egress of the target",
                vec![json!({"podSelector": shop, "policyTypes": ["Egress"]})],
                "",
                "",
                "out",
            ),
            (
                "both of the namespace",
                vec![json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})],
                "p0",
                "p0",
                "out in",
            ),
            (
                "egress by the rules alone",
                vec![json!({"podSelector": shop, "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]})],
                "p0",
                "",
                "out in",
            ),
            (
                "the keeper's alone",
                vec![
                    json!({"podSelector": {"matchLabels": {ROLE: Role::Keeper.as_str()}}, "policyTypes": ["Egress"]}),
                ],
                "",
                "p0",
                "",
            ),
        ] {
            assert_eq!(summary(&specs), (preview.to_owned(), keeper.to_owned(), ways.to_owned()), "{why}");
        }
    }

    #[test]
    fn an_allowed_connection_is_not_warned_about() {
        let shop = json!({"matchLabels": {"app": "shop"}});
        let egress = |rule: Value| json!({"podSelector": shop, "policyTypes": ["Egress"], "egress": [rule]});
        let ingress = |rule: Value| json!({"podSelector": shop, "ingress": [rule]});
        let staging = json!({"matchLabels": {NAMESPACE_NAME: "staging"}});
        for (spec, warned) in [
            (egress(json!({})), false),
            (egress(json!({"to": [{"podSelector": {}}]})), false),
            (egress(json!({"to": [{"podSelector": shop}], "ports": [{"port": 8080}]})), false),
            (
                egress(json!({"to": [{"podSelector": shop}], "ports": [{"port": 8000, "endPort": 9000}]})),
                false,
            ),
            (egress(json!({"to": [{"podSelector": shop}], "ports": [{"port": 80}]})), true),
            (egress(json!({"to": [{"namespaceSelector": staging}]})), false),
            (
                egress(json!({"to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: "other"}}}]})),
                true,
            ),
            (egress(json!({"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]})), true),
            (egress(json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})), true),
            (ingress(json!({"from": [{"podSelector": {}}]})), false),
            (ingress(json!({"ports": [{"port": "http"}]})), false),
            (ingress(json!({"ports": [{"port": 80, "protocol": "UDP"}]})), true),
            (
                ingress(json!({"from": [{"podSelector": {"matchExpressions": [
                    {"key": ROLE, "operator": "In", "values": [Role::Keeper.as_str()]},
                ]}}]})),
                false,
            ),
            (ingress(json!({"from": [{"podSelector": shop}]})), true),
        ] {
            assert_eq!(!isolation(std::slice::from_ref(&spec)).1.is_empty(), warned, "{spec}");
        }
        // Policies add up.
        let denied = json!({"podSelector": {}, "policyTypes": ["Egress"]});
        assert!(isolation(&[denied, egress(json!({}))]).1.is_empty());
    }

    #[test]
    fn a_warning_names_the_policy_and_the_rule_to_add() {
        let (_, warnings) = isolation(&[json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})]);
        insta::assert_snapshot!(warnings.join("\n"));
    }
}
