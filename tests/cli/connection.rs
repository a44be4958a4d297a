//! A cluster that cannot be reached.

use insta::assert_snapshot;

use super::screen;

/// A kubeconfig whose API server refuses connections: port 1 of this machine.
pub(crate) const REFUSING: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody, namespace: staging}}]
current-context: nowhere
"#;

#[test]
fn a_cluster_that_refuses_connections_is_named() {
    let files = [("kubeconfig", REFUSING)];
    for verb in [&["status"][..], &["stop", "-k", "x"], &["start", "-t", "deployment/shop", "-i", "x"]] {
        let arguments = [&["preview"], verb].concat();
        assert_snapshot!(screen(&arguments, &[], &files));
    }
}

#[test]
fn in_json_mode_every_line_of_both_streams_is_an_object() {
    let files = [("kubeconfig", REFUSING)];
    let json = [("MIRRORD_PROGRESS_MODE", "json")];
    assert_snapshot!(screen(
        &["preview", "start", "-t", "deployment/shop", "-i", "x", "-k", "pr-1"],
        &json,
        &files
    ));
}

#[test]
fn with_progress_off_only_the_error_is_left() {
    let files = [("kubeconfig", REFUSING)];
    let off = [("MIRRORD_PROGRESS_MODE", "off")];
    assert_snapshot!(screen(&["preview", "stop", "-k", "x"], &off, &files));
}

#[test]
fn a_missing_or_invalid_kubeconfig_is_a_configuration_error() {
    assert_snapshot!(screen(&["preview", "status"], &[], &[]));
    assert_snapshot!(screen(&["preview", "status"], &[], &[("kubeconfig", "{")]));
    assert_snapshot!(screen(&["preview", "status", "--kubeconfig", "gone"], &[], &[]));
    assert_snapshot!(screen(&["preview", "status", "--context", "prod"], &[], &[("kubeconfig", REFUSING)]));
}

/// A kubeconfig with a context of its own, which is not the current one.
fn context(name: &str) -> String {
    REFUSING.replace("nowhere", name).replace(&format!("current-context: {name}"), "")
}

#[test]
fn a_list_of_kubeconfigs_is_merged_without_missing_files() {
    let files = [("a", &*context("a")), ("b", &*context("b"))];
    for (list, context) in [("a:b", "b"), ("gone:a:b", "a"), ("a:gone:b", "b"), (":b:", "b")] {
        let screen = screen(&["preview", "status", "--context", context], &[("KUBECONFIG", list)], &files);
        assert!(screen.contains("could not connect to the cluster at `http://127.0.0.1:1/`"), "{screen}");
    }
    let gone = screen(&["preview", "status"], &[("KUBECONFIG", "gone:lost")], &files);
    assert!(gone.contains("`gone` cannot be used") && gone.ends_with("--- exit code 2\n"), "{gone}");
    let named = screen(&["preview", "status", "--context", "b"], &[("MIRRORD_KUBECONFIG", "gone:b")], &files);
    assert!(named.contains("could not connect to the cluster"), "{named}");
}

#[test]
fn a_broken_kubeconfig_is_an_error_in_a_pod_too() {
    let pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "1")];
    let screen = screen(&["preview", "status"], &pod, &[("kubeconfig", "{")]);
    assert!(screen.contains("could not read the kubeconfig"), "{screen}");
    assert!(screen.contains("`FOLDER/kubeconfig` cannot be used"), "{screen}");
}

#[test]
fn a_failing_exec_plugin_is_reported_with_a_hint() {
    let kubeconfig = REFUSING.replace(
        "user: {}",
        "user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, \"echo no session >&2; exit 3\"], interactiveMode: Never}}",
    );
    let screen = screen(&["preview", "status"], &[], &[("kubeconfig", &kubeconfig)]);
    assert!(screen.contains("could not use the credentials for `http://127.0.0.1:1/`"), "{screen}");
    assert!(
        screen.contains("hint: log in again, or check the `users` section of your kubeconfig"),
        "{screen}"
    );
    assert!(screen.ends_with("--- exit code 4\n"), "{screen}");
}

#[test]
fn without_a_kubeconfig_rbac_needs_only_a_namespace() {
    let screen = screen(&["preview", "rbac"], &[], &[]);
    assert!(screen.contains("error: no namespace is given, and the kubeconfig has none"), "{screen}");
    assert!(screen.contains("hint: pass `-n <namespace>`"), "{screen}");
    assert!(screen.ends_with("--- exit code 2\n"), "{screen}");
}
