//! The planned objects, as Kubernetes gets them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::connections::Direction;
use super::*;
use crate::preview::features::FEATURES;
use crate::preview::rights::keeper;
use crate::session::{Key, Role, SessionId, Ttl};
use crate::workload::container::choose;

pub(in crate::preview) fn request(template: &Value) -> Request {
    let source = Source { template: template.as_object().unwrap().clone(), ..Source::default() };
    Request {
        keeper_rights: keeper(FEATURES),
        routing: None,
        isolation: Isolation::default(),
        api_port: 16443,
        identity: Identity {
            id: SessionId::new(Uuid::from_u128(0x1a2b_3c4d << 96)),
            key: "feat/login".parse::<Key>().unwrap(),
            target: "deployment/shop".parse().unwrap(),
            ttl: Ttl::DEFAULT,
            planned_at: "2026-01-01T00:00:00.5Z".parse().unwrap(),
            owner: Some("dev@example.com".to_owned()),
        },
        namespace: "staging".to_owned(),
        container: choose(&source, None).unwrap(),
        source,
        image: "registry.test/shop:pr-12".to_owned(),
        replicas: 2,
        creation_timeout: Duration::from_mins(1),
        counted_from: CountedFrom::Readiness,
        env: Env::default(),
        overrides: Vec::new(),
        labels: Keep::All,
        config_mounts: Vec::new(),
        secret_mounts: Vec::new(),
        left_off: BTreeSet::new(),
        claims: Claims { exclusive: ["disk".to_owned()].into(), shared: ["nfs".to_owned()].into() },
        agent: agent(),
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

/// A routing that steals by the key.
pub(in crate::preview) fn routing(account: Account) -> Routing {
    let assignment = json!({
        "session": "1a2b3c4d", "key": "feat/login", "namespace": "staging",
        "root": "preview-keeper-deployment-shop-1a2b3c4d", "target": "deployment/shop",
        "pods": {"labelled": "app=shop"}, "mode": "steal", "ports": [{"port": 80}, {"port": 81, "preview_port": 8081}],
        "filter": {"baggage": "feat/login"}, "agent": {"image": "mirrord:0.1.0"},
    });
    let assignment = serde_json::from_value(assignment).unwrap();
    Routing { assignment, account }
}

fn agent() -> Agent {
    Agent {
        image: "mirrord:0.1.0".to_owned(),
        image_pull_policy: Some(crate::config::scalar::PullPolicy::IfNotPresent),
        image_pull_secrets: vec!["registry".to_owned()],
        labels: [("team".to_owned(), "shop".to_owned()), (SESSION.to_owned(), "stolen".to_owned())].into(),
        annotations: [("note".to_owned(), "hers".to_owned())].into(),
        log_level: None,
        startup_timeout: None,
        service_account: None,
    }
}

#[test]
fn a_routed_environment_owns_a_keeper_with_its_own_service_account() {
    let mut request = request(&busy());
    request.routing = Some(routing(Account::Own));
    let plan = Plan::of(&request);
    let kinds: Vec<_> = plan.owned().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ServiceAccount", "Role", "RoleBinding", "ReplicaSet"]);
    insta::assert_yaml_snapshot!((&plan.root, &plan.owned_by("1-2-3")[..3]));
    // Without the account its pod could not be made: it waits for that.
    assert_eq!(plan.first_root().spec.unwrap().parallelism, Some(0));

    request.routing = Some(routing(Account::Prepared("mirrord-keeper".to_owned())));
    let plan = Plan::of(&request);
    assert_eq!(plan.owned().count(), 1, "an admin has made the account");
    let pod = plan.root.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.service_account_name.as_deref(), Some("mirrord-keeper"));
}

#[test]
fn an_environment_is_a_job_and_a_replica_set() {
    let plan = Plan::of(&request(&busy()));
    insta::assert_yaml_snapshot!((&plan.root, plan.owned_by("1-2-3"), &plan.warnings));
}

#[test]
fn a_half_made_environment_ends_soon_whatever_its_time_to_live_is() {
    let half_made = Some(60 + 600);
    for (ttl, counted_from, first, later) in [
        (Ttl::Infinite, CountedFrom::Creation, half_made, None),
        (Ttl::Finite(Duration::from_hours(8)), CountedFrom::Creation, half_made, Some(8 * 3600)),
        (Ttl::Finite(Duration::from_secs(90)), CountedFrom::Creation, Some(90), Some(90)),
        // Set when it is ready, once more.
        (Ttl::Infinite, CountedFrom::Readiness, half_made, half_made),
        (Ttl::Finite(Duration::from_secs(90)), CountedFrom::Readiness, Some(90 + 60), Some(90 + 60)),
    ] {
        let mut request = request(&busy());
        (request.identity.ttl, request.counted_from) = (ttl, counted_from);
        request.creation_timeout = Duration::from_mins(1);
        let plan = Plan::of(&request);
        let created = plan.first_root().spec.unwrap().active_deadline_seconds;
        assert_eq!((created, plan.deadline()), (first, later), "{ttl} {counted_from:?}");
        assert_eq!(plan.ends_early(), first != later);
    }
}

#[test]
fn planning_twice_gives_the_same_objects() {
    let plan = || Plan::of(&request(&busy()));
    assert_eq!(plan().owned_by("1-2-3"), plan().owned_by("1-2-3"));
    assert_eq!(plan().root, plan().root);
}

#[test]
fn the_selector_and_the_labels_of_the_target_are_disjoint() {
    let plan = Plan::of(&request(&busy()));
    assert_eq!(plan.replica_set["spec"]["selector"], json!({"matchLabels": {SESSION: "1a2b3c4d"}}));
    assert_eq!(plan.replica_set["metadata"]["labels"].get("app"), None);
    assert_eq!(plan.replica_set["spec"]["template"]["metadata"]["labels"]["app"], "shop");
}

#[test]
fn a_pull_policy_that_is_not_the_default_is_kept() {
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
fn on_the_nodes_network_the_ports_are_kept_and_the_user_is_warned() {
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
fn files_are_mounted_one_by_one_from_objects_of_the_root() {
    let mut request = request(&busy());
    let mount = |path: &str, content: &[u8]| Mount { path: path.to_owned(), content: content.to_owned() };
    request.config_mounts = vec![mount("/etc/app/a.toml", b"a = 1"), mount("/etc/app/b.bin", &[0, 255])];
    request.secret_mounts = vec![mount("/run/key", b"hush")];
    let plan = Plan::of(&request);
    assert!(!format!("{request:?}").contains("hush"));
    let [config, secret] = &plan.files[..] else { panic!("{:?}", plan.files) };
    let replica_set = &plan.replica_set;
    insta::assert_yaml_snapshot!((
        config,
        secret,
        replica_set.pointer("/spec/template/spec/volumes"),
        replica_set.pointer("/spec/template/spec/containers/1/volumeMounts")
    ));
}

#[test]
fn the_preview_carries_the_labels_of_the_target_that_are_kept_and_ours() {
    let mut request = request(&busy());
    request.labels = Keep::AllBut(vec!["ap*".to_owned()].into());
    let labels = Plan::of(&request).replica_set.pointer("/spec/template/metadata/labels").unwrap().clone();
    assert_eq!(labels.get("app"), None);
    assert_eq!(labels[SESSION], "1a2b3c4d");
}

#[test]
fn a_copy_of_a_live_pod_leaves_out_the_fields_that_the_cluster_set() {
    let mut request = request(&json!({
        "metadata": {
            "labels": {"app": "shop"}, "uid": "1", "resourceVersion": "2", "name": "shop-1",
            "annotations": {
                "team": "shop", "cni.projectcalico.org/ipv4pools": "[\"pool\"]", "notovn.kubernetes.io/x": "kept",
                "k8s.ovn.org/pod-networks": "{}", "ovn.kubernetes.io/ip_address": "10.0.0.9", "net1.default.ovn.kubernetes.io/mac_address": "a",
                "cni.projectcalico.org/podIP": "10.0.0.9/32", "k8s.v1.cni.cncf.io/network-status": "[]",
            },
        },
        "spec": {
            "activeDeadlineSeconds": 5, "restartPolicy": "Never",
            "nodeName": "n", "hostname": "h", "subdomain": "s", "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
            "ephemeralContainers": [{"name": "debug"}], "serviceAccountName": "shop", "serviceAccount": "shop",
            "containers": [{"name": "web", "image": "shop:1", "volumeMounts": [
                {"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                {"name": "data", "mountPath": "/data"},
            ]}],
            "volumes": [{"name": "kube-api-access-abcde", "projected": {}}, {"name": "data", "emptyDir": {}}],
        },
    }));
    request.source.lived = true;
    insta::assert_yaml_snapshot!(Plan::of(&request).replica_set.pointer("/spec/template"));
}

#[test]
fn the_disks_of_a_stateful_sets_pods_become_empty() {
    let mut request = request(&busy());
    request.source.own_disks = vec!["journal".to_owned()];
    let plan = Plan::of(&request);
    let volumes = plan.replica_set.pointer("/spec/template/spec/volumes").unwrap().as_array().unwrap();
    assert!(volumes.contains(&json!({"name": "journal", "emptyDir": {}})));
    assert!(plan.warnings.iter().any(|warning| warning.contains("`journal` is empty")));
}

#[test]
fn the_record_of_a_failed_start_has_no_pod_and_a_deadline_of_its_own() {
    let plan = Plan::of(&request(&busy()));
    let record = plan.record(&"ä".repeat(100_000));
    let reason = &record.metadata.annotations.as_ref().unwrap()[crate::session::FAILED];
    assert!(reason.len() < 20_000);
    let spec = record.spec.unwrap();
    assert_eq!((spec.parallelism, spec.active_deadline_seconds), (Some(0), Some(900)));
    assert_eq!(record.metadata.labels, plan.root.metadata.labels);
}

#[test]
fn isolated_pods_get_policies_that_let_requests_in_and_the_keeper_out() {
    let mut request = request(&busy());
    request.source.pods = Some(crate::workload::LivePods::Selected(json!({"matchLabels": {"app": "shop"}})));
    request.isolation.insert(Role::Preview, Direction::Ingress, vec!["deny-all".to_owned()]);
    request.isolation.insert(Role::Keeper, Direction::Egress, vec!["deny-out".to_owned()]);
    assert!(Plan::of(&request).policies.is_empty(), "nothing is routed");
    request.routing = Some(Routing {
        assignment: serde_json::from_value(json!({
            "session": "1a2b3c4d", "key": "feat/login", "namespace": "staging", "root": "", "target": "deployment/shop",
            "pods": {"labelled": "app=shop"}, "mode": "steal", "ports": [{"port": 80}], "filter": crate::traffic::Filter::Everything,
            "agent": {"image": "mirrord:1"},
        }))
        .unwrap(),
        account: Account::Prepared("keeper".to_owned()),
    });
    let plan = Plan::of(&request);
    insta::assert_yaml_snapshot!(plan.policies);
    for policy in ["deny-all", "deny-out"] {
        let name = format!("NetworkPolicy `{policy}`");
        assert!(plan.warnings.iter().any(|warning| warning.contains(&name)), "{:?}", plan.warnings);
    }
    // Live pods may be named as peers, but nothing of ours ever selects them.
    for policy in &plan.policies {
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"][SESSION], "1a2b3c4d");
    }
    assert_eq!(plan.pod_template()["metadata"]["labels"][SESSION], "1a2b3c4d");
    request.isolation = Isolation::default();
    assert!(Plan::of(&request).policies.is_empty());
}
