//! Fields of mirrord's that belong to local runs are warned about; fields that
//! would mislead or harm if they were ignored are refused.

use anyhow::Result;
use serde_json::Value;

use super::path::{get as field, has_fields, remove};
use super::wrong;

/// The section that must hold one of its fields, if it is there.
const FILTER: &str = "feature.network.incoming.http_filter";

/// Fields that a preview has no use for.
pub(super) const LOCAL: &[&str] = &[
    "feature.fs",
    "feature.network.outgoing",
    "feature.network.dns",
    "feature.network.ipv6",
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
    "connect_tcp",
];

/// What mirrord tells its operator: about a trace, and about other clusters.
pub(super) const OF_OPERATOR: &[&str] = &["baggage", "traceparent", "multi_cluster"];

/// Fields of mirrord's own agents, which ours are not: they have one way to run.
pub(super) const OTHER_AGENTS: &[&str] = &[
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
    "agent.security_context",
    "agent.clean_iptables_on_start",
    "agent.disable_mesh_sidecar_injection",
    "agent.jaq_time_limit",
];

/// Forms of mirrord's target that stand for any number of workloads, or for none.
const NOT_ONE: &[&str] = &[
    "target.label",
    "target.labels",
    "target.serverless",
    "target.workflow",
    "target.path.label",
    "target.path.labels",
    "target.path.serverless",
    "target.path.workflow",
];

/// A field that this version cannot honour.
struct Refused {
    path: &'static str,
    /// What ignoring it would do.
    harm: &'static str,
    /// What to do instead, where removing it is not all.
    instead: Option<&'static str>,
}

/// Every one of them.
const REFUSED: &[Refused] = &[
    Refused {
        path: "profile",
        harm: "the settings that it stands for would be missing",
        instead: Some("write what the profile says into the file, and remove `profile`"),
    },
    Refused {
        path: "feature.db_branches",
        harm: "the preview would write to the target's own database",
        instead: None,
    },
    Refused {
        path: "feature.split_queues",
        harm: "the preview would consume the target's own messages",
        instead: None,
    },
    Refused { path: "feature.preview.idle", harm: "the preview would never sleep", instead: None },
    Refused { path: "feature.network.incoming.tls_delivery", harm: TLS, instead: None },
    Refused { path: "feature.network.incoming.https_delivery", harm: TLS, instead: None },
];

const TLS: &str = "TLS connections would still pass to the target, as they cannot be read here";

/// Takes out the fields of local runs and says so; refuses what cannot be honoured.
pub(super) fn take(value: &mut Value) -> Result<Vec<String>> {
    for Refused { path, harm, instead } in REFUSED {
        if field(value, path).is_some() {
            let remove = format!("remove `{path}`");
            return Err(wrong(format!("`{path}` is not supported yet"))
                .because_of(format!("if it were ignored, {harm}"))
                .hint(instead.map_or(remove, str::to_owned))
                .into());
        }
    }
    for path in NOT_ONE {
        if field(value, path).is_some() {
            return Err(wrong(format!("`{path}` does not name a single workload"))
                .hint("name one, as in `\"target\": \"deployment/shop\"`")
                .into());
        }
    }
    let mut ignored = Vec::new();
    let says_fields = has_fields(value, FILTER);
    for path in LOCAL {
        if remove(value, path) {
            ignored.push(format!("`{path}` is ignored: it belongs to local runs"));
        }
    }
    if says_fields && !has_fields(value, FILTER) {
        remove(value, FILTER);
    }
    for path in OF_OPERATOR {
        if remove(value, path) {
            ignored.push(format!("`{path}` is ignored: there is no operator to tell it to"));
        }
    }
    for path in OTHER_AGENTS {
        if remove(value, path) {
            ignored.push(format!("`{path}` is ignored: agents run in the target's pods, in one way"));
        }
    }
    Ok(ignored)
}

/// The names below `parent` that are known, though nothing is done with them.
pub(super) fn fields_of(parent: &str) -> impl Iterator<Item = &'static str> {
    let ignored = [LOCAL, OF_OPERATOR, OTHER_AGENTS].into_iter().flatten().copied();
    let refused = REFUSED.iter().map(|refused| refused.path);
    ignored.chain(refused).filter_map(move |path| {
        let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
        (above == parent).then_some(name)
    })
}
