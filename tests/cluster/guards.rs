//! Limits of the namespace that refuse a preview, and pods that terminate slowly.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::support::{World, until, with_shop};

/// A finalizer without a controller.
const FINALIZER: &str = "example.test/hold";

/// `doctor` and `start` report the reason, and no root was created.
async fn refused_beforehand(world: &World, target: &str, words: &[&str]) {
    let doctor = world.mirrord(&["preview", "doctor", "-n", &world.namespace, "-t", target]).await;
    doctor.failure(1, &[&["the preview pod would be refused", "found 1 obstacle to"], words].concat());
    let start = world.start(target, "pr-1", &[]).await;
    let start =
        start.failure(6, &[&["the preview pod would be refused", "does not create the pod"], words].concat());
    assert!(!start.stderr.contains("removing what was created"), "{start:#?}");
}

async fn quota(world: &World, name: &str, spec: Value) {
    let metadata = json!({"name": name});
    world
        .create(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}))
        .await;
    let quotas: Api<ResourceQuota> = world.api();
    until("the quota is counted", || async { quotas.get(name).await.unwrap().status?.used }).await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_limit_range_that_refuses_the_preview_is_named_before_anything_is_created() {
    with_shop("limits", |world| async move {
        world
            .create(json!({
                "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
                "spec": {"limits": [{"type": "Container", "min": {"cpu": "50m"}}]},
            }))
            .await;
        let words = ["minimum cpu usage per Container is 50m"];
        // The API server sees a new LimitRange with a delay.
        until("the limit holds", || async {
            let doctor = ["preview", "doctor", "-n", &world.namespace, "-t", "deployment/shop"];
            (world.mirrord(&doctor).await.code == Some(1)).then_some(())
        })
        .await;
        refused_beforehand(&world, "deployment/shop", &words).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn the_targets_priority_class_is_left_off_so_that_the_preview_evicts_nobody() {
    with_shop("priority", |world| async move {
        let class = |name: &str, replicas: u32| {
            json!({"spec": {"replicas": replicas, "template": {"spec": {"priorityClassName": name}}}})
        };
        // The class does not exist, so no live pod could start either.
        world.deploy("missing", &class("nobodys-class", 0)).await;
        // The quota for this class is what the live pod uses.
        world.deploy("urgent", &class("system-cluster-critical", 1)).await;
        let scope = json!({"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]});
        let scoped = json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [scope]}});
        quota(&world, "urgent", scoped).await;
        for (target, class) in
            [("deployment/missing", "nobodys-class"), ("deployment/urgent", "system-cluster-critical")]
        {
            let warning = format!("the target's priority class `{class}` is left off the preview");
            let doctor = ["preview", "doctor", "-n", &world.namespace, "-t", target];
            let doctor = world.mirrord(&doctor).await.success();
            assert!(doctor.stderr.contains(&warning), "{doctor:#?}");
            let started = world.start(target, "pr-1", &["--ttl", "5"]).await.success();
            assert!(started.stderr.contains(&warning), "{started:#?}");
            let pod: Pod = world.api().get(&started.info("pod")).await.unwrap();
            assert_eq!(pod.spec.unwrap().priority_class_name, None, "{target}");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_keeper_that_would_be_refused_is_named_before_anything_is_created() {
    with_shop("crowded", |world| async move {
        // The keeper requests 32 Mi, the shop's pods 16.
        quota(&world, "tight", json!({"hard": {"requests.memory": "63Mi"}})).await;
        let before = world.objects().await;
        let words = ["the keeper pod would be refused", "exceeded quota: tight"];
        world.route("steal", "deployment/shop", "pr-1", &[]).await.failure(7, &words);
        assert_eq!(world.objects().await, before);
        world.route("off", "deployment/shop", "pr-1", &[]).await.success();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn finalizers_are_not_copied_and_one_on_a_preview_pod_is_named() {
    with_shop("finalizers", |world| async move {
        let held = json!({"spec": {"replicas": 1, "template": {"metadata": {"finalizers": [FINALIZER]}}}});
        world.deploy("held", &held).await;
        let pods: Api<Pod> = world.api();
        let live_pod =
            pods.list(&ListParams::default().labels("app=held")).await.unwrap().items.remove(0).name_any();
        let finalizers = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));

        let started = world.route("steal", "deployment/held", "pr-1", &[]).await.success();
        let preview = pods.get(&started.info("pod")).await.unwrap();
        assert!(preview.finalizers().is_empty(), "a finalizer belongs to whoever watches over live pods");
        world.mirrord(&["preview", "stop", "-n", &world.namespace, "-k", "pr-1"]).await.success();
        assert_eq!(pods.get(&live_pod).await.unwrap().finalizers(), [FINALIZER]);

        // The test adds one to a preview pod.
        let started = world.start("deployment/held", "pr-2", &[]).await.success();
        let preview = started.info("pod");
        let parameters = PatchParams::default();
        pods.patch(&preview, &parameters, &finalizers(json!([FINALIZER]))).await.unwrap();
        let mut stop = world.spawn(&[], &["preview", "stop", "-n", &world.namespace, "-k", "pr-2"]);
        let mut told = BufReader::new(stop.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("held by its finalizers: `example.test/hold`") {
            line.clear();
            assert_ne!(told.read_line(&mut line).await.unwrap(), 0, "stop ended before the pod did");
        }
        pods.patch(&preview, &parameters, &finalizers(Value::Null)).await.unwrap();
        told.read_to_string(&mut line).await.unwrap();
        assert!(stop.wait().await.unwrap().success(), "{line}");
        // Otherwise the namespace could not be deleted.
        pods.patch(&live_pod, &parameters, &finalizers(Value::Null)).await.unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn stop_waits_for_long_grace_periods_and_shows_them() {
    with_shop("slow", |world| async move {
        // Without a probe this image is ready. It ignores SIGTERM.
        let container = json!({
            "name": "web", "image": "mirrord-test/shop:stable", "ports": [{"containerPort": 8080}],
        });
        let spec = json!({"terminationGracePeriodSeconds": 20, "containers": [container]});
        world.deploy("slow", &json!({"spec": {"replicas": 1, "template": {"spec": spec}}})).await;
        let before = world.objects().await;
        let image = "mirrord-test/shop:slow";
        crate::support::screen(world.starting("deployment/slow", image, &["-k", "pr-1"])).await.success();
        let began = Instant::now();
        let stop = world.mirrord(&["preview", "stop", "-n", &world.namespace, "-k", "pr-1"]).await.success();
        assert!(stop.stderr.contains("is terminating: its containers have 20 s to end"), "{stop:#?}");
        assert!(began.elapsed() > Duration::from_secs(18), "{:?}", began.elapsed());
        assert_eq!(world.objects().await, before);
    })
    .await;
}
