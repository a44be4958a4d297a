//! Every kind of target, copied in a real cluster.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::support::{World, until, with_namespace, with_shop};

/// A pod template that runs the shop, with its own labels.
fn template(app: &str, more: &Value) -> Value {
    let mut template = json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "web", "image": "mirrord-test/shop:stable", "imagePullPolicy": "IfNotPresent",
            "env": [{"name": "SHOP_NAME", "value": app}],
        }]},
    });
    crate::support::merge(&mut template["spec"], more);
    template
}

/// Starts a preview of `target`, and asks it for its name.
async fn preview_of(world: &World, target: &str) -> Pod {
    let started = world.start(target, "kinds", &["--ttl", "5"]).await.success();
    let name = started.info("pod");
    let kind = target.split('/').next().unwrap();
    assert!(name.starts_with(&format!("preview-session-{kind}-")), "{name}");
    assert!(world.ask_pod(&name, "/").await.contains(" preview on "));
    world.api().get(&name).await.unwrap()
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn workloads_that_keep_pods_running_are_copied_and_left_alone() {
    with_namespace("controllers", |world| async move {
        let selector = |app: &str| json!({"matchLabels": {"app": app}});
        world
            .create(
                json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
                    "serviceName": "db", "replicas": 1, "selector": selector("db"),
                    "template": template("db", &json!({"containers": [{
                        "name": "web", "image": "mirrord-test/shop:stable",
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }]})),
                    "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}},
                    }}],
                }}),
            )
            .await;
        world
            .create(
                json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {
                    "selector": selector("agent"), "template": template("agent", &json!({})),
                }}),
            )
            .await;
        world
            .create(
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "plain"}, "spec": {
                    "replicas": 1, "selector": selector("plain"), "template": template("plain", &json!({})),
                }}),
            )
            .await;
        let pods: Api<Pod> = world.api();
        until("the pods of the live workloads", || async {
            let list = pods.list(&ListParams::default().labels("app in (agent,plain)")).await.unwrap();
            (list.items.len() == 2).then_some(())
        })
        .await;
        // It mounts neither the workload's volume nor that of its only pod.
        for target in ["statefulset/db", "pod/db-0"] {
            let volumes = preview_of(&world, target).await.spec.unwrap().volumes.unwrap();
            assert!(
                volumes.iter().any(|volume| volume.name == "data" && volume.empty_dir.is_some()),
                "{target}"
            );
            assert!(volumes.iter().all(|volume| volume.persistent_volume_claim.is_none()), "{target}");
        }
        for target in ["ds/agent", "replicaset/plain"] {
            let target = target.replace("ds/", "daemonset/");
            let pod = preview_of(&world, &target).await;
            let owner = &pod.metadata.owner_references.unwrap()[0];
            assert!(owner.name.starts_with("preview-session-"), "not adopted: {owner:?}");
        }
        let live = pods
            .list(&ListParams::default().labels("app in (agent,plain),!preview.mirrord.io/session"))
            .await
            .unwrap();
        assert_eq!(live.items.len(), 2, "the live workloads have the pods they had");
        world.mirrord(&["preview", "stop", "-k", "kinds", "-n", &world.namespace]).await.success();
    })
    .await;
}

/// Defines Argo's Rollouts in the cluster, without a controller.
async fn know_rollouts(world: &World) {
    let definition: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "shortNames": ["ro"]},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    }))
    .unwrap();
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api: Api<DynamicObject> = Api::all_with(world.client.clone(), &ApiResource::from_gvk(&kind));
    match api.create(&PostParams::default(), &definition).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        created => drop(created.unwrap()),
    }
    until("rollouts to be served", || async {
        let status = api.get("rollouts.argoproj.io").await.unwrap().data["status"].clone();
        status["conditions"]
            .as_array()?
            .iter()
            .any(|one| one["type"] == "Established" && one["status"] == "True")
            .then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn rollouts_are_copied_from_their_own_template_and_from_another_workloads() {
    with_shop("rollouts", |world| async move {
        if !world.own {
            // The definition would stay in a cluster that is not ours.
            return;
        }
        know_rollouts(&world).await;
        let rollout = |name: &str, spec: Value| {
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": spec})
        };
        let selector = json!({"matchLabels": {"app": "own"}});
        world.create(rollout("own", json!({"selector": selector, "template": template("own", &json!({}))}))).await;
        let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"});
        world.create(rollout("referring", json!({"workloadRef": reference}))).await;
        assert_eq!(preview_of(&world, "rollout/own").await.metadata.labels.unwrap()["app"], "own");
        assert_eq!(preview_of(&world, "rollout/referring").await.metadata.labels.unwrap()["tier"], "web");
        let gone = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"});
        world.create(rollout("dangling", json!({"workloadRef": gone}))).await;
        world.start("ro/dangling", "x", &[]).await.failure(3, &["takes its pods from `deployment/gone`"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn pods_and_services_are_copied_from_live_objects() {
    with_shop("pods", |world| async move {
        let pods: Api<Pod> = world.api();
        let live = pods.list(&ListParams::default().labels("app=shop")).await.unwrap().items.remove(0);
        let pod = preview_of(&world, &format!("pod/{}", live.metadata.name.unwrap())).await;
        assert_eq!(pod.metadata.annotations.unwrap()["team"], "checkout");
        // It has its own token, and not that of the live pod.
        let volumes = pod.spec.unwrap().volumes.unwrap();
        assert_eq!(volumes.iter().filter(|volume| volume.name.starts_with("kube-api-access-")).count(), 1);

        let pod = preview_of(&world, "service/shop").await;
        assert_eq!(pod.metadata.labels.unwrap()["tier"], "web");
        world
            .create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "nobody"}, "spec": {
                "selector": {"app": "nobody"}, "ports": [{"port": 80}],
            }}))
            .await;
        world.start("svc/nobody", "x", &[]).await.failure(
            3,
            &[
                "could not find the workload behind `service/nobody`",
                "it selects {\"app\":\"nobody\"}, and no workload makes such pods",
            ],
        );
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn jobs_are_copied_as_pods_that_keep_running() {
    with_namespace("jobs", |world| async move {
        let never = json!({"restartPolicy": "Never"});
        world
            .create(json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {
                "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template("nightly", &never)}},
            }}))
            .await;
        world
            .create(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {
                "template": template("once", &never),
            }}))
            .await;
        for target in ["cronjob/nightly", "job/once"] {
            let pod = preview_of(&world, target).await;
            assert_eq!(pod.spec.unwrap().restart_policy.unwrap(), "Always");
            let labels = pod.metadata.labels.unwrap();
            assert!(!labels.keys().any(|name| name.starts_with("batch.kubernetes.io/") || name == "job-name"), "{labels:?}");
        }
        world.start("rollout/shop", "x", &[]).await.failure(3, &["could not find `rollout/shop`"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn variables_labels_and_files_follow_the_configuration_and_are_removed() {
    with_shop("feature", |world| async move {
        let before = world.objects().await;
        let secret = "hush-hush";
        let write =
            |name: &str, content: &str| std::fs::write(world.folder.path().join(name), content).unwrap();
        write("app.env", "FROM_FILE=file\nBOTH=file\n");
        write("motd", "hello from a file\n");
        let path = |name: &str| world.folder.path().join(name).display().to_string();
        let config = format!(
            "
target: {{deployment: shop}}
feature:
  env:
    override: {{BOTH: override, SHOP_NAME: renamed}}
    env_file: {}
  network: {{incoming: 'off'}}
  preview:
    image: mirrord-test/shop:preview
    ttl_mins: 5
    labels: {{exclude: [tier]}}
    config_mounts:
      - {{mount_at: /etc/motd, from_file: {}}}
      - {{mount_at: /etc/app/deep/a.conf, type: text, payload: 'a = 1'}}
      - {{mount_at: /etc/app/deep/b.bin, type: binary, payload: AAEC/w==}}
    secret_mounts:
      - {{mount_at: /run/secret, type: text, payload: {secret}}}
",
            path("app.env"),
            path("motd"),
        );
        write("mirrord.yaml", &config);
        let file = path("mirrord.yaml");
        let arguments = ["preview", "start", "-f", &file, "-n", &world.namespace, "-k", "pr-1"];
        let planned = world.mirrord(&[&arguments[..], &["--dry-run", "-o", "yaml"]].concat()).await.success();
        assert!(planned.stdout.contains("(redacted)"), "{planned:#?}");
        let started = world.mirrord(&arguments).await.success();
        for text in [&planned.stdout, &planned.stderr, &started.stdout, &started.stderr] {
            assert!(!text.contains(secret) && !text.contains("aHVzaC1odXNo"), "{text}");
        }
        let pod = started.info("pod");
        let echo: Value = serde_json::from_str(&world.ask_pod(&pod, "/echo").await).unwrap();
        assert_eq!(echo["name"], "renamed");
        assert_eq!(echo["environment"]["FROM_FILE"], "file");
        assert_eq!(echo["environment"]["BOTH"], "override");
        assert_eq!(world.ask_pod(&pod, "/file/etc/motd").await, "hello from a file\n");
        assert_eq!(world.ask_pod(&pod, "/file/etc/app/deep/a.conf").await, "a = 1");
        assert_eq!(world.ask_pod(&pod, "/file/run/secret").await, secret);
        let object: Pod = world.api().get(&pod).await.unwrap();
        assert_eq!(object.metadata.labels.unwrap().get("tier"), None);
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
        assert_eq!(world.objects().await, before);
    })
    .await;
}
