//! Failures in the cluster: each is reported within seconds, with the reason that
//! Kubernetes gives and the right exit code. Nothing is left behind, except the reason
//! if the preview pod caused the failure.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{World, screen, until, with_shop};

/// Far below the creation timeout, far above what Kubernetes needs.
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_image_that_cannot_be_pulled_is_named_at_once() {
    with_shop("image", |world| async move {
        let before = world.objects().await;
        let began = Instant::now();
        for image in ["localhost:1/no/such:image", "Not An Image", "UPPER/case:1"] {
            let started = world.start_image(image, &[]).await;
            match image {
                "Not An Image" => {
                    started.failure(2, &["`Not An Image` is not a valid image", "hint: pass `-i <image>`"])
                }
                _ => started.failure(
                    6,
                    &[
                        "could not start the preview",
                        &format!("image `{image}` cannot be pulled"),
                        "hint: check the image's name",
                    ],
                ),
            };
        }
        assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
        // The second start never contacted the cluster.
        assert_eq!(failed_roots_beside(&world, &before).await, 2);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_crashing_container_ends_the_start_with_its_last_log_lines() {
    with_shop("crash", |world| async move {
        let before = world.objects().await;
        let began = Instant::now();
        world.start_image("mirrord-test/shop:crash", &[]).await.failure(
            6,
            &[
                "container `web` crashes: it ended with exit code 1",
                "cannot reach the warehouse: connection refused",
                "hint: `mirrord preview status --failed -n ",
            ],
        );
        assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
        assert_eq!(failed_roots_beside(&world, &before).await, 1);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_failure_is_listed_until_the_next_start_or_stop() {
    with_shop("failed", |world| async move {
        let before = world.objects().await;
        for _ in 0..2 {
            // The second failure replaces the first.
            world.start_image("mirrord-test/shop:crash", &["-k", "pr-1"]).await.failure(6, &["crashes"]);
            assert_eq!(failed_roots_beside(&world, &before).await, 1);
        }
        let failed = |more: &'static [&'static str]| {
            let world = world.clone();
            async move {
                let arguments = ["preview", "status", "-n", &world.namespace, "-k", "pr-1"];
                world.mirrord(&[&arguments, more].concat()).await
            }
        };
        failed(&[]).await.failure(3, &["there is no environment with key `pr-1`"]);
        let table = failed(&["--failed"]).await.success();
        assert!(table.stdout.contains("container `web` crashes"), "{table:#?}");
        assert!(!table.stdout.contains("warehouse"), "{table:#?}");
        let wide = failed(&["--failed", "-o", "wide"]).await.success();
        assert!(wide.stdout.contains("exit code 1"), "{wide:#?}");
        // The log may hold secrets, and others may read the record.
        assert!(!wide.stdout.contains("warehouse"), "{wide:#?}");

        // It cannot be extended, and it has a deadline.
        world
            .mirrord(&["preview", "extend", "-n", &world.namespace, "-k", "pr-1", "--ttl", "1h"])
            .await
            .failure(3, &[]);
        let jobs = world.api::<k8s_openapi::api::batch::v1::Job>();
        let root = jobs.list(&kube::api::ListParams::default()).await.unwrap().items.remove(0);
        let spec = root.spec.unwrap();
        assert_eq!(
            (spec.active_deadline_seconds, spec.parallelism, spec.ttl_seconds_after_finished),
            (Some(900), Some(0), Some(0))
        );

        world.start("deployment/shop", "pr-1", &[]).await.success();
        failed(&["--failed"]).await.failure(3, &["there is no failed start with key `pr-1`"]);
        failed(&[]).await.success();
        world.start_image("mirrord-test/shop:crash", &["-k", "pr-1"]).await.failure(6, &["crashes"]);
        world.mirrord(&["preview", "stop", "-n", &world.namespace, "-k", "pr-1"]).await.success();
        assert_eq!(world.objects().await, before);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_timeout_names_the_reason_for_waiting() {
    with_shop("never", |world| async move {
        let before = world.objects().await;
        world.start_image("mirrord-test/shop:slow", &["--timeout", "6"]).await.failure(
            5,
            &["was not ready within 6s", "container `web` runs but is not ready", "Readiness probe failed"],
        );
        assert_eq!(world.objects().await, before);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_unschedulable_pod_shows_the_reason_while_it_waits() {
    with_shop("nowhere", |world| async move {
        let change = json!({"spec": {"replicas": 0, "template": {"spec": {"nodeSelector": {"mirrord-test/no-such": "node"}}}}});
        world.deploy("picky", &change).await;
        let before = world.objects().await;
        let failed = world.start("deployment/picky", "pr-1", &["--timeout", "5"]).await;
        let failed = failed.failure(5, &["no node takes the pod: 0/1 nodes are available", "didn't match Pod's node affinity/selector"]);
        // The reason is shown during the wait too.
        let waited = failed.stderr.find("  no node takes the pod").unwrap();
        assert!(waited < failed.stderr.find("error:").unwrap(), "{failed:#?}");
        assert_eq!(world.objects().await, before);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_full_quota_is_named_at_once() {
    with_shop("quota", |world| async move {
        world
            .create(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}}))
            .await;
        let quotas: kube::Api<k8s_openapi::api::core::v1::ResourceQuota> = world.api();
        until("the quota is counted", || async { quotas.get("small").await.unwrap().status?.used }).await;
        let before = world.objects().await;
        let began = Instant::now();
        world.start("deployment/shop", "pr-1", &[]).await.failure(6, &["Kubernetes does not create the pod", "exceeded quota: small"]);
        assert!(began.elapsed() < WITHIN, "{:?}", began.elapsed());
        assert_eq!(failed_roots_beside(&world, &before).await, 1);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_admission_refusal_is_named_at_once() {
    with_shop("admission", |world| async move {
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
            kube::Api::all(world.client.clone());
        let label = kube::api::Patch::Merge(
            json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}),
        );
        namespaces.patch(&world.namespace, &kube::api::PatchParams::default(), &label).await.unwrap();
        let before = world.objects().await;
        world
            .start("deployment/shop", "pr-1", &[])
            .await
            .failure(6, &["Kubernetes does not create the pod", "violates PodSecurity \"restricted"]);
        assert_eq!(failed_roots_beside(&world, &before).await, 1);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_missing_config_map_is_named_at_once() {
    with_shop("config-map", |world| async move {
        let change = json!({"spec": {"replicas": 0, "template": {"spec": {"containers": [{
            "name": "web", "image": "mirrord-test/shop:stable", "envFrom": [{"configMapRef": {"name": "gone"}}],
        }]}}}});
        world.deploy("hollow", &change).await;
        world.start("deployment/hollow", "pr-1", &[]).await.failure(6, &["container `web` cannot be started", "configmap \"gone\" not found"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn if_the_api_server_goes_away_during_a_start_the_deadline_cleans_up() {
    with_shop("outage", |world| async move {
        let before = world.objects().await;
        let (kubeconfig, proxy) = behind_proxy(&world).await;
        let child = world.spawn(
            &[],
            &[
                "preview",
                "start",
                "--kubeconfig",
                kubeconfig.to_str().unwrap(),
                "-n",
                &world.namespace,
                "-t",
                "deployment/shop",
                "-i",
                "mirrord-test/shop:slow",
                "--ttl",
                "5s",
                "--timeout",
                "40s",
            ],
        );
        until("the preview pod", || async { world.preview_pods("").await.pop() }).await;
        proxy.abort();
        screen(child)
            .await
            .failure(1, &["the cluster has not answered for 20 s", "Kubernetes removes it at its deadline"]);
        until("an empty list", || async { (world.objects().await == before).then_some(()) }).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_start_survives_a_minute_without_changes() {
    with_shop("quiet", |world| async move {
        let change = json!({"spec": {"replicas": 0, "template": {"spec": {"nodeSelector": {"mirrord-test/no-such": "node"}}}}});
        world.deploy("picky", &change).await;
        world
            .start("deployment/picky", "pr-1", &["--timeout", "65"])
            .await
            .failure(5, &["waiting for 60 s: no node takes the pod", "was not ready within 1m 5s"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn the_timeout_does_not_run_out_while_an_image_is_being_pulled() {
    with_shop("pull", |world| async move {
        if !world.own {
            eprintln!("skipped: a registry of the test's can be reached from the own cluster's node alone");
            return;
        }
        let delay = Duration::from_secs(12);
        let image = format!("{}/slow:1", crate::registry::slow(delay).await);
        let began = Instant::now();
        // The image has no program, so it fails after the pull for another reason.
        let screen = world
            .start_image(&image, &["--timeout", "4", "--ttl", "5s"])
            .await
            .failure(6, &["the image is being pulled"]);
        assert!(began.elapsed() > delay, "{screen:#?}");
    })
    .await;
}

/// How many roots of failed starts there are. Every other object was there `before`.
async fn failed_roots_beside(world: &World, before: &BTreeSet<String>) -> usize {
    let now = world.objects().await;
    assert!(now.is_superset(before), "{now:?}");
    let kept: Vec<&String> = now.difference(before).collect();
    assert!(kept.iter().all(|name| name.starts_with("Job/preview-keeper-")), "{kept:?}");
    kept.len()
}

/// A kubeconfig that reaches the API server through a proxy in the test.
async fn behind_proxy(world: &World) -> (std::path::PathBuf, tokio::task::JoinHandle<()>) {
    let text = tokio::fs::read_to_string(&world.kubeconfig).await.unwrap();
    let server = text.split("https://").nth(1).unwrap().split(['"', '\n', '/']).next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = server.rsplit_once(':').map_or(server.clone(), |(host, _)| host.to_owned());
    let proxy = tokio::spawn(async move {
        // Its connections are closed with it.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let server = server.clone();
            connections.spawn(async move {
                let mut upstream = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut upstream).await;
            });
        }
    });
    let cluster = json!({"server": format!("https://{address}"), "tls-server-name": host});
    (world.kubeconfig_with("proxied", &serde_json::Value::Null, &cluster).await, proxy)
}
