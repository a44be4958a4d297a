//! What others' network policies do to the ways of a preview's requests. Pure:
//! policies come in, and who stands in whose way goes out.
//!
//! A policy isolates the pods that it selects, in one direction, and what any
//! policy of theirs allows is allowed. Three ways matter: from the target's
//! pods, whose agents pass requests on, to the preview; from the keeper to the
//! target's pods, which is the proof; and from the keeper to the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};

use crate::session::{KEEPER, ROLE, SESSION};
use crate::words;

/// The label of every namespace that holds its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

type Labels = BTreeMap<String, String>;

/// Who speaks with whom.
pub(crate) struct Parties {
    /// The target, for people.
    pub(crate) target: String,
    /// Everybody's namespace.
    pub(crate) namespace: String,
    /// The labels of the target's pods.
    pub(crate) live: Labels,
    /// The labels of the preview's pods.
    pub(crate) preview: Labels,
    /// The labels of the keeper's pod.
    pub(crate) keeper: Labels,
    /// From where requests are taken, and where they go to in the preview.
    pub(crate) ports: Vec<(u16, u16)>,
}

/// What stands in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Isolation {
    /// The policies that decide what comes to the preview: one of ours lets
    /// requests in.
    pub(crate) preview: Vec<String>,
    /// The policies that decide where the keeper may connect to: one of ours
    /// lets it out.
    pub(crate) keeper: Vec<String>,
    /// What no policy of ours can help with, because it would have to select
    /// live pods.
    pub(crate) warnings: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// Finds out what stands in the way.
///
/// Policies that select live pods are never added to. Beside one that isolates
/// them it would only allow more; but once that one is removed, ours alone would
/// isolate them, and the live workload would be cut off by a preview.
pub(crate) fn found(policies: &[NetworkPolicy], parties: &Parties) -> Isolation {
    let before = |labels, direction| {
        let selecting = policies.iter().filter(|policy| isolates(policy, labels, direction));
        selecting.collect::<Vec<_>>()
    };
    let named =
        |policies: &[&NetworkPolicy]| policies.iter().map(|policy| policy.name_any()).collect::<Vec<_>>();
    let numbers = |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let (from, to): (Vec<u16>, Vec<u16>) = parties.ports.iter().copied().unzip();
    let mut warnings = Vec::new();
    let target = &parties.target;
    let out = before(&parties.live, Direction::Egress);
    if !allowed(&out, Direction::Egress, (&parties.preview, &parties.namespace), &to) {
        warnings.push(format!(
            "where the pods of `{target}` may connect to is decided by {}, and the preview, to which their agents pass \
             requests on, may not be among it: allow egress to pods with the label `{SESSION}` on port {}; no policy \
             is added to live pods",
            in_words(&named(&out)),
            numbers(&to)
        ));
    }
    let into = before(&parties.live, Direction::Ingress);
    if !allowed(&into, Direction::Ingress, (&parties.keeper, &parties.namespace), &from) {
        warnings.push(format!(
            "what comes to the pods of `{target}` is decided by {}, and the keeper, which proves the route, may not be \
             let in: allow ingress from pods with the label `{ROLE}={KEEPER}` to port {}; no policy is added to live pods",
            in_words(&named(&into)),
            numbers(&from)
        ));
    }
    Isolation {
        preview: named(&before(&parties.preview, Direction::Ingress)),
        keeper: named(&before(&parties.keeper, Direction::Egress)),
        warnings,
    }
}

/// Policies by their names, for a sentence.
pub(crate) fn in_words(names: &[String]) -> String {
    let word = if names.len() == 1 { "NetworkPolicy" } else { "NetworkPolicies" };
    format!("{word} {}", words::quoted_list(names))
}

/// Whether a policy selects such pods, and decides on this direction of theirs.
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

/// Whether these policies of some pods surely allow connections with other pods
/// of the same namespace on all `ports`; where there is no policy, all is allowed.
fn allowed(policies: &[&NetworkPolicy], direction: Direction, other: (&Labels, &str), ports: &[u16]) -> bool {
    let rules: Vec<_> = policies
        .iter()
        .filter_map(|policy| policy.spec.as_ref())
        .flat_map(|spec| rules(spec, direction))
        .collect();
    policies.is_empty()
        || ports.iter().all(|port| {
            rules.iter().any(|(peers, ports)| {
                (peers.is_empty() || peers.iter().any(|peer| is(peer, other)))
                    && (ports.is_empty() || ports.iter().any(|range| holds(range, *port)))
            })
        })
}

/// The peers and the ports of each rule; none of them means any.
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

/// Whether a peer means such pods. A block of addresses does for some network
/// plugins and not for others: that is no sure permission.
fn is(peer: &NetworkPolicyPeer, (labels, namespace): (&Labels, &str)) -> bool {
    let name: Labels = [(NAMESPACE_NAME.to_owned(), namespace.to_owned())].into();
    peer.ip_block.is_none()
        && peer.namespace_selector.as_ref().is_none_or(|selector| matches(selector, &name))
        && peer.pod_selector.as_ref().is_none_or(|selector| matches(selector, labels))
}

/// Whether a rule's port means this one. A name stands for a port that the pod
/// declares, and these are.
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

    fn labels(given: &[(&str, &str)]) -> Labels {
        given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn isolation(specs: &[Value]) -> Isolation {
        let policies: Vec<NetworkPolicy> = specs
            .iter()
            .enumerate()
            .map(|(number, spec)| {
                serde_json::from_value(json!({"metadata": {"name": format!("p{number}")}, "spec": spec}))
                    .unwrap()
            })
            .collect();
        let parties = Parties {
            target: "deployment/shop".to_owned(),
            namespace: "staging".to_owned(),
            live: labels(&[("app", "shop")]),
            preview: labels(&[("app", "shop"), (SESSION, "1a2b3c4d")]),
            keeper: labels(&[(SESSION, "1a2b3c4d"), (ROLE, KEEPER)]),
            ports: vec![(80, 8080)],
        };
        found(&policies, &parties)
    }

    /// Which policies isolate the preview and the keeper, and which ways of
    /// live pods are warned of.
    fn summary(specs: &[Value]) -> (String, String, String) {
        let Isolation { preview, keeper, warnings } = isolation(specs);
        let ways = warnings.iter().map(|warning| if warning.contains("allow egress") { "out" } else { "in" });
        (preview.join(" "), keeper.join(" "), ways.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_direction_of_each_party_is_looked_at() {
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
                vec![json!({"podSelector": {"matchLabels": {ROLE: KEEPER}}, "policyTypes": ["Egress"]})],
                "",
                "p0",
                "",
            ),
        ] {
            assert_eq!(summary(&specs), (preview.to_owned(), keeper.to_owned(), ways.to_owned()), "{why}");
        }
    }

    #[test]
    fn what_a_policy_allows_is_no_obstacle() {
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
                    {"key": ROLE, "operator": "In", "values": [KEEPER]},
                ]}}]})),
                false,
            ),
            (ingress(json!({"from": [{"podSelector": shop}]})), true),
        ] {
            assert_eq!(!isolation(std::slice::from_ref(&spec)).warnings.is_empty(), warned, "{spec}");
        }
        // Policies add up.
        let denied = json!({"podSelector": {}, "policyTypes": ["Egress"]});
        assert!(isolation(&[denied, egress(json!({}))]).warnings.is_empty());
    }

    #[test]
    fn a_warning_names_the_policy_and_what_to_allow() {
        let both = isolation(&[json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})]);
        insta::assert_snapshot!(both.warnings.join("\n"));
    }
}
