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

/// The kubeconfig of a checkout: to log in, it runs a program that writes a marker.
fn marking() -> String {
    REFUSING.replace(
        "user: {}",
        "user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, \": > $MARKER; exit 3\"], interactiveMode: Never}}",
    )
}

/// The screen of a command in a checkout whose configuration file names such a
/// kubeconfig, and whether the program ran.
fn in_a_checkout(kubeconfig: &str, arguments: &[&str]) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let files = [
        ("kube/config", kubeconfig),
        (
            ".mirrord/mirrord.json",
            r#"{"kubeconfig": "kube/config", "key": "x", "target": "deployment/shop"}"#,
        ),
    ];
    let screen = screen(arguments, &[("MARKER", marker.to_str().unwrap())], &files);
    (screen, marker.exists())
}

#[test]
fn completion_and_looking_run_no_program_of_a_checkout() {
    for arguments in [
        &["candidates", "key", "--", "preview", "status", "-f", "-k"][..],
        &["candidates", "namespace", "--", "preview", "start", "-f", "-n"],
        &["candidates", "target", "--", "preview", "start", "-f", ".mirrord/mirrord.json", "-t"],
    ] {
        let (screen, ran) = in_a_checkout(&marking(), arguments);
        assert!(!ran && screen.contains("--- stdout\n--- stderr\n--- exit code 0\n"), "{screen}");
    }
    let provider = REFUSING.replace(
        "user: {}",
        "user: {auth-provider: {name: gcp, config: {cmd-path: /bin/sh, cmd-args: '-c \": > $MARKER\"'}}}",
    );
    for (kubeconfig, program) in [(marking(), "/bin/sh"), (provider, "gcp")] {
        for verb in [&["status"][..], &["doctor"], &["start", "-i", "x", "--dry-run"]] {
            let (screen, ran) = in_a_checkout(&kubeconfig, &[&["preview"], verb, &["-f"]].concat());
            let refusal = format!("the kubeconfig `kube/config` would run a program to log in: `{program}`");
            assert!(!ran && screen.contains(&refusal), "{screen}");
            assert!(
                screen.contains("hint: if you trust that program, pass `--kubeconfig kube/config`"),
                "{screen}"
            );
            assert!(screen.ends_with("--- exit code 2\n"), "{screen}");
        }
        let (screen, ran) = in_a_checkout(&kubeconfig, &["preview", "rbac", "-f"]);
        assert!(!ran && screen.ends_with("--- exit code 0\n"), "{screen}");
    }
}

#[test]
fn a_program_runs_for_a_kubeconfig_of_the_users_choice() {
    let chosen = ["--kubeconfig", "kube/config", "-f"];
    for arguments in [
        &[&["preview", "status"], &chosen[..]].concat()[..],
        &[&["preview", "doctor"], &chosen[..]].concat(),
        &[&["candidates", "key", "--", "preview", "status"], &chosen[..], &["-k"]].concat(),
        // A command that acts.
        &["preview", "stop", "-f"],
    ] {
        let (screen, ran) = in_a_checkout(&marking(), arguments);
        assert!(ran, "{screen}");
    }
}

#[test]
fn a_kubeconfig_of_a_file_and_the_files_in_it_are_regular_files() {
    let endless = REFUSING.replace("user: {}", "user: {tokenFile: /dev/zero}");
    for named in ["/dev/zero", "endless"] {
        let file = format!(r#"{{"kubeconfig": "{named}"}}"#);
        let files = [("endless", endless.as_str()), ("mirrord.json", &file)];
        let screen = screen(&["preview", "status", "-f", "mirrord.json"], &[], &files);
        assert!(
            screen.contains("`/dev/zero` cannot be used") && screen.contains("it is not a regular file"),
            "{screen}"
        );
        assert!(screen.ends_with("--- exit code 2\n"), "{screen}");
    }
}
