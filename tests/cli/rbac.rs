//! `rbac` prints text and contacts no cluster.

use serde_json::Value;

use super::connection::REFUSING;
use super::screen;

fn printed(namespace: &str, mode: &str) -> String {
    let screen = screen(
        &["preview", "rbac", "-n", namespace, "--user", "ann"],
        &[("MIRRORD_PROGRESS_MODE", mode)],
        &[("kubeconfig", REFUSING)],
    );
    let (out, rest) = screen.split_once("--- stdout\n").unwrap().1.split_once("--- stderr\n").unwrap();
    assert_eq!(rest, "--- exit code 0\n");
    out.to_owned()
}

#[test]
fn printed_names_stay_strings_in_yaml() {
    for namespace in ["123", "true", "1e3", "shop"] {
        let text = printed(namespace, "simple");
        for document in text.split("---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            assert_eq!(object["metadata"]["namespace"], namespace);
        }
    }
    insta::assert_snapshot!(printed("123", "simple"));
}

#[test]
fn in_json_mode_rbac_prints_one_line() {
    let text = printed("123", "json");
    assert_eq!(text.lines().count(), 1);
    let list: Value = serde_json::from_str(&text).unwrap();
    let yaml = printed("123", "simple");
    let objects = yaml.split("---\n").map(|document| serde_saphyr::from_str::<Value>(document).unwrap());
    assert_eq!(list["items"], objects.collect::<Value>());
}
