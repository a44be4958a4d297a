//! Valid and invalid command lines.

use insta::assert_snapshot;

use super::{screen, screens};

#[test]
fn help_is_what_readme_promises() {
    assert_snapshot!(screens(&[
        &["--help"],
        &["preview", "--help"],
        &["preview", "start", "--help"],
        &["preview", "status", "--help"],
        &["preview", "stop", "--help"],
    ]));
}

#[test]
fn an_invalid_command_line_is_exit_code_2() {
    assert_snapshot!(screens(&[
        &["preview"],
        &["preview", "strat"],
        &["preview", "start", "--ttl", "soon"],
        &["preview", "start", "--ttl", "0"],
        &["preview", "start", "--timeout", "0"],
        &["preview", "start", "--timeout", "18446744073709551615"],
        &["preview", "status", "-n", ""],
        &["preview", "status", "-n", "a/b"],
        &["preview", "start", "-t", "statefulset/db"],
        &["preview", "start", "-t", "shop"],
        &["preview", "start", "-k", ""],
        &["preview", "start", "--imgae", "x"],
        &["preview", "status", "--glob", "["],
        &["preview", "status", "-n", "a", "-A"],
        &["preview", "status", "-o", "xml"],
        &["preview", "stop"],
        &["completions", "tcsh"],
    ]));
}

#[test]
fn a_key_and_a_pattern_conflict_on_both_sides_of_the_verb() {
    for verb in ["status", "stop"] {
        for arguments in
            [["preview", "-k", "a", verb, "--glob", "b"], ["preview", verb, "-k", "a", "--glob", "b"]]
        {
            let screen = screen(&arguments, &[], &[]);
            assert!(screen.contains("`--key` and `--glob` cannot be used together"), "{screen}");
            assert!(screen.ends_with("--- exit code 2\n"), "{screen}");
        }
    }
}

#[test]
fn common_flags_are_taken_on_both_sides_of_the_verb() {
    let common = ["-k", "pr-1", "-f", "mirrord.json", "--context", "c", "--kubeconfig", "kubeconfig"];
    let files = [("mirrord.json", "{}"), ("kubeconfig", super::connection::REFUSING)];
    for position in [1, 2] {
        let mut arguments = vec!["preview", "status"];
        arguments.splice(position..position, common);
        let screen = screen(&arguments, &[], &files);
        assert!(screen.contains("there is no context `c` in the kubeconfig"), "{screen}");
    }
}

#[test]
fn in_json_mode_a_usage_error_is_a_json_line() {
    let screen = screen(&["preview", "start", "--ttl", "soon"], &[("MIRRORD_PROGRESS_MODE", "json")], &[]);
    let stdout = screen.split("--- stdout\n").nth(1).unwrap().split("--- stderr\n").next().unwrap();
    let line: serde_json::Value = serde_json::from_str(stdout).unwrap();
    assert_eq!((&line["type"], &line["success"]), (&"FinishedTask".into(), &false.into()));
    assert!(screen.ends_with("--- stderr\n--- exit code 2\n"), "{screen}");
}

#[test]
fn an_unknown_progress_mode_is_refused() {
    assert_snapshot!(screen(&["preview", "status"], &[("MIRRORD_PROGRESS_MODE", "loud")], &[]));
}

#[test]
fn a_broken_pipe_is_not_an_error() {
    // `| true`: the reader ends before the first byte, or soon after it.
    let status = std::process::Command::new("bash")
        .args(["-c", "set -o pipefail; \"$0\" completions zsh | true", env!("CARGO_BIN_EXE_mirrord")])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn in_json_mode_help_is_not_an_error() {
    for arguments in [&[][..], &["preview"]] {
        let screen = screen(arguments, &[("MIRRORD_PROGRESS_MODE", "json")], &[]);
        let stdout = screen.split("--- stdout\n").nth(1).unwrap().split("--- stderr\n").next().unwrap();
        let line: serde_json::Value = serde_json::from_str(stdout).unwrap();
        let message = line["message"].as_str().unwrap();
        assert!(!message.starts_with("error:") && message.contains("Usage: mirrord"), "{message}");
        assert!(screen.ends_with("--- stderr\n--- exit code 2\n"), "{screen}");
    }
}

#[test]
fn rbac_refuses_invalid_names() {
    for arguments in [
        ["--service-account", ""],
        ["--service-account", "a/b/c"],
        ["--service-account", "Ann"],
        ["--service-account", "a.b/c"],
        ["--user", ""],
        ["--group", " "],
    ] {
        let screen = screen(&[&["preview", "rbac", "-n", "a"], &arguments[..]].concat(), &[], &[]);
        assert!(screen.ends_with("--- exit code 2\n"), "{screen}");
    }
}
