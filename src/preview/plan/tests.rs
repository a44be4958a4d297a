//! The planned objects, as Kubernetes gets them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::session::{Key, SessionId};
use crate::target::container::choose;

fn request(template: &Value) -> Request {
    let source = Source { template: template.as_object().unwrap().clone() };
    Request {
        identity: Identity {
            id: SessionId::new(Uuid::from_u128(0x1a2b_3c4d << 96)),
            key: "feat/login".parse::<Key>().unwrap(),
            target: "deployment/shop".parse().unwrap(),
            ttl: Ttl::DEFAULT,
        },
        namespace: "staging".to_owned(),
        container: choose(&source, None).unwrap(),
        source,
        image: "registry.test/shop:pr-12".to_owned(),
        replicas: 2,
        creation_timeout: Duration::from_mins(1),
        clock: Clock::FromReadiness,
        exclusive_claims: ["disk".to_owned()].into(),
        agent_image: "mirrord:0.1.0".to_owned(),
    }
}

/// A template with all that must go and much that must stay.
fn busy() -> Value {
    json!({
        "metadata": {
            "creationTimestamp": null,
            "labels": {
                "app": "shop", "pod-template-hash": "abc", "controller-revision-hash": "def",
                "statefulset.kubernetes.io/pod-name": "shop-0", "batch.kubernetes.io/job-name": "shop",
            },
            "annotations": {"team": "checkout"},
        },
        "spec": {
            "initContainers": [{"name": "migrate", "image": "shop:1", "ports": [{"containerPort": 1, "hostPort": 1}]}],
            "containers": [
                {
                    "name": "istio-proxy", "image": "proxy:1",
                    "ports": [{"containerPort": 15090, "hostPort": 15090, "hostIP": "10.0.0.1"}],
                },
                {
                    "name": "web", "image": "shop:1", "imagePullPolicy": "IfNotPresent",
                    "aFieldNewerThanOurTypes": {"kept": true},
                    "resources": {"limits": {"memory": "64Mi"}},
                },
            ],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "disk"}},
                {"name": "shared", "persistentVolumeClaim": {"claimName": "nfs"}},
            ],
            "readinessGates": [{"conditionType": "example.test/warm"}],
            "serviceAccountName": "shop",
            "tolerations": [{"operator": "Exists"}],
        },
    })
}

#[test]
fn an_environment_is_a_job_and_a_replica_set() {
    let plan = Plan::of(&request(&busy()));
    insta::assert_yaml_snapshot!((&plan.root, plan.owned_replica_set("1-2-3"), &plan.warnings));
}

#[test]
fn planning_twice_gives_the_same_objects() {
    let plan = || Plan::of(&request(&busy()));
    assert_eq!(plan().replica_set, plan().replica_set);
    assert_eq!(plan().root, plan().root);
}

#[test]
fn the_selector_holds_nothing_that_the_target_selects_by() {
    let plan = Plan::of(&request(&busy()));
    assert_eq!(plan.replica_set["spec"]["selector"], json!({"matchLabels": {SESSION: "1a2b3c4d"}}));
    assert_eq!(plan.replica_set["metadata"]["labels"].get("app"), None);
    assert_eq!(plan.replica_set["spec"]["template"]["metadata"]["labels"]["app"], "shop");
}

#[test]
fn a_pull_policy_that_somebody_chose_stays() {
    for (image, policy, kept) in [
        ("shop:1", Some("IfNotPresent"), None),
        ("shop:1", Some("Always"), Some("Always")),
        ("shop", Some("Always"), None),
        ("shop", Some("IfNotPresent"), Some("IfNotPresent")),
        ("shop:1", Some("Never"), Some("Never")),
        ("shop:1", None, None),
    ] {
        let template =
            json!({"spec": {"containers": [{"name": "web", "image": image, "imagePullPolicy": policy}]}});
        let plan = Plan::of(&request(&template));
        let container = &plan.replica_set["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["imagePullPolicy"].as_str(), kept, "{image} {policy:?}");
    }
}

#[test]
fn on_the_nodes_network_the_ports_stay_and_the_user_is_warned() {
    let template = json!({"spec": {"hostNetwork": true, "containers": [
        {"name": "web", "image": "shop:1", "ports": [{"containerPort": 80, "hostPort": 80}]},
    ]}});
    let plan = Plan::of(&request(&template));
    assert_eq!(
        plan.replica_set.pointer("/spec/template/spec/containers/0/ports/0/hostPort"),
        Some(&json!(80))
    );
    assert!(plan.warnings[0].contains("node's network"));
}

#[test]
fn a_dead_cli_never_leaves_an_endless_start_behind() {
    let minute = Duration::from_mins(1);
    for (ttl, clock, deadline) in [
        (Ttl::Finite(minute), Clock::FromReadiness, Some(2 * minute)),
        (Ttl::Finite(minute), Clock::FromCreation, Some(2 * minute)),
        (Ttl::Infinite, Clock::FromReadiness, Some(11 * minute)),
        (Ttl::Infinite, Clock::FromCreation, None),
    ] {
        assert_eq!(first_deadline(ttl, minute, clock), deadline, "{ttl} {clock:?}");
    }
}
