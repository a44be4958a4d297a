//! Samples for the fields of mirrord's format: which are used, warned about, or
//! refused. None is called unknown.

use serde_json::{Value, json};

use super::super::fields::{FIELDS, Fate};
use super::*;
use crate::problem::ErrorReport;

/// Honoured fields, each with a value.
pub(super) const HONOURED: &[(&str, &str)] = &[
    ("$schema", r#""https://example.invalid/schema.json""#),
    ("accept_invalid_certificates", "true"),
    ("key", r#""a""#),
    ("kube_context", r#""a""#),
    ("kubeconfig", r#""~/a""#),
    ("operator", "true"),
    ("target", r#""pod/a""#),
    ("target", r#"{"deployment": "a", "container": "b"}"#),
    ("target", r#"{"pod": "a", "container": "b"}"#),
    ("target", r#"{"rollout": "a", "container": "b"}"#),
    ("target", r#"{"job": "a", "container": "b"}"#),
    ("target", r#"{"cron_job": "a", "container": "b"}"#),
    ("target", r#"{"stateful_set": "a", "container": "b"}"#),
    ("target", r#"{"service": "a", "container": "b"}"#),
    ("target", r#"{"replica_set": "a", "container": "b"}"#),
    ("target.namespace", r#""a""#),
    ("target.path", r#""pod/a""#),
    ("agent.annotations", r#"{"a.b/c": "d"}"#),
    ("agent.image", r#""a:1""#),
    ("agent.image", r#"{"registry": "a", "tag": "1"}"#),
    ("agent.image_pull_policy", r#""IfNotPresent""#),
    ("agent.image_pull_secrets", r#"[{"name": "a"}]"#),
    ("agent.labels", r#"{"a": "b"}"#),
    ("agent.log_level", r#""mirrord=debug,warn""#),
    ("agent.service_account", r#""a""#),
    ("agent.startup_timeout", "60"),
    ("feature.env", "true"),
    ("feature.env", "false"),
    ("feature.env.exclude", r#""A;B""#),
    ("feature.env.include", r#"["A", "B*"]"#),
    ("feature.env.load_from_process", "true"),
    ("feature.env.mapping", r#"{".+_TIMEOUT": "1"}"#),
    ("feature.env.override", r#"{"A": "1"}"#),
    ("feature.env.unset", r#""A""#),
    ("feature.network", "true"),
    ("feature.network", "false"),
    ("feature.network.incoming", "true"),
    ("feature.network.incoming", "false"),
    ("feature.network.incoming", r#""steal""#),
    ("feature.network.incoming.http_filter", "true"),
    ("feature.network.incoming.http_filter", "false"),
    ("feature.network.incoming.http_filter.all_of", r#"[{"header": "a"}, {"method": "GET"}]"#),
    ("feature.network.incoming.http_filter.any_of", r#"[{"path": "a"}, {"query": "true"}]"#),
    (
        "feature.network.incoming.http_filter.body_filter",
        r#"{"body": "json", "query": "$.books[?(typeof(@) == 'number')]", "matches": "4$"}"#,
    ),
    ("feature.network.incoming.http_filter.header_filter", r#""^baggage: .*mirrord-session={{ key }}.*$""#),
    ("feature.network.incoming.http_filter.header_filter_jq", r#""true""#),
    ("feature.network.incoming.http_filter.method_filter", r#""get""#),
    ("feature.network.incoming.http_filter.path_filter", r#""^(?!/health/)""#),
    ("feature.network.incoming.ignore_ports", "[9999, 10000]"),
    ("feature.network.incoming.mode", r#""mirror""#),
    ("feature.network.incoming.on_concurrent_steal", r#""abort""#),
    ("feature.network.incoming.port_mapping", "[[7777, 8888]]"),
    ("feature.network.incoming.ports", "[80]"),
    ("feature.preview.config_mounts", r#"[{"mount_at": "/a", "type": "text", "payload": "b"}]"#),
    ("feature.preview.creation_timeout_secs", "60"),
    ("feature.preview.image", r#""a""#),
    ("feature.preview.labels.exclude", r#""a""#),
    ("feature.preview.labels.include", r#""a""#),
    ("feature.preview.replicas", "1"),
    ("feature.preview.secret_mounts", r#"[{"mount_at": "/a", "type": "binary", "payload": "YQ=="}]"#),
    ("feature.preview.ttl_mins", r#""infinite""#),
    ("feature.preview.ttl_secs", "60"),
    // The same as absent.
    ("feature.db_branches", "[]"),
    ("feature.split_queues", "{}"),
];

/// Ignored fields, listed in the table or inside one that is.
pub(super) const WARNED: &[&str] = &[
    "agent.check_out_of_pods",
    "agent.clean_iptables_on_start",
    "agent.communication_timeout",
    "agent.disable_mesh_sidecar_injection",
    "agent.disabled_capabilities",
    "agent.dns",
    "agent.dns.attempts",
    "agent.dns.timeout",
    "agent.ephemeral",
    "agent.exclude_from_mesh",
    "agent.flush_connections",
    "agent.inject_headers",
    "agent.jaq_time_limit",
    "agent.json_log",
    "agent.max_body_buffer_size",
    "agent.max_body_buffer_timeout",
    "agent.metrics",
    "agent.namespace",
    "agent.nftables",
    "agent.node_selector",
    "agent.priority_class",
    "agent.privileged",
    "agent.resources",
    "agent.resources.claims",
    "agent.resources.limits",
    "agent.resources.requests",
    "agent.security_context",
    "agent.security_context.app_armor_profile",
    "agent.security_context.seccomp_profile",
    "agent.tolerations",
    "agent.ttl",
    "api",
    "baggage",
    "ci",
    "ci.output_dir",
    "connect_tcp",
    "container",
    "container.cli_extra_args",
    "container.cli_image",
    "container.cli_image_lib_path",
    "container.cli_prevent_cleanup",
    "container.cli_tls_path",
    "container.override_host_ip",
    "container.platform",
    "experimental",
    "experimental.applev",
    "experimental.browser_extension_config",
    "experimental.disable_reuseaddr",
    "experimental.dlopen_cgo",
    "experimental.dns_permission_error_fatal",
    "experimental.enable_exec_hooks_linux",
    "experimental.force_hook_connect",
    "experimental.hide_ipv6_interfaces",
    "experimental.hook_rename",
    "experimental.idle_local_http_connection_timeout",
    "experimental.ignore_system_proxy_config",
    "experimental.latency",
    "experimental.latency.receive_delay",
    "experimental.latency.transmit_delay",
    "experimental.non_blocking_tcp_connect",
    "experimental.sip_log_destination",
    "experimental.sip_utils",
    "experimental.tcp_ping4_mock",
    "experimental.trust_any_certificate",
    "experimental.use_dev_null",
    "external_proxy",
    "external_proxy.host_ip",
    "external_proxy.idle_timeout",
    "external_proxy.json_log",
    "external_proxy.log_destination",
    "external_proxy.log_level",
    "external_proxy.start_idle_timeout",
    "external_proxy.tls_enable",
    "feature.copy_target",
    "feature.copy_target.enabled",
    "feature.copy_target.exclude_containers",
    "feature.copy_target.exclude_init_containers",
    "feature.copy_target.scale_down",
    "feature.fs",
    "feature.fs.local",
    "feature.fs.mapping",
    "feature.fs.mode",
    "feature.fs.not_found",
    "feature.fs.read_only",
    "feature.fs.read_write",
    "feature.fs.readonly_file_buffer",
    "feature.hostname",
    "feature.magic",
    "feature.magic.aws",
    "feature.network.dns",
    "feature.network.dns.enabled",
    "feature.network.dns.filter",
    "feature.network.dns.filter.local",
    "feature.network.dns.filter.remote",
    "feature.network.incoming.http_filter.ports",
    "feature.network.incoming.ignore_localhost",
    "feature.network.incoming.listen_ports",
    "feature.network.ipv6",
    "feature.network.outgoing",
    "feature.network.outgoing.filter",
    "feature.network.outgoing.filter.local",
    "feature.network.outgoing.filter.remote",
    "feature.network.outgoing.ignore_localhost",
    "feature.network.outgoing.tcp",
    "feature.network.outgoing.udp",
    "feature.network.outgoing.unix_streams",
    "internal_proxy",
    "internal_proxy.idle_timeout",
    "internal_proxy.json_log",
    "internal_proxy.log_destination",
    "internal_proxy.log_level",
    "internal_proxy.process_logging_interval",
    "internal_proxy.socket_timeout",
    "internal_proxy.start_idle_timeout",
    "sip_binaries",
    "skip_build_tools",
    "skip_extra_build_tools",
    "skip_processes",
    "skip_sip",
    "startup_retry",
    "startup_retry.max_ms",
    "startup_retry.max_retries",
    "startup_retry.min_ms",
    "telemetry",
    "traceparent",
    "use_proxy",
];

/// Refused fields, a value, and a part of the error.
pub(super) const REFUSED: &[(&str, &str, &str)] = &[
    ("profile", r#""a""#, "`profile` is not supported yet"),
    ("feature.db_branches", r#"[{"type": "pg"}]"#, "`feature.db_branches` is not supported yet"),
    (
        "feature.split_queues",
        r#"{"a": {"queue_type": "SQS"}}"#,
        "`feature.split_queues` is not supported yet",
    ),
    ("feature.preview.idle", r#"{"after_secs": 60}"#, "`feature.preview.idle` is not supported yet"),
    (
        "feature.network.incoming.tls_delivery",
        r#"{"protocol": "tcp"}"#,
        "`feature.network.incoming.tls_delivery` is not supported yet",
    ),
    (
        "feature.network.incoming.https_delivery",
        r#"{"protocol": "tls", "server_name": "a"}"#,
        "`feature.network.incoming.https_delivery` is not supported yet",
    ),
    ("target", r#""targetless""#, "does not name a single workload"),
    (
        "target",
        r#"{"labels": {"app": "a"}, "container": "b"}"#,
        "`target.labels` does not name a single workload",
    ),
    ("target.path", r#"{"label": "app=a"}"#, "`target.path.label` does not name a single workload"),
    ("target", r#"{"serverless": "a"}"#, "`target.serverless` does not name a single workload"),
];

/// A file that holds one field.
pub(super) fn with(path: &str, value: Value) -> String {
    path.rsplit('.').fold(value, |value, name| json!({name: value})).to_string()
}

pub(super) fn parsed(value: &str) -> Value {
    serde_json::from_str(value).unwrap()
}

#[test]
fn honoured_fields_cause_no_warning() {
    for (path, value) in HONOURED {
        let config = resolve(&Overrides::default(), &[], &with(path, parsed(value)))
            .unwrap_or_else(|error| panic!("{path} {value}: {error:#}"));
        assert_eq!(config.selection.warnings, Vec::<String>::new(), "{path}");
    }
    // `env_file` must exist.
    let variables = tempfile::NamedTempFile::new().unwrap();
    let file = with("feature.env.env_file", variables.path().to_str().into());
    assert!(resolve(&Overrides::default(), &[], &file).is_ok());
}

#[test]
fn ignored_fields_cause_one_warning() {
    for path in WARNED {
        let config = resolve(&Overrides::default(), &[], &with(path, true.into()))
            .unwrap_or_else(|error| panic!("{path}: {error:#}"));
        let [warning] = &config.selection.warnings[..] else {
            panic!("{path}: {:?}", config.selection.warnings)
        };
        let named = warning.split('`').nth(1).unwrap();
        assert!(*path == named || path.starts_with(&format!("{named}.")), "{path}: {warning}");
    }
}

#[test]
fn a_warning_names_the_ignored_field() {
    for path in FIELDS.iter().filter(|field| matches!(field.fate, Fate::Ignored(_))).map(|field| &field.path)
    {
        let config = resolve(&Overrides::default(), &[], &with(path, json!({"a": [1]}))).unwrap();
        let [warning] = &config.selection.warnings[..] else {
            panic!("{path}: {:?}", config.selection.warnings)
        };
        assert!(warning.starts_with(&format!("`{path}` is ignored: ")), "{warning}");
    }
}

#[test]
fn refused_fields_are_named_with_the_reason() {
    for (path, value, sentence) in REFUSED {
        let error = resolve(&Overrides::default(), &[], &with(path, parsed(value))).unwrap_err();
        let said = ErrorReport::of(&error).to_string();
        assert!(said.contains(sentence), "{path}: {said}");
        assert!(!said.contains("unknown field"), "{path}: {said}");
    }
}

#[test]
fn null_counts_as_absent_in_every_field() {
    let honoured = HONOURED.iter().map(|(path, _)| path);
    let refused = REFUSED.iter().map(|(path, ..)| path);
    for path in honoured.chain(refused).chain(WARNED).chain(&[
        "feature",
        "agent",
        "feature.preview",
        "feature.preview.labels",
    ]) {
        let config = resolve(&Overrides::default(), &[], &with(path, Value::Null))
            .unwrap_or_else(|error| panic!("{path}: {error:#}"));
        // The rest of a section may still be warned about: `"dns": {}`.
        let warnings = config.selection.warnings;
        assert!(
            warnings.iter().all(|warning| !warning.contains(&format!("`{path}`"))),
            "{path}: {warnings:?}"
        );
    }
}
