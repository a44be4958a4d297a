//! The rows of the table, in the order of the documentation.

use super::row::{field, honoured};
use super::{Fate, Field, FieldType, Reason, RefusedField};
use crate::traffic::filter;
use crate::workload::KINDS;

/// Every field of the format.
pub(super) fn rows() -> Vec<Field> {
    let mut rows = top_level();
    rows.extend(target());
    rows.extend(preview());
    rows.extend(env());
    rows.extend(network());
    rows.extend(agent());
    rows.extend(ignored());
    rows.extend(refused());
    rows
}

fn top_level() -> Vec<Field> {
    vec![
        honoured("$schema", FieldType::Text).meaning("Where editors find the schema of this file."),
        honoured("key", FieldType::AnyOf(vec![FieldType::Text, FieldType::Integer]))
            .meaning("The name of the environment. An integer counts as its digits.")
            .default("five random hexadecimal digits")
            .flag("-k, --key")
            .variables(&["MIRRORD_KEY"]),
        honoured("kube_context", FieldType::Text)
            .meaning("The context of the kubeconfig.")
            .default("the current context")
            .flag("--context")
            .variables(&["MIRRORD_KUBE_CONTEXT"])
            .finds(),
        honoured("kubeconfig", FieldType::Text)
            .meaning("The kubeconfig's path, or several paths with `:` between them.")
            .default("as kubectl finds it")
            .flag("--kubeconfig")
            .variables(&["MIRRORD_KUBECONFIG"])
            .finds(),
        honoured("accept_invalid_certificates", FieldType::Boolean)
            .meaning("Whether the API server's certificate may be invalid.")
            .default("as the kubeconfig says")
            .finds(),
        honoured("operator", FieldType::Boolean)
            .meaning("Accepted without effect: previews use no operator."),
        honoured("feature", FieldType::Section).meaning("How the preview differs from the target."),
    ]
}

fn target() -> Vec<Field> {
    let path_or = |object| FieldType::AnyOf(vec![FieldType::Text, object]);
    let mut rows = vec![
        honoured("target", path_or(FieldType::Section))
            .meaning("The live workload that is copied, as `\"deployment/shop\"` or `\"deployment/shop/container/web\"`.")
            .default("required by `start`")
            .flag("-t, --target")
            .variables(&["MIRRORD_IMPERSONATED_TARGET"]),
        honoured("target.path", path_or(FieldType::Section)).meaning("The same, with the same fields, beside `target.namespace`."),
        honoured("target.namespace", FieldType::Text)
            .meaning("The target's namespace.")
            .default("the context's namespace")
            .flag("-n, --namespace")
            .variables(&["MIRRORD_TARGET_NAMESPACE"]),
    ];
    for parent in ["target", "target.path"] {
        rows.extend(KINDS.iter().map(|kind| {
            honoured(format!("{parent}.{}", kind.field), FieldType::Text)
                .meaning(format!("The name of a {}.", kind.kind))
        }));
        rows.push(
            honoured(format!("{parent}.container"), FieldType::Text)
                .meaning("The container that is replaced, beside the name of a workload.")
                .default("the annotated default container, else the first that is not a known sidecar"),
        );
    }
    rows
}

fn preview() -> Vec<Field> {
    let mut rows = vec![
        honoured("feature.preview", FieldType::Section).meaning("The preview's pods."),
        honoured("feature.preview.image", FieldType::Text)
            .meaning("The image that replaces the container's.")
            .default("required by `start`")
            .flag("-i, --image")
            .variables(&["MIRRORD_PREVIEW_IMAGE"]),
        honoured("feature.preview.ttl_mins", FieldType::Life)
            .meaning("How many minutes the environment lives, counted from its readiness.")
            .default("60")
            .flag("--ttl")
            .variables(&["MIRRORD_PREVIEW_TTL_MINS"]),
        honoured("feature.preview.ttl_secs", FieldType::Life)
            .meaning("The same in seconds, instead of `ttl_mins`.")
            .flag("--ttl")
            .variables(&["MIRRORD_PREVIEW_TTL_SECS"]),
        honoured("feature.preview.creation_timeout_secs", FieldType::Positive)
            .meaning("How many seconds `start` waits for readiness. Time in which an image is being pulled does not count.")
            .default("60")
            .flag("--timeout")
            .variables(&["MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS"]),
        honoured("feature.preview.replicas", FieldType::Positive)
            .meaning("The number of preview pods.")
            .default("1")
            .variables(&["MIRRORD_PREVIEW_REPLICAS"]),
        honoured("feature.preview.labels", FieldType::Section)
            .meaning("Which of the target's labels the preview pods carry."),
        honoured("feature.preview.labels.include", FieldType::Names)
            .meaning("Patterns of the label names that are copied; `*` and `?` are wildcards.")
            .default("all labels"),
        honoured("feature.preview.labels.exclude", FieldType::Names)
            .meaning("Patterns of the label names that are not copied, instead of `include`."),
    ];
    for (path, meaning) in [
        (
            "feature.preview.config_mounts",
            "Single files that are mounted from a ConfigMap, about 1 MiB in all.",
        ),
        ("feature.preview.secret_mounts", "The same from a Secret, with the same fields."),
    ] {
        rows.extend([
            honoured(path, list_of(FieldType::Section)).meaning(meaning).default("none"),
            honoured(format!("{path}[].mount_at"), FieldType::Text)
                .meaning("The absolute path of the file in the container.")
                .required(),
            honoured(format!("{path}[].from_file"), FieldType::Text)
                .meaning("A local file with the content: a regular file of at most 1 MiB."),
            honoured(format!("{path}[].type"), FieldType::Word(&["text", "binary"]))
                .meaning("How `payload` is written: as text, or in base64."),
            honoured(format!("{path}[].payload"), FieldType::Text)
                .meaning("The content, beside `type` and instead of `from_file`."),
        ]);
    }
    rows
}

fn env() -> Vec<Field> {
    vec![
        honoured("feature.env", FieldType::AnyOf(vec![FieldType::Boolean, FieldType::Section]))
            .meaning("The container's variables. `false` removes all of the target's variables.")
            .default("all of the target's variables"),
        honoured("feature.env.include", FieldType::Names)
            .meaning("Patterns of the target's variables that are kept; `*` and `?` are wildcards.")
            .default("all variables")
            .variables(&["MIRRORD_OVERRIDE_ENV_VARS_INCLUDE"]),
        honoured("feature.env.exclude", FieldType::Names)
            .meaning("Patterns of the target's variables that are removed, instead of `include`.")
            .variables(&["MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE"]),
        honoured("feature.env.override", FieldType::Strings)
            .meaning("Variables that are set. They are stronger than `env_file`."),
        honoured("feature.env.unset", FieldType::Names)
            .meaning("Names of variables that are removed, in upper or lower case."),
        honoured("feature.env.mapping", FieldType::Strings)
            .meaning("A regular expression for names, and the value of the variables that match; `$1` is a group of the name."),
        honoured("feature.env.env_file", FieldType::Text)
            .meaning("A regular file of `NAME=value` lines to set, at most 1 MiB.")
            .variables(&["MIRRORD_OVERRIDE_ENV_VARS_FILE"]),
        honoured("feature.env.load_from_process", FieldType::Boolean)
            .meaning("Accepted without effect: it says where local processes get their variables."),
    ]
}

fn network() -> Vec<Field> {
    let mode = || FieldType::Word(&["steal", "mirror", "off"]);
    let mut rows = vec![
        honoured("feature.network", FieldType::AnyOf(vec![FieldType::Boolean, FieldType::Section]))
            .meaning("The preview's traffic. `false` turns `incoming` off.")
            .on_if_true(),
        honoured("feature.network.incoming", FieldType::AnyOf(vec![FieldType::Boolean, mode(), FieldType::Section]))
            .meaning("Incoming requests. A word sets `mode` alone; `false` means `\"off\"`."),
        honoured("feature.network.incoming.mode", mode())
            .meaning("`steal`: the preview answers instead of the application; `mirror`: the preview gets copies; `off`: nothing is routed.")
            .default("`steal`")
            .variables(&["MIRRORD_AGENT_TCP_STEAL_TRAFFIC"]),
        honoured("feature.network.incoming.ports", list_of(FieldType::Port))
            .meaning("The application's ports whose requests are routed.")
            .default("the ports that the container declares")
            .off_if_false(),
        honoured("feature.network.incoming.ignore_ports", list_of(FieldType::Port))
            .meaning("Declared ports whose requests are not routed, instead of `ports`.")
            .default("none")
            .off_if_false(),
        honoured("feature.network.incoming.port_mapping", list_of(FieldType::Pair(Box::new(FieldType::Port))))
            .meaning("Pairs of the preview's port and the application's port, where they differ.")
            .default("the same ports")
            .off_if_false(),
        honoured("feature.network.incoming.on_concurrent_steal", FieldType::Word(&["abort", "continue", "override"]))
            .meaning("What `start` does where another key steals the same requests: stop, start beside it, or replace it.")
            .default("`abort`")
            .off_if_false(),
        honoured("feature.network.incoming.reset_connections", FieldType::Boolean)
            .meaning("Whether connections from before the capture are closed.")
            .default("`false`"),
        honoured(FILTER, FieldType::Section)
            .meaning("Which requests are routed: exactly one of the filters below.")
            .default("steal: requests with the key; mirror: all requests")
            .off_if_false()
            .on_if_true(),
    ];
    rows.extend(filters());
    rows
}

/// The fields of `http_filter`, made from the table of its kinds.
fn filters() -> Vec<Field> {
    let kinds = || filter::KINDS.iter().filter_map(|kind| kind.syntax.as_ref());
    let mut rows = Vec::new();
    for syntax in kinds() {
        let path = format!("{FILTER}.{}", syntax.filter);
        let kind = if syntax.parts.is_empty() { FieldType::Text } else { FieldType::Section };
        let row = honoured(path.clone(), kind).meaning(syntax.meaning);
        rows.push(row.variables(syntax.variable.as_slice()));
        rows.extend(syntax.parts.iter().map(|part| {
            let path = format!("{path}.{}", part.name);
            honoured(path, text(part.values)).meaning(part.meaning).required()
        }));
    }
    // A condition of a list has the fields of all kinds; a name may belong to several.
    let mut conditions: Vec<(&str, FieldType, String)> = Vec::new();
    for syntax in kinds() {
        for name in syntax.fields {
            let part = syntax.parts.iter().find(|part| part.name == *name);
            let meaning = match part {
                Some(_) => format!("`{}.{name}`", syntax.filter),
                None => format!("`{}`", syntax.filter),
            };
            if let Some((.., uses)) = conditions.iter_mut().find(|(known, ..)| known == name) {
                uses.push_str(&format!(" or {meaning}"));
            } else {
                let kind = text(part.map_or(&[], |part| part.values));
                conditions.push((name, kind, format!("As {meaning}")));
            }
        }
    }
    for (list, meaning) in [
        ("all_of", "Conditions that must all match: one filter each."),
        ("any_of", "Conditions of which one must match, with the fields of `all_of`."),
    ] {
        let path = format!("{FILTER}.{list}");
        rows.push(honoured(path.clone(), list_of(FieldType::Section)).meaning(meaning));
        rows.extend(conditions.iter().map(|(name, kind, meaning)| {
            honoured(format!("{path}[].{name}"), kind.clone()).meaning(format!("{meaning}."))
        }));
    }
    rows
}

/// One of these texts, or any where there are none.
fn text(values: &'static [&'static str]) -> FieldType {
    if values.is_empty() { FieldType::Text } else { FieldType::Word(values) }
}

fn agent() -> Vec<Field> {
    vec![
        honoured("agent", FieldType::Section).meaning("The two programs in the cluster: keeper and agents."),
        honoured("agent.image", FieldType::AnyOf(vec![FieldType::Text, FieldType::Section]))
            .meaning("The image of keeper and agents.")
            .default(concat!("`mirrord:", env!("CARGO_PKG_VERSION"), "`"))
            .variables(&["MIRRORD_AGENT_IMAGE"]),
        honoured("agent.image.registry", FieldType::Text)
            .meaning("The image without its tag.")
            .default("`mirrord`"),
        honoured("agent.image.tag", FieldType::Text).meaning("The image's tag.").default(concat!(
            "`",
            env!("CARGO_PKG_VERSION"),
            "`"
        )),
        honoured("agent.image_pull_policy", FieldType::Word(&["Always", "IfNotPresent", "Never"]))
            .meaning("When the image is pulled.")
            .default("as Kubernetes decides by the tag"),
        honoured("agent.image_pull_secrets", list_of(FieldType::Section))
            .meaning("Secrets with registry credentials, in addition to the target's."),
        honoured("agent.image_pull_secrets[].name", FieldType::Text).meaning("The Secret's name.").required(),
        honoured("agent.labels", FieldType::Strings).meaning("Labels of the keeper's pod."),
        honoured("agent.annotations", FieldType::Strings).meaning("Annotations of the keeper's pod."),
        honoured("agent.log_level", FieldType::Text)
            .meaning(
                "The log level of keeper and agents: `off`, `error`, `warn`, `info`, `debug` or `trace`, or a list like `mirrord=debug,warn`.",
            )
            .default("`info`"),
        honoured("agent.startup_timeout", FieldType::Positive)
            .meaning("How many seconds routing may take to be proven, once the preview pods are ready.")
            .default("a part of the creation timeout"),
        honoured("agent.service_account", FieldType::Text)
            .meaning("The keeper's ServiceAccount; `mirrord preview rbac` prints one.")
            .default("one that `start` creates"),
    ]
}

fn ignored() -> Vec<Field> {
    let local_runs = [
        "feature.fs",
        "feature.network.outgoing",
        "feature.network.dns",
        "feature.network.ipv6",
        "feature.hostname",
        "feature.magic",
        "feature.copy_target",
        "feature.network.incoming.listen_ports",
        "feature.network.incoming.ignore_localhost",
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
    let operator = ["baggage", "traceparent", "multi_cluster"];
    let other_agents = [
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
        "agent.external_ip_fix",
        "agent.override_cache_control",
        "agent.http_detection_timeout",
    ];
    let with = |reason: Reason| move |path: &'static str| field(path, Fate::Ignored(reason));
    let mut rows: Vec<Field> = local_runs.map(with(Reason::LocalRuns)).into();
    rows.push(field("feature.network.incoming.http_filter.ports", Fate::Ignored(Reason::EveryPort)));
    rows.extend(operator.map(with(Reason::Operator)));
    rows.extend(other_agents.map(with(Reason::OtherAgents)));
    rows
}

fn refused() -> Vec<Field> {
    const NOT_YET: &str = "is not supported yet";
    const TLS: &str = "TLS connections would still pass to the target, as they cannot be read here";
    let not_yet = |path, harm, hint| field(path, Fate::Refused(RefusedField { what: NOT_YET, harm, hint }));
    let mut rows = vec![
        not_yet(
            "profile",
            "the settings that it stands for would be missing",
            "write the profile's settings into the file, and remove `profile`",
        ),
        not_yet("feature.db_branches", "the preview would write to the target's own database", "")
            .off_if_false()
            .off_if_empty(),
        not_yet("feature.split_queues", "the preview would consume the target's own messages", "")
            .off_if_false()
            .off_if_empty(),
        not_yet("feature.preview.idle", "the preview would never sleep", "").off_if_false(),
        not_yet(
            "feature.preview.cronjob",
            "a CronJob target would be copied as a pod that runs all the time, without a schedule",
            "",
        ),
        not_yet(
            "feature.preview.spec_resources",
            "the preview would be copied from the live objects, without the changes in these manifests",
            "",
        ),
        not_yet("feature.network.incoming.tls_delivery", TLS, "").off_if_false(),
        not_yet("feature.network.incoming.https_delivery", TLS, "").off_if_false(),
    ];
    for parent in ["target", "target.path"] {
        rows.extend(["label", "labels", "serverless", "workflow"].map(|name| {
            let refused = RefusedField {
                what: "does not name a single workload",
                harm: "",
                hint: "name one, as in `\"target\": \"deployment/shop\"`",
            };
            field(format!("{parent}.{name}"), Fate::Refused(refused))
        }));
    }
    rows
}

const FILTER: &str = "feature.network.incoming.http_filter";

fn list_of(item: FieldType) -> FieldType {
    FieldType::List(Box::new(item))
}
