//! Printed lists and lines.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::preview::listed::{Copied, Listed};
use crate::session::Session;

const NOW: &str = "2026-01-01T00:10:00Z";

fn view(format: ListFormat) -> View {
    View { format, now: NOW.parse().unwrap() }
}

fn shown(listed: &[Listed], format: ListFormat) -> String {
    list(listed, &view(format), ProgressMode::Plain).unwrap()
}

fn listed(key: &str, ttl: &str, root: &Value, pods: &[Value]) -> Listed {
    let mut job = json!({
        "metadata": {
            "name": format!("preview-keeper-deployment-shop-{ttl}"), "namespace": "staging",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "app.kubernetes.io/managed-by": "mirrord", "preview.mirrord.io/session": "1a2b3c4d",
                "preview.mirrord.io/key": "x", "preview.mirrord.io/ttl": ttl,
            },
            "annotations": {
                "preview.mirrord.io/key": key, "preview.mirrord.io/target": "deployment/shop",
                "preview.mirrord.io/container": "web", "preview.mirrord.io/image": "shop:2",
                "preview.mirrord.io/replicas": "2", "preview.mirrord.io/ready-at": "2026-01-01T00:00:05Z",
            },
        },
        "spec": {"template": {}},
        "status": {"startTime": "2026-01-01T00:00:00Z"},
    });
    for (name, value) in root.as_object().unwrap() {
        job["spec"][name] = value.clone();
    }
    let job: Job = serde_json::from_value(job).unwrap();
    let pods = pods
        .iter()
        .map(|status| serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap());
    let ready = json!({"conditions": [{"type": "ContainersReady", "status": "True"}]});
    let keeper = serde_json::from_value(json!({"metadata": {"name": "k"}, "status": ready})).unwrap();
    let session = Session::of(&job).unwrap();
    Listed { session, pods: pods.collect(), keeper: Some(keeper), refused: None, copy: None }
}

fn environments() -> Vec<Listed> {
    let ready = json!({"conditions": [{"type": "ContainersReady", "status": "True"}]});
    let crashing = json!({"containerStatuses": [{
        "name": "web", "image": "shop:2", "imageID": "", "ready": false, "restartCount": 7,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "message": "a long reason that does not fit into a table's cell"}},
    }]});
    let mut all = vec![
        listed("pr-12", "3600s", &json!({"activeDeadlineSeconds": 3605}), &[ready.clone(), ready.clone()]),
        listed("feat/login", "infinite", &json!({}), std::slice::from_ref(&ready)),
        listed("機能", "600s", &json!({"activeDeadlineSeconds": 700}), &[ready, crashing]),
        listed("old", "600s", &json!({"activeDeadlineSeconds": 1}), &[]),
    ];
    let copies = [Some(Copied::Current), Some(Copied::Outdated), Some(Copied::Orphaned), None];
    for (one, copy) in all.iter_mut().zip(copies) {
        one.copy = copy;
        one.session.owner = Some("dev@example.com".to_owned());
    }
    all
}

#[test]
fn the_tables_show_every_environment() {
    insta::assert_snapshot!(shown(&environments(), ListFormat::Table));
    insta::assert_snapshot!(shown(&environments(), ListFormat::Wide));
}

#[test]
fn the_document_has_a_stable_shape() {
    insta::assert_snapshot!(shown(&environments()[..1], ListFormat::Json));
}

#[test]
fn in_json_mode_every_list_is_one_line() {
    for format in [ListFormat::Table, ListFormat::Wide, ListFormat::Json, ListFormat::Yaml] {
        let text = list(&environments(), &view(format), ProgressMode::Json).unwrap();
        assert_eq!(text.trim_end().lines().count(), 1);
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["items"].as_array().unwrap().len(), 4);
    }
}

#[test]
fn quoted_words_can_be_pasted_into_a_shell() {
    for (key, shown) in [
        ("pr-12", "pr-12"),
        ("feat/login", "feat/login"),
        ("it's", r#""it's""#),
        ("-x", "-x"),
        ("a b", "'a b'"),
    ] {
        assert_eq!(words::shell_word(key), shown);
    }
}

#[test]
fn failed_starts_are_listed_with_their_reason() {
    let mut one = listed("pr-12", "3600s", &json!({"activeDeadlineSeconds": 900}), &[]);
    one.session.failed =
        Some("container `web` crashes: it ended with exit code 1, which it says at length\nthe last lines of its log:\nno database".to_owned());
    let shown =
        |format| failed::list(std::slice::from_ref(&one), &view(format), ProgressMode::Plain).unwrap();
    insta::assert_snapshot!(shown(ListFormat::Table) + &shown(ListFormat::Wide) + &shown(ListFormat::Json));
}

/// An environment with this `report` of its keeper.
fn routed(key: &str, report: &Value) -> Listed {
    let ready = json!({"conditions": [{"type": "ContainersReady", "status": "True"}]});
    let spec = json!({"parallelism": 1, "activeDeadlineSeconds": 3605});
    let mut one = listed(key, "3600s", &spec, &[ready.clone(), ready]);
    one.session.traffic = (!report.is_null()).then(|| report.to_string());
    one
}

#[test]
fn a_report_counts_only_while_the_keeper_runs() {
    let good = json!({"mode": "steal", "ready": true, "pods": 3, "agents": 3, "proven": 3});
    let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]});
    let keeper = |deleted: bool, status: &Value| {
        let deleted = deleted.then_some("2026-01-01T00:09:00Z");
        let metadata = json!({"name": "k", "deletionTimestamp": deleted});
        serde_json::from_value::<Pod>(json!({"metadata": metadata, "status": status})).unwrap()
    };
    let ready = json!({"conditions": [{"type": "ContainersReady", "status": "True"}]});
    let words = |keeper: Option<Pod>| {
        let (word, why) = Listed { keeper, ..routed("pr-12", &good) }.state(NOW.parse().unwrap());
        (word, why.unwrap_or_default())
    };
    assert_eq!(words(Some(keeper(false, &ready))), ("ready", String::new()));
    for gone in [None, Some(keeper(true, &ready))] {
        assert_eq!(words(gone), ("degraded", "the keeper's pod does not exist".to_owned()));
    }
    let (word, why) = words(Some(keeper(false, &unscheduled)));
    assert_eq!(
        (word, why.as_str()),
        ("degraded", "the keeper's pod: no node takes the pod: 0/1 nodes are available")
    );
}

#[test]
fn traffic_is_shown_in_every_form() {
    let counts = json!({"matched": 12, "passed": 412, "mirrored": 0, "dropped": 0, "unavailable": 1, "lapses": 2, "last_matched_milliseconds": 1_767_225_597_000_u64});
    let good = json!({
        "mode": "steal", "ready": true, "pods": 3, "agents": 3, "proven": 3, "methods": ["sk_lookup"], "counts": counts, "predating": 4,
    });
    let unmatched = json!({
        "mode": "mirror", "ready": false, "pods": 2, "agents": 1, "methods": ["nftables", "sk_lookup"],
        "counts": {"matched": 0, "passed": 412, "mirrored": 0, "dropped": 0, "unavailable": 0},
        "waiting": "the agent in pod `shop-1` is being started",
    });
    let blocked = json!({"mode": "steal", "ready": false, "pods": 1, "obstacle": {"why": "the agent in pod `shop-1` cannot be started: ErrImagePull"}});
    let all = [
        routed("pr-12", &good),
        routed("pr-13", &unmatched),
        routed("pr-14", &blocked),
        routed("pr-15", &Value::Null),
    ];
    insta::assert_snapshot!(shown(&all, ListFormat::Table));
    insta::assert_snapshot!(shown(&all, ListFormat::Wide));
    insta::assert_snapshot!(shown(&all[..2], ListFormat::Json));
}

#[test]
fn printed_commands_work_in_any_shell() {
    let command =
        |key: &str, typed: &[(&str, String)]| command("stop", &key.parse().unwrap(), "staging", typed);
    assert_eq!(command("pr-12", &[]), "mirrord preview stop --key pr-12 -n staging");
    assert_eq!(
        command("it's", &[("--context", "a b".to_owned()), ("--kubeconfig", "/k".to_owned())]),
        r#"mirrord preview stop --key "it's" -n staging --context 'a b' --kubeconfig /k"#
    );
    assert_eq!(command("-x", &[]), "mirrord preview stop --key=-x -n staging");
    for key in
        ["a b", r#"say "hi""#, "it's $(reboot) `id`; rm -rf ~ | cat > x & #!\\", "*?[a]{b,c}", "機能/π"]
    {
        let words = shlex::split(&command(key, &[])).unwrap();
        assert_eq!(words, ["mirrord", "preview", "stop", "--key", key, "-n", "staging"]);
    }
    let one = listed("pr-12", "3600s", &json!({"activeDeadlineSeconds": 3605}), &[]);
    let lines = started(&one.session, &[], Vec::new(), &[], NOW.parse().unwrap());
    assert_eq!(
        lines[lines.len() - 2..],
        [
            "look: mirrord preview status --key pr-12 -n staging",
            "stop: mirrord preview stop --key pr-12 -n staging"
        ]
    );
}

#[test]
fn long_keys_and_names_are_not_cut() {
    let key = format!("feature/{}", "long-".repeat(20));
    let mut long = listed(&key, "3600s", &json!({"activeDeadlineSeconds": 3605}), &[]);
    long.session.target = format!("statefulset/{}", "n".repeat(63));
    let all = [long, listed("pr-1", "600s", &json!({"activeDeadlineSeconds": 700}), &[])];
    let text = shown(&all, ListFormat::Table);
    let target = text.lines().next().unwrap().find("TARGET").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].starts_with(&key) && lines[1][target..].starts_with(&all[0].session.target), "{text}");
    assert!(lines[2][target..].starts_with("deployment/shop"), "{text}");
}

#[test]
fn yaml_and_json_hold_the_same_data() {
    let json = shown(&environments(), ListFormat::Json);
    let yaml = shown(&environments(), ListFormat::Yaml);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), json);
}
