//! `status` with a fake API server that answers lists and no watches.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use super::connection::REFUSING;
use super::screen;

/// The scope that the user may list.
#[derive(Clone, Copy)]
enum May {
    Everywhere,
    InItsNamespace,
}

fn root(key: &str, target: &str, failed: Option<&str>) -> Value {
    let session = format!("{:08x}", key.len() * 7919 + target.len());
    let mut root = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": format!("preview-keeper-{session}"), "namespace": "staging", "uid": session,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "app.kubernetes.io/managed-by": "mirrord", "preview.mirrord.io/session": session,
                "preview.mirrord.io/key": key, "preview.mirrord.io/ttl": "infinite",
            },
            "annotations": {
                "preview.mirrord.io/key": key, "preview.mirrord.io/target": target,
                "preview.mirrord.io/image": "shop:2", "preview.mirrord.io/replicas": "1",
            },
        },
        "spec": {"template": {}}, "status": {"startTime": "2026-01-01T00:00:00Z"},
    });
    if let Some(reason) = failed {
        root["metadata"]["annotations"]["preview.mirrord.io/failed"] = reason.into();
    }
    root
}

fn answer(path: &str, may: May, roots: &[Value]) -> (u16, Value) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if path == "/version" {
        let names = [
            "major",
            "minor",
            "gitVersion",
            "gitCommit",
            "gitTreeState",
            "buildDate",
            "goVersion",
            "compiler",
            "platform",
        ];
        return (200, names.into_iter().map(|name| (name.to_owned(), Value::from("1"))).collect());
    }
    if !path.contains("/namespaces/") && matches!(may, May::InItsNamespace) {
        return (
            403,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}),
        );
    }
    let is_meant = |root: &&Value| {
        let key = root["metadata"]["labels"]["preview.mirrord.io/key"].as_str().unwrap();
        !query.contains("preview.mirrord.io%2Fkey")
            || query.contains(&format!("preview.mirrord.io%2Fkey%3D{key}"))
    };
    let items: Vec<&Value> =
        if path.ends_with("/jobs") { roots.iter().filter(is_meant).collect() } else { Vec::new() };
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
}

fn serve(stream: &TcpStream, may: May, roots: &[Value]) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        lines.by_ref().find(String::is_empty);
        let (code, body) = answer(request.split(' ').nth(1).unwrap(), may, roots);
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// The screen of a `status` of these environments.
fn status(arguments: &[&str], may: May) -> String {
    let roots = vec![
        root("pr-1", "deployment/shop", None),
        root("pr-12", "deployment/cart", None),
        root("gone", "deployment/shop", Some("it crashed")),
    ];
    status_of(roots, arguments, may)
}

fn status_of(roots: Vec<Value>, arguments: &[&str], may: May) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = REFUSING.replace("127.0.0.1:1", &listener.local_addr().unwrap().to_string());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let roots = roots.clone();
            thread::spawn(move || serve(&stream, may, &roots));
        }
    });
    screen(&[&["preview", "status"], arguments].concat(), &[], &[("kubeconfig", &kubeconfig)])
}

#[test]
fn a_pattern_and_a_target_select_the_listed_environments() {
    for (arguments, keys) in [
        (&["-o", "yaml"][..], &["pr-1", "pr-12"][..]),
        (&["-o", "yaml", "--glob", "*1"], &["pr-1"]),
        (&["-o", "yaml", "--glob", "pr-*"], &["pr-1", "pr-12"]),
        (&["-o", "yaml", "-t", "deploy/cart"], &["pr-12"]),
        (&["-o", "yaml", "-k", "pr-1"], &["pr-1"]),
        (&["-o", "yaml", "--failed"], &["gone"]),
    ] {
        let screen = status(arguments, May::Everywhere);
        let yaml = screen.split("--- stdout\n").nth(1).unwrap().split("--- stderr\n").next().unwrap();
        let list: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {screen}"));
        let found: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect();
        assert_eq!(found, keys, "{screen}");
        assert!(screen.ends_with("--- exit code 0\n"), "{screen}");
    }
}

#[test]
fn for_a_key_with_only_a_failed_start_the_hint_is_status_failed() {
    let screen = status(&["-k", "gone"], May::Everywhere);
    let hint = "hint: its start failed: see why with `mirrord preview status --failed --key gone`";
    assert!(screen.contains(hint) && screen.ends_with("--- exit code 3\n"), "{screen}");
    let screen = status(&["-k", "none"], May::Everywhere);
    assert!(screen.contains("hint: list the environments with `mirrord preview status`"), "{screen}");
}

#[test]
fn with_permissions_in_one_namespace_the_hint_is_the_namespace_flag() {
    let screen = status(&["-k", "none"], May::InItsNamespace);
    assert!(screen.contains("hint: if it is in another namespace, pass `-n <namespace>`"), "{screen}");
}

/// Annotations are written by anybody who may write a Job; kubectl had to fix the
/// same in CVE-2021-25743.
#[test]
fn text_from_the_cluster_cannot_control_the_terminal() {
    let hostile = "\u{1b}[2Jx\u{9b}31m\u{7}\u{202e}\npr-9   deployment/x   ready";
    let mut live = root("pr-1", hostile, None);
    let mut failed = root("gone", "deployment/shop", Some(hostile));
    for root in [&mut live, &mut failed] {
        for name in ["image", "owner", "container"] {
            root["metadata"]["annotations"][format!("preview.mirrord.io/{name}")] = hostile.into();
        }
    }
    // YAML keeps bidirectional marks: a document has no rows that they could forge.
    let is_control = |character: &char| character.is_control() && *character != '\n';
    for arguments in [
        &[][..],
        &["-o", "wide"],
        &["--failed"],
        &["--failed", "-o", "wide"],
        &["-o", "json"],
        &["-o", "yaml"],
        &["-k", "none"],
    ] {
        let screen = status_of(vec![live.clone(), failed.clone()], arguments, May::Everywhere);
        assert_eq!(screen.chars().find(is_control), None, "{arguments:?}: {screen:?}");
        assert!(arguments.contains(&"yaml") || !screen.contains('\u{202e}'), "{arguments:?}: {screen:?}");
        assert!(!screen.lines().any(|line| line.starts_with("pr-9")), "{arguments:?}: {screen}");
    }
}
