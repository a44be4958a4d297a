//! The network policy of an environment, where others decide what comes to its
//! pods: requests come from the target's pods, whose agents pass them on.

use serde_json::{Value, json};

use super::{Request, metadata};
use crate::session::{KEEPER, ROLE, SESSION};
use crate::target::LivePods;

/// The policy; nothing where none stands in the way, or nothing is routed.
pub(super) fn object(request: &Request, name: String, warnings: &mut Vec<String>) -> Option<Value> {
    if request.policies.is_empty() || request.routing.is_none() {
        return None;
    }
    let pods = match request.source.pods.as_ref()? {
        LivePods::Selected(selector) => selector.clone(),
        // A policy knows pods by labels alone.
        LivePods::Named(_) => json!({"matchLabels": request.source.labels()}),
    };
    warnings.push(format!(
        "what comes to the preview is decided by {}; one of its own lets requests in from the pods of `{}`",
        request.policies.iter().map(|name| format!("NetworkPolicy `{name}`")).collect::<Vec<_>>().join(", "),
        request.identity.target.path()
    ));
    Some(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(request, name),
        "spec": {
            "podSelector": {"matchLabels": {SESSION: request.identity.id.as_str()}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": pods}, {"podSelector": {"matchLabels": {ROLE: KEEPER}}}]}],
        },
    }))
}
