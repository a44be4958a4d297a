//! Whole files in the forms that mirrord's users write: each must resolve.

use super::*;

/// A short file with sections switched as a whole.
const BASIC: &str = r#"{"target": "pod/bear-pod", "feature": {"env": true, "fs": "read", "network": true}}"#;

const BASIC_TEMPLATE: &str = r#"{
  "target": "{{ get_env(name="NOBODY_SETS_THIS", default="pod/fallback") }}",
  "feature": {"env": true, "fs": "read", "network": true}
}"#;

/// Nearly every field, as in a file that was copied from a reference.
const COMPLETE: &str = r#"{
  "$schema": "https://example.invalid/mirrord-schema.json",
  "accept_invalid_certificates": false,
  "skip_processes": "ide-debugger",
  "target": {"path": "pod/shop-7d9c", "namespace": "default"},
  "connect_tcp": null,
  "agent": {
    "log_level": "info", "json_log": false, "labels": {"user": "ann"}, "annotations": {"shop.example/inject": "enabled"},
    "namespace": "default", "image": "registry.example/mirrord:latest", "image_pull_policy": "IfNotPresent",
    "image_pull_secrets": [{"name": "registry"}], "ttl": 30, "ephemeral": false, "communication_timeout": 30,
    "startup_timeout": 360, "flush_connections": true, "metrics": "0.0.0.0:9000",
  },
  "feature": {
    "env": {
      "include": "DATABASE_USER;PUBLIC_ENV",
      "override": {"DATABASE_CONNECTION": "db://localhost:7777/shop", "WHO": "ann"},
      "mapping": {".+_TIMEOUT": "1000"}
    },
    "fs": {"mode": "write", "read_write": ".+\\.json", "read_only": [".+\\.yaml"], "local": [".+\\.js", ".+\\.mjs"]},
    "network": {
      "incoming": {
        "mode": "steal",
        "http_filter": {"header_filter": "^baggage: .*mirrord-session={{ key }}.*$"},
        "port_mapping": [[7777, 8888]], "ignore_localhost": false, "ignore_ports": [9999, 10000]
      },
      "outgoing": {"tcp": true, "udp": true, "filter": {"local": ["1.1.5.0/24", ":53"]}, "unix_streams": "bear.+"},
      "dns": {"enabled": true, "filter": {"local": ["1.1.5.0/24"]}}
    },
    "copy_target": {"scale_down": false},
    "db_branches": [], "split_queues": {}
  },
  "operator": true, "kubeconfig": "~/.kube/config", "sip_binaries": "bash", "telemetry": true, "kube_context": "shop"
}"#;

/// As a pipeline generates it: with `null` for absent values.
const FROM_CI: &str = r#"{
  "key": "pr-{{ get_env(name="NOBODY_SETS_THIS", default="4711") }}",
  "target": {"path": "deployment/shop", "namespace": "staging"},
  "operator": true,
  "telemetry": null,
  "feature": {
    "env": {"override": {"VERSION": "{{ key }}"}, "env_file": null, "include": null},
    "network": {"incoming": {"mode": "steal", "ports": null, "http_filter": {"header_filter": "baggage: .*mirrord-session={{ key }}.*"}}},
    "preview": {"image": "registry.example/shop:{{ key }}", "ttl_mins": 120, "creation_timeout_secs": 300, "ttl_secs": null, "labels": null}
  },
  "agent": null
}"#;

const TYPED_TOML: &str = r#"
key = "{{ git_branch | slugify }}"
kube_context = "staging"

[target.path]
deployment = "shop"
container = "web"

[feature.preview]
image = "registry.example/shop:{{ key }}"
ttl_mins = "infinite"
replicas = 2

[[feature.preview.config_mounts]]
mount_at = "/etc/shop/settings.yaml"
type = "text"
payload = "colour: green"

[feature.network.incoming]
mode = "mirror"
ports = [80]
"#;

const YAML: &str = r#"
target: deployment/shop
feature:
  env:
    exclude: ["SECRET_*"]
    unset: AWS_PROFILE
  network:
    incoming:
      mode: steal
      http_filter:
        all_of:
          - header: "^x-user: {{ key }}$"
          - {body: json, query: "$.items[?(typeof(@) == 'string')]", matches: "^tea$"}
      on_concurrent_steal: override
  preview:
    image: shop:{{ key }}
    labels: {include: "app;tier"}
"#;

#[test]
fn files_as_people_have_them_resolve() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, target, image) in [
        ("basic.json", BASIC, "pod/bear-pod", None),
        ("template.json", BASIC_TEMPLATE, "pod/fallback", None),
        ("complete.json", COMPLETE, "pod/shop-7d9c", None),
        ("ci.json", FROM_CI, "deployment/shop", Some("registry.example/shop:pr-4711")),
        ("typed.toml", TYPED_TOML, "deployment/shop/container/web", Some("registry.example/shop:feat-tea")),
        ("plain.yaml", YAML, "deployment/shop", Some("shop:00000")),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let flags = Overrides { config_file: Some(path.clone()), ..Overrides::default() };
        let environment = [("MIRRORD_BRANCH_NAME".to_owned(), "feat/tea".to_owned())].into_iter().collect();
        let config = Config::resolve(&flags, &environment, Uuid::nil())
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_fits_schema(&path, config.selection.key.key(), &environment);
        assert_eq!(config.selection.target.unwrap().to_string(), target, "{name}");
        assert_eq!(config.image.as_deref(), image, "{name}");
    }
}

#[test]
fn examples_resolve_and_fit_the_schema() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        let flags = Overrides { config_file: Some(path.clone()), ..Overrides::default() };
        let config = Config::resolve(&flags, &Environment::default(), Uuid::nil())
            .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        assert_fits_schema(&path, config.selection.key.key(), &Environment::default());
    }
}
