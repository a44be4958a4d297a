//! The network policies of an environment, where policies of the namespace
//! isolate its pods. They select its own pods only, and go with it.

use serde_json::{Value, json};

use super::{Request, Routing, metadata};
use crate::session::{ROLE, Role};
use crate::words;
use crate::workload::LivePods;

/// The ports that API servers usually listen on.
const API_PORTS: [u16; 2] = [443, 6443];

/// The policies of the namespace that isolate an environment's pods, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Isolation {
    /// Those that isolate the preview pods for ingress.
    pub(crate) preview: Vec<String>,
    /// Those that isolate the keeper for egress.
    pub(crate) keeper: Vec<String>,
}

/// Names of policies, for a sentence.
pub(crate) fn in_words(names: &[String]) -> String {
    let word = if names.len() == 1 { "NetworkPolicy" } else { "NetworkPolicies" };
    format!("{word} {}", words::quoted_list(names))
}

/// The policies; none where nothing isolates our pods, or nothing is routed.
pub(super) fn objects(request: &Request, name: String, warnings: &mut Vec<String>) -> Vec<Value> {
    let Some(routing) = &request.routing else { return Vec::new() };
    let live = match &request.source.pods {
        Some(LivePods::Selected(selector)) => selector.clone(),
        // A policy selects pods by labels only.
        Some(LivePods::Named(_)) => json!({"matchLabels": request.source.labels()}),
        None => return Vec::new(),
    };
    let inward = (!request.isolation.preview.is_empty()).then(|| {
        warnings.push(format!(
            "the preview is isolated by {}; the environment adds a policy that lets requests in from the pods of `{}`",
            in_words(&request.isolation.preview),
            request.identity.target.path()
        ));
        before_preview(request, name, &live)
    });
    let outward = (!request.isolation.keeper.is_empty()).then(|| {
        warnings.push(format!(
            "the keeper is isolated by {}; the environment adds a policy that lets it connect to the API server and to the \
             pods of `{}`",
            in_words(&request.isolation.keeper),
            request.identity.target.path()
        ));
        around_keeper(request, routing, &live)
    });
    inward.into_iter().chain(outward).collect()
}

/// Agents in the target's pods pass requests on to the preview.
fn before_preview(request: &Request, name: String, live: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(request, name),
        "spec": {
            "podSelector": Role::Preview.selector(request.identity.id.as_str()),
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": live}, {"podSelector": {"matchLabels": {ROLE: Role::Keeper.as_str()}}}]}],
        },
    })
}

/// The keeper speaks with the API server, which is not a pod: a policy that does
/// not know its address can only name its port. Canaries go to the target's pods.
fn around_keeper(request: &Request, routing: &Routing, live: &Value) -> Value {
    let tcp = |port: u16| json!({"port": port, "protocol": "TCP"});
    let captured: Vec<Value> = routing.assignment.ports.iter().map(|port| tcp(port.port)).collect();
    let mut api = API_PORTS.to_vec();
    if !api.contains(&request.api_port) {
        api.push(request.api_port);
    }
    let api: Vec<Value> = api.into_iter().map(tcp).collect();
    let name = request.identity.id.root_name(&request.identity.target);
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(request, name),
        "spec": {
            "podSelector": Role::Keeper.selector(request.identity.id.as_str()),
            "policyTypes": ["Egress"],
            "egress": [
                {"ports": api},
                {"ports": [{"port": 53, "protocol": "UDP"}, tcp(53)]},
                {"to": [{"podSelector": live}], "ports": captured},
            ],
        },
    })
}
