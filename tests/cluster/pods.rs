//! The preview pod: a copy of the target's pod that no Service routes to and that no
//! controller of the target adopts.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use crate::support::{until, with_shop};

const GATE: &str = "preview.mirrord.io/kept-out-of-services";

fn condition(pod: &Pod, name: &str) -> String {
    let conditions = pod.status.as_ref().unwrap().conditions.as_ref().unwrap();
    conditions
        .iter()
        .find(|condition| condition.type_ == name)
        .map_or("absent".to_owned(), |found| found.status.clone())
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn the_preview_pod_carries_the_targets_labels_and_annotations_behind_an_unmet_gate() {
    with_shop("copy", |world| async move {
        let screen = world.start("deployment/shop", "pr-12", &[]).await.success();
        let pod: Pod = world.api().get(&screen.info("pod")).await.unwrap();
        assert_eq!(pod.labels()["app"], "shop");
        assert_eq!(pod.labels()["tier"], "web");
        assert_eq!(pod.labels()["preview.mirrord.io/key"], "pr-12");
        assert_eq!(pod.labels()["preview.mirrord.io/ttl"], "3600s");
        assert_eq!(pod.labels()["app.kubernetes.io/managed-by"], "mirrord");
        assert!(!pod.labels().contains_key("pod-template-hash"));
        assert_eq!(pod.annotations()["team"], "checkout");
        assert_eq!(pod.annotations()["preview.mirrord.io/key"], "pr-12");
        let gates = pod.spec.as_ref().unwrap().readiness_gates.as_ref().unwrap();
        assert!(gates.iter().any(|gate| gate.condition_type == GATE));
        assert_eq!(condition(&pod, "ContainersReady"), "True");
        assert_eq!(condition(&pod, "Ready"), "False");
        assert_eq!(world.preview_pods(",preview.mirrord.io/key=pr-12").await.len(), 1);
        let answer = world.ask_pod(&screen.info("pod"), "/").await;
        assert_eq!(answer, format!("shop preview on {}\n", screen.info("pod")));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn the_service_answers_with_stable_pods_alone() {
    with_shop("service", |world| async move {
        let screen = world.start("deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let slices: Api<EndpointSlice> = world.api();
        let slices = slices.list(&ListParams::default()).await.unwrap();
        for endpoint in slices.items.iter().flat_map(|slice| &slice.endpoints) {
            let name = endpoint.target_ref.as_ref().unwrap().name.clone().unwrap();
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
            assert_eq!(ready, Some(name != screen.info("pod")), "{name}");
        }
        let mut answers = BTreeSet::new();
        for _ in 0..200 {
            let answer = world.ask_service("shop").await;
            assert!(answer.starts_with("shop stable on shop-"), "{answer}");
            answers.insert(answer);
        }
        assert_eq!(answers.len(), 2, "both stable pods answer");
    })
    .await;
}

/// A controller that does not go by Ready takes every address of an `EndpointSlice`.
#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn no_endpoint_slice_holds_a_preview_where_a_service_does_not_go_by_ready() {
    with_shop("uninvited", |world| async move {
        for (name, spec) in [
            ("peers", json!({"publishNotReadyAddresses": true, "clusterIP": "None"})),
            ("registered", json!({})),
        ] {
            let mut service = json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "annotations": {"cloud.google.com/neg-status": "{}"}},
                "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": "http"}]},
            });
            crate::support::merge(&mut service["spec"], &spec);
            world.create(service).await;
        }
        let screen = world.route("steal", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        for service in ["peers", "registered"] {
            let words = format!("Service `{service}` brings requests to pods that are not ready");
            assert!(screen.stderr.contains(&words), "{screen:#?}");
        }
        assert!(screen.stderr.contains("does not carry `app`"), "{screen:#?}");
        let pod: Pod = world.api().get(&screen.info("pod")).await.unwrap();
        assert!(!pod.labels().contains_key("app"));
        assert_eq!(pod.labels()["tier"], "web", "labels that no such Service selects by are copied");
        // A Service that is created now gets its slices after all of the above.
        world
            .create(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "last"},
                "spec": {"selector": {"tier": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
            }))
            .await;
        let slices: Api<EndpointSlice> = world.api();
        let of = |service: &str| {
            let (slices, label) = (slices.clone(), format!("kubernetes.io/service-name={service}"));
            async move {
                let found = slices.list(&ListParams::default().labels(&label)).await.unwrap().items;
                let endpoints = found.into_iter().flat_map(|slice| slice.endpoints);
                endpoints.filter_map(|endpoint| endpoint.target_ref?.name).collect::<BTreeSet<_>>()
            }
        };
        until("the preview is in the slice of the last Service", || async {
            of("last").await.contains(&pod.name_any()).then_some(())
        })
        .await;
        for service in ["shop", "peers", "registered"] {
            let names = of(service).await;
            assert_eq!(names.len(), 2, "{service}: {names:?}");
            assert!(names.iter().all(|name| name.starts_with("shop-")), "{service}: {names:?}");
        }
        for _ in 0..100 {
            let answer = world.ask_service("shop").await;
            assert!(answer.starts_with("shop stable on shop-"), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_live_pod_with_required_anti_affinity_is_scheduled_again_beside_the_preview() {
    with_shop("apart", |world| async move {
        let apart = json!({"spec": {"replicas": 1, "template": {"spec": {"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "lonely"}}},
            ],
        }}}}}});
        world.deploy("lonely", &apart).await;
        let pods: Api<Pod> = world.api();
        let live = ListParams::default().labels("app=lonely,!preview.mirrord.io/session");
        let ready = || async {
            let found = pods.list(&live).await.unwrap().items;
            let is_ready = |pod: &Pod| pod.status.as_ref()?.conditions.as_ref().map(|_| condition(pod, "Ready") == "True");
            found.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod) == Some(true))
        };
        let first = until("the live pod is ready", ready).await;
        let screen = world.start("deployment/lonely", "pr-1", &["--ttl", "5"]).await.success();
        assert!(screen.stderr.contains("the target's required anti-affinity"), "{screen:#?}");
        pods.delete(&first.name_any(), &DeleteParams::default()).await.unwrap();
        until("another live pod is ready", || async {
            ready().await.filter(|pod| pod.name_any() != first.name_any())
        })
        .await;
        // The preview is still there.
        pods.get(&screen.info("pod")).await.unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn the_target_and_its_disruption_budget_are_not_affected() {
    with_shop("unnoticed", |world| async move {
        world
            .create(json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "shop"}}},
            }))
            .await;
        let deployments: Api<Deployment> = world.api();
        let budgets: Api<PodDisruptionBudget> = world.api();
        let sets: Api<ReplicaSet> = world.api();
        let stable_set = sets.list(&ListParams::default()).await.unwrap().items.remove(0);
        let before = deployments.get("shop").await.unwrap();
        until("the budget is counted", || async {
            (budgets.get("shop").await.unwrap().status?.disruptions_allowed == 1).then_some(())
        })
        .await;
        let screen = world.start("deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let uid = world.api::<Pod>().get(&screen.info("pod")).await.unwrap().uid();
        // The target is changed after the preview pod is created. Once its rollout is complete,
        // every controller has seen that pod.
        let scale = |replicas: i32| {
            let deployments = deployments.clone();
            async move {
                let patch = kube::api::Patch::Merge(json!({"spec": {"replicas": replicas}}));
                deployments.patch("shop", &kube::api::PatchParams::default(), &patch).await.unwrap();
            }
        };
        for replicas in [3, 2] {
            scale(replicas).await;
            until("the target is whole", || async {
                let status = deployments.get("shop").await.unwrap().status?;
                (status.replicas == Some(replicas) && status.ready_replicas == Some(replicas)).then_some(())
            })
            .await;
        }
        let pod: Pod = world.api().get(&screen.info("pod")).await.unwrap();
        assert_eq!(pod.uid(), uid, "the same pod is still there");
        assert!(pod.metadata.deletion_timestamp.is_none());
        assert!(pod.owner_references().iter().all(|owner| Some(&owner.uid) != stable_set.uid().as_ref()));
        let after = deployments.get("shop").await.unwrap().status.unwrap();
        let before = before.status.unwrap();
        assert_eq!(
            (after.replicas, after.ready_replicas, after.available_replicas),
            (before.replicas, before.ready_replicas, before.available_replicas)
        );
        until("the budget allows what it allowed", || async {
            let status = budgets.get("shop").await.unwrap().status.unwrap();
            (status.disruptions_allowed == 1 && status.current_healthy == 2 && status.desired_healthy == 1)
                .then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn start_names_objects_that_select_the_preview_pods() {
    with_shop("budget", |world| async move {
        // By another label, so that the budget and the autoscaler still count the preview.
        for (name, eager) in [("eager", true), ("patient", false)] {
            world
                .create(json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                    "spec": {"selector": {"tier": "web"}, "publishNotReadyAddresses": eager, "ports": [{"port": 80}]},
                }))
                .await;
        }
        world
            .create(json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "careful"},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "shop"}}},
            }))
            .await;
        world
            .create(json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "elastic"},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
                    "minReplicas": 2, "maxReplicas": 2,
                },
            }))
            .await;
        // Every name of the scaled workload is recognised.
        let name = |kind: &str, name: String| format!("{kind}/{name}");
        let set = world.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items.remove(0);
        let pod = world.api::<Pod>().list(&ListParams::default()).await.unwrap().items.remove(0);
        for target in [
            name("service", "shop".to_owned()),
            name("replicaset", set.name_any()),
            name("pod", pod.name_any()),
        ] {
            let planned = world.start(&target, "pr-1", &["--dry-run"]).await.success();
            assert!(planned.stderr.contains("HorizontalPodAutoscaler `elastic`"), "{target}: {planned:#?}");
        }
        let screen = world.start("deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        assert!(screen.stderr.contains("HorizontalPodAutoscaler `elastic` counts the preview"), "{screen:#?}");
        assert!(screen.stderr.contains("PodDisruptionBudget `careful` counts the preview"), "{screen:#?}");
        assert!(screen.stderr.contains("Service `eager` brings requests to pods that are not ready"), "{screen:#?}");
        assert!(screen.stderr.contains("so the preview does not carry `tier`"), "{screen:#?}");
        assert!(!screen.stderr.contains("`patient`"), "{screen:#?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn harmful_parts_of_the_template_are_removed_with_a_warning() {
    with_shop("harm", |world| async move {
        world
            .create(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
            }))
            .await;
        // A pod with an unbound claim is never scheduled. The test only checks the plan, which
        // reads the claim from the cluster.
        let change = json!({"spec": {"replicas": 0, "template": {"spec": {
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}],
            "containers": [{"name": "web", "image": "mirrord-test/shop:stable", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 8080, "hostPort": 18080}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        }}}});
        world.deploy("disk", &change).await;
        let screen = world.start("deployment/disk", "pr-1", &["--ttl", "5"]).await.success();
        assert!(screen.stderr.contains("volume `data` is empty in the preview"), "{screen:#?}");
        assert!(screen.stderr.contains("host ports are left out"), "{screen:#?}");
        let pod: Pod = world.api().get(&screen.info("pod")).await.unwrap();
        let spec = pod.spec.unwrap();
        let volume = spec.volumes.unwrap().into_iter().find(|volume| volume.name == "data").unwrap();
        assert!(volume.empty_dir.is_some() && volume.persistent_volume_claim.is_none());
        assert_eq!(spec.containers[0].ports.as_ref().unwrap()[0].host_port, None);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_network_policy_on_the_target_adds_one_that_the_environment_owns() {
    with_shop("policy", |world| async move {
        world
            .create(json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "inside-alone"},
                "spec": {"podSelector": {"matchLabels": {"app": "shop"}}, "ingress": [{"from": [{"podSelector": {}}]}]},
            }))
            .await;
        let before = world.objects().await;
        let started = world.route("steal", "deployment/shop", "pr-1", &[]).await.success();
        assert!(started.stderr.contains("NetworkPolicy `inside-alone`"), "{started:#?}");
        let policies = |objects: std::collections::BTreeSet<String>| {
            objects.into_iter().filter(|name| name.starts_with("NetworkPolicy/")).collect::<Vec<_>>()
        };
        let now = policies(world.objects().await);
        assert!(now.iter().any(|name| name.starts_with("NetworkPolicy/preview-session-")), "{now:?}");
        world.mirrord(&["preview", "stop", "-n", &world.namespace, "-k", "pr-1"]).await.success();
        assert_eq!(policies(world.objects().await), policies(before));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_default_deny_namespace_gets_policies_for_previews_and_warnings_for_live_pods() {
    with_shop("isolated", |world| async move {
        world
            .create(json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny-all"},
                "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
            }))
            .await;
        let before = world.objects().await;
        let dry = ["--dry-run", "-o", "json"];
        let planned = world.route("steal", "deployment/shop", "pr-1", &dry).await.success();
        for words in [
            "NetworkPolicy `deny-all` may keep the agents in the pods of `deployment/shop` from passing requests on",
            "allow egress to pods with the label `preview.mirrord.io/role=preview` on port 8080",
            "allow ingress from pods with the label `preview.mirrord.io/role=keeper` to port 8080",
            "the keeper is isolated by NetworkPolicy `deny-all`",
            "the preview is isolated by NetworkPolicy `deny-all`",
        ] {
            assert!(planned.stderr.contains(words), "{words}: {planned:#?}");
        }
        assert_eq!(world.objects().await, before);
        let list: serde_json::Value = serde_json::from_str(&planned.stdout).unwrap();
        let policies: Vec<_> =
            list["items"].as_array().unwrap().iter().filter(|one| one["kind"] == "NetworkPolicy").collect();
        assert_eq!(policies.len(), 2);
        for policy in policies {
            let labels = &policy["spec"]["podSelector"]["matchLabels"];
            assert!(labels["preview.mirrord.io/session"].is_string(), "no live pod is selected: {policy}");
        }
        // Kubernetes accepts the policies, and they are deleted with the environment.
        world.route("steal", "deployment/shop", "pr-1", &[]).await.success();
        let now = world.objects().await;
        for name in ["NetworkPolicy/preview-session-", "NetworkPolicy/preview-keeper-"] {
            assert!(now.iter().any(|object| object.starts_with(name)), "{now:?}");
        }
        let doctor = ["preview", "doctor", "-n", &world.namespace, "-t", "deployment/shop"];
        let doctor = world.mirrord_with(&[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")], &doctor).await.success();
        assert!(doctor.stderr.contains("allow egress to pods with the label"), "{doctor:#?}");
        world.mirrord(&["preview", "stop", "-n", &world.namespace, "-k", "pr-1"]).await.success();
        let left = world.objects().await;
        assert!(!left.iter().any(|object| object.starts_with("NetworkPolicy/preview-")), "{left:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn start_warns_that_a_previewed_consumer_consumes() {
    with_shop("consumer", |world| async move {
        let change = json!({"spec": {"replicas": 0}});
        world.deploy("mail-worker", &change).await;
        let started = world.start("deployment/mail-worker", "pr-1", &[]).await.success();
        assert!(
            started.stderr.contains("it is called `mail-worker`): the preview will consume live messages"),
            "{started:#?}"
        );
        let started = world.start("deployment/shop", "pr-1", &[]).await.success();
        assert!(!started.stderr.contains("for real"), "{started:#?}");
    })
    .await;
}
