//! The agent's container, which is attached to the target's pods.

use serde_json::{Value, json};

use super::assignment::AgentSettings;

/// How long before the end of the pod's grace period the agent exits, in seconds. Until
/// then it carries connections that are under way.
const LEAVES_EARLIER: i64 = 3;

/// The container of a new agent.
///
/// It runs as root, because added capabilities take effect only for root, and has only
/// two of them: `BPF` for the capture, and `NET_ADMIN` to attach it to the pod's network.
/// It has no volume, and so no credentials for the API.
pub(crate) fn container(name: &str, grace_seconds: i64, agent: &AgentSettings) -> Value {
    let stay = (grace_seconds - LEAVES_EARLIER).max(0);
    let mut container = json!({
        "name": name,
        "image": agent.image,
        "args": ["agent", "--stay-seconds", stay.to_string()],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": false,
            "capabilities": {"drop": ["ALL"], "add": ["BPF", "NET_ADMIN"]},
        },
    });
    if let Some(level) = &agent.log_level {
        let arguments = container["args"].as_array_mut().expect("the arguments are an array");
        arguments.extend(["--log-level".into(), level.clone().into()]);
    }
    if let Some(policy) = &agent.image_pull_policy {
        container["imagePullPolicy"] = policy.clone().into();
    }
    container
}
