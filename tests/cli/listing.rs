//! `status`, `stop` and `extend` with a fake API server that answers lists, reads and
//! patches of roots, and no watches.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
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
    let digest = key
        .bytes()
        .chain(target.bytes())
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let session = format!("{digest:08x}");
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
    let namespace =
        path.split_once("/namespaces/").map(|(_, rest)| rest.split('/').next().unwrap().to_owned());
    let is_there =
        |root: &&Value| namespace.as_ref().is_none_or(|name| root["metadata"]["namespace"] == **name);
    // A read or a patch; the patched root is not kept.
    if let Some((_, name)) = path.split_once("/jobs/") {
        let root = roots.iter().filter(is_there).find(|root| root["metadata"]["name"] == *name).unwrap();
        return (200, root.clone());
    }
    let items: Vec<&Value> = if path.ends_with("/jobs") {
        roots.iter().filter(is_meant).filter(is_there).collect()
    } else {
        Vec::new()
    };
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
}

fn serve(stream: &TcpStream, may: May, roots: &[Value]) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = reader.by_ref().lines().map_while(Result::ok).next() {
        let head = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let length = head.filter_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).last();
        reader.by_ref().take(length.unwrap_or(0)).read_to_end(&mut Vec::new()).unwrap();
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
    screen_of(roots, &[&["preview", "status"], arguments].concat(), may)
}

/// The screen of a command in a cluster with these environments.
fn screen_of(roots: Vec<Value>, arguments: &[&str], may: May) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let kubeconfig = REFUSING.replace("127.0.0.1:1", &listener.local_addr().unwrap().to_string());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let roots = roots.clone();
            thread::spawn(move || serve(&stream, may, &roots));
        }
    });
    screen(arguments, &[], &[("kubeconfig", &kubeconfig)])
}

fn root_in(namespace: &str, key: &str, target: &str) -> Value {
    let mut root = root(key, target, None);
    root["metadata"]["namespace"] = namespace.into();
    root
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

/// Keys are often numbers of pull requests, which every repository counts from 1.
#[test]
fn a_key_in_several_namespaces_is_stopped_or_extended_only_if_all_are_asked_for() {
    let roots = || {
        vec![
            root_in("staging", "pr-12", "deployment/shop"),
            root_in("web", "pr-12", "deployment/site"),
            root_in("web", "pr-1", "deployment/site"),
        ]
    };
    for verb in [&["stop", "--no-wait"][..], &["extend", "--ttl", "2h"]] {
        let run =
            |arguments: &[&str], may| screen_of(roots(), &[&["preview"], verb, arguments].concat(), may);
        for several in [&["-k", "pr-12"][..], &["--glob", "pr-*"], &["--glob", "*"]] {
            let screen = run(several, May::Everywhere);
            assert!(screen.contains("caused by: there are environments in 2 namespaces"), "{screen}");
            assert!(screen.contains("pr-12 on deployment/shop in namespace staging\n"), "{screen}");
            assert!(screen.contains("pr-12 on deployment/site in namespace web\n"), "{screen}");
            assert!(screen.contains("hint: pass `-n <namespace>` for"), "{screen}");
            assert!(screen.ends_with("--- exit code 2\n"), "{screen}");
        }
        let done = |screen: &str| -> Vec<String> {
            assert!(screen.ends_with("--- exit code 0\n"), "{screen}");
            let lines = screen.lines().filter_map(|line| line.split_once(" in namespace "));
            lines.map(|(_, namespace)| namespace.to_owned()).collect()
        };
        for (arguments, may, namespaces) in [
            (&["-k", "pr-1"][..], May::Everywhere, &["web"][..]),
            (&["-k", "pr-12", "-n", "web"], May::Everywhere, &["web"]),
            (&["-k", "pr-12", "-t", "deployment/shop"], May::Everywhere, &["staging"]),
            (&["-k", "pr-12", "-A"], May::Everywhere, &["staging", "web"]),
            // The context's namespace is `staging`.
            (&["-k", "pr-12"], May::InItsNamespace, &["staging"]),
        ] {
            let screen = run(arguments, may);
            let mut found = done(&screen);
            found.retain(|namespace| !namespace.contains('`'));
            assert_eq!(found, namespaces, "{screen}");
        }
    }
}
