//! Invalid input that only the cluster can detect.

use serde_json::Value;

use crate::support::{with_namespace, with_shop};

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_unknown_target_lists_the_existing_ones() {
    with_shop("unknown", |world| async move {
        let before = world.objects().await;
        let namespace = format!("in namespace `{}`", world.namespace);
        world.start("deployment/shpo", "pr-1", &[]).await.failure(
            3,
            &[
                "could not find `deployment/shpo`",
                &namespace,
                "deployments.apps \"shpo\" not found",
                "hint: did you mean `deployment/shop`?",
            ],
        );
        world
            .start("deployment/warehouse", "pr-1", &[])
            .await
            .failure(3, &["hint: the namespace has `shop`; or pass `-n <namespace>`"]);
        world.start("deployment/shop/container/wbe", "pr-1", &[]).await.failure(
            3,
            &[
                "could not choose a container of `deployment/shop`",
                "there is no container `wbe`; the pod has `web`",
            ],
        );
        assert_eq!(world.objects().await, before);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_empty_or_missing_namespace_is_told_apart() {
    with_namespace("empty", |world| async move {
        world.start("deployment/shop", "pr-1", &[]).await.failure(3, &["hint: there are no deployments in"]);
        world
            .mirrord(&["preview", "start", "-n", "no-such-namespace", "-t", "deployment/shop", "-i", "x"])
            .await
            .failure(3, &["hint: there is no namespace `no-such-namespace`"]);
        let status = world.mirrord(&["preview", "status", "-n", &world.namespace]).await.success();
        assert_eq!(status.stdout, "");
        assert_eq!(status.stderr, format!("there is no environment in namespace `{}`\n", world.namespace));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn stop_by_key_works_with_a_broken_configuration_file() {
    with_shop("broken", |world| async move {
        world.start("deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let file = world.folder.path().join("mirrord.json");
        tokio::fs::write(&file, "{\"target\": ").await.unwrap();
        let file = file.to_str().unwrap();
        world.mirrord(&["preview", "stop", "-f", file]).await.failure(2, &["line 1 column"]);
        let stopped = world
            .mirrord(&["preview", "stop", "-f", file, "-k", "pr-1", "-n", &world.namespace])
            .await
            .success();
        assert!(stopped.stderr.contains("it is ignored"), "{stopped:#?}");
        assert!(world.preview_pods("").await.is_empty());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_dry_run_prints_valid_objects_and_creates_nothing() {
    with_shop("dry-run", |world| async move {
        let before = world.objects().await;
        let planned = world.start("deployment/shop", "pr-1", &["--dry-run", "-o", "yaml"]).await.success();
        assert_eq!(world.objects().await, before);
        let kinds: Vec<String> = planned
            .stdout
            .split("---\n")
            .map(|document| {
                let object: serde_json::Value = serde_saphyr::from_str(document).unwrap();
                format!(
                    "{} {}",
                    object["kind"].as_str().unwrap(),
                    object["metadata"]["namespace"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(kinds, [format!("Job {}", world.namespace), format!("ReplicaSet {}", world.namespace)]);
        for document in planned.stdout.split("---\n") {
            world.create(serde_saphyr::from_str(document).unwrap()).await;
        }
    })
    .await;
}

/// The first path at which `actual` differs from `planned`. The server may add fields.
fn difference(planned: &Value, actual: &Value, path: &str) -> Option<String> {
    match (planned, actual) {
        (Value::Object(planned), Value::Object(actual)) => planned.iter().find_map(|(name, value)| {
            difference(value, actual.get(name).unwrap_or(&Value::Null), &format!("{path}/{name}"))
        }),
        (Value::Array(planned), Value::Array(actual)) if planned.len() == actual.len() => {
            let mut pairs = planned.iter().zip(actual).enumerate();
            pairs.find_map(|(index, (planned, actual))| {
                difference(planned, actual, &format!("{path}/{index}"))
            })
        }
        _ => (planned != actual).then(|| format!("{path}: {planned}, and not {actual}")),
    }
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_dry_run_prints_the_objects_that_a_start_creates() {
    with_shop("planned", |world| async move {
        let steal = [("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")];
        let start = |more: &'static [&'static str]| {
            let world = world.clone();
            async move {
                let words =
                    ["preview", "start", "-n", &world.namespace, "-t", "deployment/shop", "-k", "pr-1"];
                let image = ["-i", "mirrord-test/shop:preview", "--ttl", "10"];
                world.mirrord_with(&steal, &[&words[..], &image, more].concat()).await.success()
            }
        };
        let planned = start(&["--dry-run", "-o", "json"]).await;
        let started = start(&[]).await;
        // Each start has its own identifier and time.
        let id = |name: &str| name.split('-').rev().find(|part| part.len() == 8).unwrap().to_owned();
        let list: Value = serde_json::from_str(&planned.stdout).unwrap();
        let before = id(list["items"][0]["metadata"]["name"].as_str().unwrap());
        let now = id(&started.info("pod"));
        let list: Value = serde_json::from_str(&planned.stdout.replace(&before, &now)).unwrap();
        let kinds: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Job", "ServiceAccount", "Role", "RoleBinding", "ReplicaSet"]);
        for planned in list["items"].as_array().unwrap() {
            let mut planned = planned.clone();
            if planned["kind"] == "Job" {
                // Set again at readiness.
                planned["spec"].as_object_mut().unwrap().remove("activeDeadlineSeconds");
                planned["metadata"]["annotations"]
                    .as_object_mut()
                    .unwrap()
                    .remove("preview.mirrord.io/planned-at");
            }
            let actual = world.read(&planned).await;
            assert_eq!(difference(&planned, &actual, ""), None, "{}", planned["kind"]);
        }
    })
    .await;
}
