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
fn a_kubeconfig_that_is_not_there_or_makes_no_sense_is_a_configuration_error() {
    assert_snapshot!(screen(&["preview", "status"], &[], &[]));
    assert_snapshot!(screen(&["preview", "status"], &[], &[("kubeconfig", "{")]));
    assert_snapshot!(screen(&["preview", "status", "--kubeconfig", "gone"], &[], &[]));
    assert_snapshot!(screen(&["preview", "status", "--context", "prod"], &[], &[("kubeconfig", REFUSING)]));
}
