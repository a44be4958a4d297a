//! Fields of mirrord's that belong to local runs are warned about; fields that
//! would mislead or harm if they were ignored are refused.

use anyhow::Result;
use serde_json::Value;

use super::wrong;

/// Fields that a preview has no use for.
const LOCAL: &[&str] = &[
    "feature.fs",
    "feature.network.outgoing",
    "feature.network.dns",
    "feature.hostname",
    "feature.magic",
    "feature.copy_target",
    "feature.network.incoming.listen_ports",
    "feature.network.incoming.ignore_localhost",
    "feature.network.incoming.http_filter.ports",
    "telemetry",
    "internal_proxy",
    "external_proxy",
    "skip_processes",
    "skip_build_tools",
    "skip_extra_build_tools",
    "skip_sip",
    "sip_binaries",
    "use_proxy",
    "ci",
    "container",
    "api",
    "experimental",
    "startup_retry",
];

/// Fields of mirrord's own agents, which ours are not: they have one way to run.
const OTHER_AGENTS: &[&str] = &[
    "agent.namespace",
    "agent.ephemeral",
    "agent.privileged",
    "agent.ttl",
    "agent.tolerations",
    "agent.node_selector",
    "agent.resources",
    "agent.priority_class",
    "agent.communication_timeout",
    "agent.flush_connections",
    "agent.metrics",
    "agent.json_log",
    "agent.nftables",
    "agent.dns",
    "agent.check_out_of_pods",
    "agent.disabled_capabilities",
    "agent.network_interface",
    "agent.exclude_from_mesh",
    "agent.inject_headers",
    "agent.max_body_buffer_size",
    "agent.max_body_buffer_timeout",
];

/// Fields that this version cannot honour, and what ignoring them would do.
const REFUSED: &[(&str, &str)] = &[
    ("feature.db_branches", "the preview would write to the target's own database"),
    ("feature.split_queues", "the preview would consume the target's own messages"),
    ("feature.preview.idle", "the preview would never sleep"),
];

/// Takes out the fields of local runs and says so; refuses what cannot be honoured.
pub(super) fn take(value: &mut Value) -> Result<Vec<String>> {
    for (path, harm) in REFUSED {
        let found = field(value, path);
        if found.is_some_and(|found| !matches!(found, Value::Null | Value::Bool(false))) {
            return Err(wrong(format!("`{path}` is not supported yet"))
                .because_of(format!("if it were ignored, {harm}"))
                .hint(format!("remove `{path}`"))
                .into());
        }
        remove(value, path);
    }
    let mut ignored = Vec::new();
    for path in LOCAL {
        if remove(value, path) {
            ignored.push(format!("`{path}` is ignored: it belongs to local runs"));
        }
    }
    for path in OTHER_AGENTS {
        if remove(value, path) {
            ignored.push(format!("`{path}` is ignored: agents run in the target's pods, in one way"));
        }
    }
    Ok(ignored)
}

fn field<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| value.get(name))
}

fn remove(value: &mut Value, path: &str) -> bool {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let parent =
        parent.split('.').filter(|name| !name.is_empty()).try_fold(value, |value, name| value.get_mut(name));
    parent.and_then(Value::as_object_mut).is_some_and(|object| object.remove(name).is_some())
}
