//! The agent's container, as it is put beside those of a target's pod.

use serde_json::{Value, json};

use super::assignment::Agent;

/// How much earlier than the pod's end an agent leaves, in seconds: so long it
/// may carry on what is under way.
const LEAVES_EARLIER: i64 = 3;

/// The container of a new agent.
///
/// Root, because a capability that is added takes effect for root alone; and
/// of root's powers none but two: `BPF` for the capture, and `NET_ADMIN` to
/// attach it to the pod's network. No volume and so no credentials of the API.
pub(crate) fn container(name: &str, grace_seconds: i64, agent: &Agent) -> Value {
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
    if let (Some(level), Some(arguments)) = (&agent.log_level, container["args"].as_array_mut()) {
        arguments.extend(["--log-level".into(), level.clone().into()]);
    }
    if let Some(policy) = &agent.image_pull_policy {
        container["imagePullPolicy"] = policy.clone().into();
    }
    container
}
