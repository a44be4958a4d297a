//! Screens about mirrord.json and the environment: warnings and errors.

use insta::assert_snapshot;

use super::connection::REFUSING;
use super::screen;

/// The screen of a start with this file. It ends with the file's error, or at a
/// cluster that refuses connections.
fn start_with(file: &str) -> String {
    let full = screen(
        &["preview", "start", "-f", "mirrord.json"],
        &[],
        &[("mirrord.json", file), ("kubeconfig", REFUSING)],
    );
    // Every command is the same, so the screen begins with the file's text instead.
    let said = full.split("--- stderr\n").nth(1).unwrap();
    format!("{file}\n--- stderr\n{said}\n")
}

#[test]
fn errors_in_a_file_name_the_place_and_the_reason() {
    let files = [
        "",
        "[]",
        "{\"target\": ",
        "{\n  \"target\": \"deployment/shop\"\n  \"key\": 1\n}",
        "{\"tagret\": \"deployment/shop\"}",
        "{\"target\": \"deploymint/shop\"}",
        "{\"target\": {\"path\": \"deployment/shop\", \"namespce\": \"a\"}}",
        "{\"target\": 3}",
        "{\"feature\": {\"preview\": {\"imagee\": \"x\"}}}",
        "{\"feature\": {\"preview\": {\"replicas\": 0}}}",
        "{\"feature\": {\"preview\": {\"replicas\": \"two\"}}}",
        "{\"feature\": {\"preview\": {\"ttl_mins\": \"soon\"}}}",
        "{\"feature\": {\"preview\": {\"ttl_mins\": 0}}}",
        "{\"feature\": {\"preview\": {\"ttl_mins\": 5, \"ttl_secs\": 5}}}",
        "{\"feature\": {\"preview\": {\"creation_timeout_secs\": 0}}}",
        "{\"feature\": {\"network\": {\"incoming\": \"stael\"}}}",
        "{\"feature\": {\"network\": {\"incoming\": {\"mode\": \"steal\", \"prots\": [80]}}}}",
        "{\"feature\": {\"db_branches\": [{\"type\": \"pg\"}]}}",
        "{\"feature\": {\"network\": {\"incoming\": {\"tls_delivery\": {\"protocol\": \"tcp\"}}}}}",
        "{\"feature\": {\"network\": {\"incoming\": {\"ports\": [80, 70000]}}}}",
        "{\"feature\": {\"network\": {\"incoming\": {\"http_filter\": {\"hedaer_filter\": \"x\"}}}}}",
        "{\"feature\": {\"network\": {\"incoming\": {\"http_filter\": {\"body_filter\": {\"query\": \".x\"}}}}}}",
        "{\"feature\": {\"network\": {\"incoming\": {\"http_filter\": {\"any_of\": [{\"body\": \"json\"}]}}}}}",
        "{\"feature\": {\"preview\": [\"shop:1\"]}}",
        "{\"agent\": {\"image_pull_secrets\": [{\"secret-key\": \"registry\"}]}}",
        "{\"profile\": \"team\"}",
        "{\"target\": {\"labels\": {\"app\": \"shop\"}}}",
        "{\"feature\": {\"preview\": {\"config_mounts\": []}}}",
        "{\"feature\": {\"env\": {\"override\": {\"A\": \"b\"}}}}",
        "{\"feature\": {\"env\": {\"override\": {\"A\": \"b\"}, \"unset\": \"a\"}}}",
        "{\"key\": \"a\", \"key\": \"b\"}",
        "{\"key\": \"\"}",
        "{\"key\": [1]}",
        "{\"key\": \"{{ key }}\"}",
        "{\"key\": \"{{ get_env(name='MISSING') }}\"}",
        "{\"key\": \"{{ nothing }}\"}",
        "{\"key\": \"{{ git_branch }}\"}",
        "{\"key\": \"{{ git_branch | slugify }}\"}",
        "{\"key\": \"{{ key\"}",
    ];
    assert_snapshot!(files.map(start_with).join("\n"));
}

#[test]
fn stop_reads_only_the_connection_settings_of_a_file() {
    let file = r#"{"key": "k", "target": {"path": "deployment/shop", "namespace": "staging"}, "feature": {"db_branches": [{}]}}"#;
    let files = [("mirrord.json", file), ("kubeconfig", REFUSING)];
    assert_snapshot!(screen(&["preview", "stop", "-f", "mirrord.json"], &[], &files));
    let variables = [("MIRRORD_IMPERSONATED_TARGET", "targetless")];
    assert_snapshot!(screen(&["preview", "stop", "-k", "x"], &variables, &[("kubeconfig", REFUSING)]));
    // The warning says that an unreadable target selects more environments.
    let file = r#"{"key": "pr-1", "target": {"path": "deplyment/a", "namespace": "ns"}}"#;
    let files = [("mirrord.json", file), ("kubeconfig", REFUSING)];
    let broken = screen(&["preview", "stop", "-f", "mirrord.json"], &[], &files);
    assert!(broken.contains("every target with this key in namespace `ns` is selected"), "{broken}");
    let broken = screen(&["preview", "stop", "-A", "-f", "mirrord.json"], &[], &files);
    assert!(broken.contains("every target with this key in every namespace is selected"), "{broken}");
    // A flag is never ignored.
    assert_snapshot!(screen(&["preview", "stop", "-k", "x", "-t", "targetless"], &[], &[]));
}

#[test]
fn a_missing_file_is_named() {
    assert_snapshot!(screen(&["preview", "start", "-f", "gone.json"], &[], &[]));
    assert_snapshot!(screen(&["preview", "start", "-f", "mirrord.ini"], &[], &[("mirrord.ini", "")]));
}

#[test]
fn without_a_target_or_an_image_nothing_is_contacted() {
    assert_snapshot!(screen(&["preview", "start"], &[], &[]));
    assert_snapshot!(screen(&["preview", "start", "-t", "deployment/shop"], &[], &[]));
}

#[test]
fn comments_trailing_commas_and_fields_of_local_runs_are_tolerated() {
    assert_snapshot!(start_with(
        r#"{
  // the shop
  "$schema": "https://example.invalid/schema.json",
  "key": 42,
  "operator": true,
  "telemetry": false,
  "target": {"path": "deployment/shop", "namespace": "staging",},
  "feature": {
    "fs": "local",
    "copy_target": true,
    "network": {"incoming": {"mode": "off", "http_filter": {"header_filter": "x: {{key}}"}}, "outgoing": true},
    "preview": {"image": "shop:{{ key }}", "ttl_mins": "infinite"}, /* for ever */
  },
}"#
    ));
}

#[test]
fn standard_input_and_the_default_place_are_read() {
    let file = r#"{"target": "deployment/shop"}"#;
    let stdin = screen(&["preview", "start", "-f", "-"], &[], &[("stdin", file)]);
    assert!(stdin.contains("no image is named"), "{stdin}");
    let default = screen(&["preview", "start", "-f"], &[], &[(".mirrord/mirrord.json", file)]);
    assert!(default.contains("no image is named"), "{default}");
    let variable = [("MIRRORD_CONFIG_FILE", "other.json")];
    let variable = screen(&["preview", "start"], &variable, &[("other.json", file)]);
    assert!(variable.contains("no image is named"), "{variable}");
}

#[test]
fn an_invalid_variable_is_named() {
    let refused = [
        ("MIRRORD_KEY", "a\tb"),
        ("MIRRORD_IMPERSONATED_TARGET", "shop"),
        ("MIRRORD_PREVIEW_TTL_MINS", "soon"),
        ("MIRRORD_PREVIEW_TTL_SECS", "0"),
        ("MIRRORD_PREVIEW_TTL_SECS", "soon"),
        ("MIRRORD_TARGET_NAMESPACE", "Bad_NS"),
        ("MIRRORD_PREVIEW_REPLICAS", "0"),
        ("MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS", "-1"),
        ("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "maybe"),
    ];
    let screens = refused.map(|variable| {
        format!(
            "{}={:?} {}",
            variable.0,
            variable.1,
            screen(&["preview", "start", "-i", "x"], &[variable], &[])
        )
    });
    assert_snapshot!(screens.join("\n"));
}
