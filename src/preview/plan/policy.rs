//! The network policies of an environment, where others decide what comes to
//! its pods, or where these may connect to. They select its own pods alone,
//! and go with it.

use serde_json::{Value, json};

use super::isolation::in_words;
use super::{Request, Routing, metadata};
use crate::session::{KEEPER, ROLE, SESSION};
use crate::workload::LivePods;

/// The ports that API servers listen on as a rule.
const API_PORTS: [u16; 2] = [443, 6443];

/// The policies; none where nothing stands in the way, or nothing is routed.
pub(super) fn objects(request: &Request, name: String, warnings: &mut Vec<String>) -> Vec<Value> {
    let Some(routing) = &request.routing else { return Vec::new() };
    let live = match &request.source.pods {
        Some(LivePods::Selected(selector)) => selector.clone(),
        // A policy knows pods by labels alone.
        Some(LivePods::Named(_)) => json!({"matchLabels": request.source.labels()}),
        None => return Vec::new(),
    };
    let inward = (!request.isolation.preview.is_empty()).then(|| {
        warnings.push(format!(
            "what comes to the preview is decided by {}; one of its own lets requests in from the pods of `{}`",
            in_words(&request.isolation.preview),
            request.identity.target.path()
        ));
        before_preview(request, name, &live)
    });
    let outward = (!request.isolation.keeper.is_empty()).then(|| {
        warnings.push(format!(
            "where the keeper may connect to is decided by {}; one of its own lets it out to the API server and to the \
             pods of `{}`",
            in_words(&request.isolation.keeper),
            request.identity.target.path()
        ));
        around_keeper(request, routing, &live)
    });
    inward.into_iter().chain(outward).collect()
}

/// Requests come from the target's pods, whose agents pass them on.
fn before_preview(request: &Request, name: String, live: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(request, name),
        "spec": {
            "podSelector": {"matchLabels": {SESSION: request.identity.id.as_str()}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": live}, {"podSelector": {"matchLabels": {ROLE: KEEPER}}}]}],
        },
    })
}

/// The keeper speaks with the API server, which is no pod and has no labels: a
/// policy that does not know its address can name its port alone. Its canaries
/// go to the target's pods.
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
            "podSelector": {"matchLabels": {SESSION: request.identity.id.as_str(), ROLE: KEEPER}},
            "policyTypes": ["Egress"],
            "egress": [
                {"ports": api},
                {"ports": [{"port": 53, "protocol": "UDP"}, tcp(53)]},
                {"to": [{"podSelector": live}], "ports": captured},
            ],
        },
    })
}
