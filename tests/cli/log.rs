//! `MIRRORD_LOG`.

use super::connection::REFUSING;
use super::screen;

/// The screen of a `status` whose kubeconfig holds a token.
fn logged(environment: &[(&str, &str)]) -> String {
    let kubeconfig = REFUSING.replace("user: {}", "user: {token: very-secret}");
    screen(&["preview", "status"], environment, &[("kubeconfig", &kubeconfig)])
}

#[test]
fn each_call_of_the_api_is_logged_without_secrets() {
    for level in ["info", "trace", "kube_client=debug"] {
        let screen = logged(&[("MIRRORD_LOG", level)]);
        assert!(screen.contains("GET http://127.0.0.1:1/version: no answer ("), "{screen}");
        assert!(!screen.contains("very-secret"), "{screen}");
    }
    let quiet = logged(&[("MIRRORD_LOG", "off")]);
    assert_eq!(quiet, logged(&[]));
    assert!(!quiet.contains("GET"), "{quiet}");
}

#[test]
fn in_json_mode_the_log_is_json_lines_too() {
    let screen = logged(&[("MIRRORD_LOG", "debug"), ("MIRRORD_PROGRESS_MODE", "json")]);
    let lines: Vec<serde_json::Value> = screen
        .lines()
        .filter(|line| !line.starts_with(['$', '-']))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let call = lines.iter().find(|line| line["type"] == "Log" && line["url"].is_string());
    let call = call.unwrap_or_else(|| panic!("{screen}"));
    assert_eq!(
        (&call["method"], &call["url"], &call["status"]),
        (&"GET".into(), &"http://127.0.0.1:1/version".into(), &serde_json::Value::Null)
    );
}

#[test]
fn levels_of_other_modules_are_ignored_with_a_warning() {
    let screen = logged(&[("MIRRORD_LOG", "mirrord=trace,info")]);
    assert!(screen.contains("! `mirrord=trace` in `MIRRORD_LOG` is ignored"), "{screen}");
    assert!(screen.contains("GET http://127.0.0.1:1/version"), "{screen}");
}

#[test]
fn an_unknown_level_is_refused() {
    insta::assert_snapshot!(logged(&[("MIRRORD_LOG", "loud")]));
}
