//! Requests with the key come to the preview, and others are not affected: under load,
//! during rollouts, scaling, evictions and restarts.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::load::Load;
use crate::support::{World, until, with_shop};
use crate::users::enough;

const KEYED: &str = "baggage: other=1, mirrord-session=pr-1\r\n";
/// A key that begins like the environment's is another key.
const SIMILAR: &str = "baggage: mirrord-session=pr-12\r\n";

/// A shop that keeps serving after SIGTERM until every node has updated its routes.
/// Without that, requests fail on every rollout, with or without previews.
fn careful() -> Value {
    json!({"spec": {"template": {"spec": {
        "terminationGracePeriodSeconds": 20,
        "containers": [{
            "name": "web", "image": "mirrord-test/shop:stable",
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "SHOP_NAME", "value": "shop"}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
            "lifecycle": {"preStop": {"sleep": {"seconds": 4}}},
        }],
    }}}})
}

/// Whether requests can be sent to a Service's address, with headers.
fn can_ask(world: &World) -> bool {
    if !world.own {
        eprintln!("skipped: a Service's address can be reached from the own cluster's node alone");
    }
    world.own
}

/// Clients with the key, without a key, and with a similar key.
struct Everybody(Load, Load, Load);

impl Everybody {
    async fn begin(world: &World, service: &str) -> Self {
        Self(
            Load::begin(world, service, KEYED, "shop preview", 2).await,
            Load::begin(world, service, "", "shop stable", 3).await,
            Load::begin(world, service, SIMILAR, "shop stable", 1).await,
        )
    }

    /// Stops the clients, and checks that those without the key were not affected.
    /// Returns the answers to those with the key.
    async fn end(self, what: &str) -> crate::support::load::Tally {
        let (keyed, others, similar) = (self.0.end().await, self.1.end().await, self.2.end().await);
        others.flawless(&format!("{what}, without a key"));
        similar.flawless(&format!("{what}, with a similar key"));
        eprintln!("{}", keyed.line(&format!("{what}, with the key")));
        keyed
    }
}

async fn status(world: &World, key: &str) -> Value {
    let screen = world
        .mirrord(&["preview", "status", "-n", &world.namespace, "-k", key, "-o", "json"])
        .await
        .success();
    let mut list: Value = serde_json::from_str(&screen.stdout).unwrap();
    list["items"][0].take()
}

/// The target's pods, without the preview pods.
pub(crate) async fn live(world: &World) -> Vec<Pod> {
    let selector = "app=shop,!preview.mirrord.io/session";
    world.api::<Pod>().list(&ListParams::default().labels(selector)).await.unwrap().items
}

/// How often the agents in the target's pods report that they were starved of CPU for so
/// long that new connections bypassed them.
pub(crate) async fn lapses(world: &World) -> usize {
    let pods: Api<Pod> = world.api();
    let mut lapses = 0;
    for pod in live(world).await {
        for agent in pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten()) {
            let of = LogParams { container: Some(agent.name.clone()), ..LogParams::default() };
            let log = pods.logs(&pod.name_any(), &of).await.unwrap();
            lapses += log.lines().filter(|line| line.contains("lapsed: new connections")).count();
        }
    }
    lapses
}

/// Waits until every ready pod of the target is proven, and there are `pods`.
async fn proven(world: &World, key: &str, pods: u64) {
    until("a proof for every pod", || async {
        let traffic = status(world, key).await["traffic"].take();
        let as_wanted =
            traffic["ready"] == true && traffic["podsServing"] == pods && traffic["podsProven"] == pods;
        as_wanted.then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn requests_with_the_key_go_to_the_preview_and_all_others_to_the_live_pods() {
    with_shop("routing", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let before = world.objects().await;
        let started = world.route("steal", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        assert!(
            started.info("traffic").starts_with(
                "requests with `baggage: mirrord-session=pr-1` to port 8080 of deployment/shop come here (2 pods, proven"
            ),
            "{started:#?}"
        );
        assert_eq!(
            started.info("try"),
            format!("curl -H 'baggage: mirrord-session=pr-1' http://shop.{}", world.namespace)
        );
        // From the first request on, because readiness was proven.
        for _ in 0..25 {
            let keyed = world.ask_service_with("shop", KEYED).await;
            assert_eq!(keyed, format!("shop preview on {}\n", started.info("pod")));
            for headers in ["", SIMILAR] {
                let answer = world.ask_service_with("shop", headers).await;
                assert!(answer.starts_with("shop stable on shop-"), "{answer}");
            }
        }
        let traffic = until("the counts", || async {
            let traffic = status(&world, "pr-1").await["traffic"].take();
            (traffic["seen"] == 75).then_some(traffic)
        })
        .await;
        assert_eq!((&traffic["matched"], &traffic["passed"]), (&json!(25), &json!(50)), "{traffic}");
        assert_eq!(traffic["captureMethods"], json!(["sk_lookup"]));
        let table = world.mirrord(&["preview", "status", "-n", &world.namespace]).await.success();
        assert!(table.stdout.contains("steal 25/75, "), "{table:#?}");
        // The pod's condition holds the report that `status` shows.
        let message = until("the condition", || async {
            let pod: Pod = world.api().get(&started.info("pod")).await.unwrap();
            let conditions = pod.status.unwrap().conditions.unwrap();
            let routed = conditions.into_iter().find(|one| one.type_ == "preview.mirrord.io/routed")?;
            (routed.status == "True").then(|| routed.message.unwrap())
        })
        .await;
        assert!(message.starts_with("steal: 2/2 target pods have an agent (sk_lookup)"), "{message}");

        world
            .mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace])
            .await
            .success();
        assert_eq!(world.objects().await, before);
        let answer = world.ask_service_with("shop", KEYED).await;
        assert!(answer.starts_with("shop stable on shop-"), "{answer}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn other_requests_are_not_affected_while_the_target_rolls_and_scales() {
    with_shop("rolling", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let mut change = careful();
        change["spec"]["replicas"] = 3.into();
        let deployments: Api<Deployment> = world.api();
        let patch = |change: Value| {
            let deployments = deployments.clone();
            async move {
                deployments.patch("shop", &PatchParams::default(), &Patch::Strategic(change)).await.unwrap();
            }
        };
        patch(change).await;
        let rolled = |wanted: usize| {
            let world = world.clone();
            async move {
                until("the roll-out to end", || async {
                    let pods = live(&world).await;
                    let deployment: Deployment = world.api().get("shop").await.unwrap();
                    let status = deployment.status.unwrap();
                    let done = status.updated_replicas == i32::try_from(wanted).ok()
                        && status.ready_replicas == i32::try_from(wanted).ok()
                        && status.observed_generation == deployment.metadata.generation;
                    (done && pods.len() == wanted).then_some(())
                })
                .await;
            }
        };
        rolled(3).await;
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        let everybody = Everybody::begin(&world, "shop").await;

        patch(json!({"spec": {"template": {"metadata": {"annotations": {"rolled": "1"}}}}})).await;
        rolled(3).await;
        proven(&world, "pr-1", 3).await;
        // A drain evicts pods to move them to another node. With a single pod, Kubernetes itself
        // would have a race between the old pod's grace period and the new pod's start.
        let evicted = live(&world).await.remove(0).name_any();
        world.api::<Pod>().evict(&evicted, &kube::api::EvictParams::default()).await.unwrap();
        until("another pod in place of the evicted", || async {
            let pods = live(&world).await;
            (pods.len() == 3 && pods.iter().all(|pod| pod.name_any() != evicted)).then_some(())
        })
        .await;
        proven(&world, "pr-1", 3).await;

        for pods in [6, 1] {
            patch(json!({"spec": {"replicas": pods}})).await;
            rolled(pods).await;
            proven(&world, "pr-1", u64::try_from(pods).unwrap()).await;
        }
        let keyed = everybody.end("roll-out of 3, an eviction, scale to 6, to 1").await;
        assert!(keyed.failed.is_empty(), "{:?}", keyed.failed);
        assert_eq!(keyed.unavailable, 0, "the preview was there all the time");
        // A new pod may receive requests a moment before its agent captures them. The line above
        // prints how long that is; on a busy machine it is longer.
        assert!(keyed.wrong.len() * 10 <= keyed.right, "{}: {:?}", keyed.line("keyed"), keyed.wrong);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn restarts_of_the_keeper_affect_no_request() {
    with_shop("keepers", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let nothing = world.objects().await;
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        let everybody = Everybody::begin(&world, "shop").await;
        let pods: Api<Pod> = world.api();
        let keepers = ListParams::default().labels("preview.mirrord.io/role=keeper");
        for parameters in [DeleteParams::default(), DeleteParams::default().grace_period(0)] {
            let keeper = pods.list(&keepers).await.unwrap().items.remove(0).name_any();
            let begun = Instant::now();
            pods.delete(&keeper, &parameters).await.unwrap();
            until("another keeper at work", || async {
                let found = pods.list(&keepers).await.unwrap().items;
                let other = found.iter().find(|pod| pod.name_any() != keeper)?;
                let status = other.status.as_ref()?.container_statuses.as_ref()?;
                status[0].state.as_ref()?.running.as_ref().map(drop)
            })
            .await;
            proven(&world, "pr-1", 2).await;
            eprintln!("a deleted keeper was replaced in {:.1?}", begun.elapsed());
        }
        let keyed = everybody.end("two keepers deleted").await;
        keyed.flawless_but_for_lapses("with the key", lapses(&world).await);
        // Each pod had one agent all the time.
        for pod in live(&world).await {
            assert_eq!(pod.spec.unwrap().ephemeral_containers.unwrap().len(), 1);
        }
        // Deleting the root removes everything, the rules too.
        let before = world.preview_pods("").await.len();
        assert_eq!(before, 2, "a preview and a keeper");
        let jobs: Api<k8s_openapi::api::batch::v1::Job> = world.api();
        let root = jobs.list(&ListParams::default()).await.unwrap().items.remove(0).name_any();
        jobs.delete(&root, &DeleteParams::background()).await.unwrap();
        let begun = Instant::now();
        until("the key's requests at the application", || async {
            let answer = world.ask_service_with("shop", KEYED).await;
            answer.starts_with("shop stable").then_some(())
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(30), "{:.1?}", begun.elapsed());
        until("nothing of it", || async { (world.objects().await == nothing).then_some(()) }).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn repeated_replacement_loses_no_request() {
    with_shop("replaced", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let rounds: usize =
            std::env::var("MIRRORD_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
        let before = world.objects().await;
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        let everybody = Everybody::begin(&world, "shop").await;
        for _ in 0..rounds {
            world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        }
        let keyed = everybody.end(&format!("{rounds} times replaced")).await;
        keyed.flawless_but_for_lapses("with the key", lapses(&world).await);
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
        assert_eq!(world.objects().await, before);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn after_the_end_requests_go_to_the_application_at_once() {
    with_shop("ends", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let before = world.objects().await;
        for by_clock in [true, false] {
            let ttl = if by_clock { "6s" } else { "5" };
            let started = world.route("steal", "deployment/shop", "pr-1", &["--ttl", ttl]).await.success();
            let everybody = Everybody::begin(&world, "shop").await;
            if !by_clock {
                world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
                assert_eq!(world.objects().await, before, "stop waits until all is gone");
            }
            until("the end", || async { (world.objects().await == before).then_some(()) }).await;
            if by_clock {
                let expiry: jiff::Timestamp =
                    started.info("expires").split(' ').next().unwrap().parse().unwrap();
                let late = jiff::Timestamp::now().duration_since(expiry);
                eprintln!("gone {late} after the deadline");
                // The keeper is terminated first, and may take this long to reach its agents.
                assert!((-1..=10).contains(&late.as_secs()), "gone {late} after the deadline");
            }
            let keyed = everybody.end(if by_clock { "expired" } else { "stopped" }).await;
            // The preview answers first, then the application, without an error in between.
            assert!(keyed.failed.is_empty(), "{:?}", keyed.failed);
            assert!(keyed.unavailable == 0, "{}", keyed.line("keyed"));
            assert!(keyed.wrong.iter().all(|answer| answer.contains("200 shop stable")), "{:?}", keyed.wrong);
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_mirrored_request_is_answered_by_the_application_and_seen_by_the_preview() {
    with_shop("mirror", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let a_while = Duration::from_secs(3);
        // Requests without the key are not affected by the mirroring.
        let file = world.folder.path().join("keyed.json");
        let keyed = json!({"feature": {"network": {"incoming": {
            "mode": "mirror", "http_filter": {"header_filter": "baggage: .*mirrord-session={{ key }}.*"},
        }}}});
        std::fs::write(&file, keyed.to_string()).unwrap();
        let with_file = ["--ttl", "5", "-f", file.to_str().unwrap()];
        world.route("", "deployment/shop", "pr-1", &with_file).await.success();
        let mut medians = Vec::new();
        for keyed_clients in [0, 2, 0] {
            let keyed = Load::begin(&world, "shop", KEYED, "shop stable", keyed_clients).await;
            let others = Load::begin(&world, "shop", "", "shop stable", 3).await;
            tokio::time::sleep(a_while).await;
            let others = others.end().await;
            medians.push(others.quantile(50));
            others.flawless(&format!("beside {keyed_clients} clients that are mirrored"));
            let keyed = keyed.end().await;
            if keyed_clients > 0 {
                keyed.flawless("mirrored");
            }
        }
        // More clients share the machine, so a millisecond is noise.
        let noise = Duration::from_millis(1);
        assert!(medians[1] <= medians[0].max(medians[2]) * 2 + noise, "{medians:?}");
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();

        let started = world.route("mirror", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        assert!(started.info("traffic").starts_with("all requests to port 8080"), "{started:#?}");
        let mirrored = Load::begin(&world, "shop", "", "shop stable", 3).await;
        tokio::time::sleep(a_while).await;
        let mirrored = mirrored.end().await;
        mirrored.flawless("while everything is mirrored");
        let copies = until("as many copies as requests", || async {
            let traffic = status(&world, "pr-1").await["traffic"].take();
            let copies = traffic["mirrored"].as_u64()?;
            (copies + traffic["dropped"].as_u64()? >= u64::try_from(mirrored.right).unwrap())
                .then_some(copies)
        })
        .await;
        assert!(copies > 0);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn one_key_in_two_namespaces_is_two_environments() {
    with_shop("first-home", |first| async move {
        with_shop("second-home", |second| async move {
            if !can_ask(&first) {
                return;
            }
            for world in [&first, &second] {
                let started =
                    world.route("steal", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
                let answer = world.ask_service_with("shop", KEYED).await;
                assert_eq!(answer, format!("shop preview on {}\n", started.info("pod")));
            }
            first.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &first.namespace]).await.success();
            assert!(first.ask_service_with("shop", KEYED).await.starts_with("shop stable"));
            assert!(second.ask_service_with("shop", KEYED).await.starts_with("shop preview"));
        })
        .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn status_watch_shows_new_requests() {
    with_shop("watched", |world| async move {
        if !can_ask(&world) {
            return;
        }
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let mut watching = world.spawn(&[], &["preview", "status", "-n", &world.namespace, "--watch"]);
        let mut lines = tokio::io::BufReader::new(watching.stdout.take().unwrap()).lines();
        let mut asked = false;
        let seen = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if !asked {
                    asked = true;
                    assert!(world.ask_service_with("shop", KEYED).await.starts_with("shop preview"));
                }
                if line.contains("steal 1/1, ") {
                    return;
                }
            }
            panic!("it ended without the request");
        };
        tokio::time::timeout(Duration::from_secs(30), seen).await.expect("the request within half a minute");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_refused_keeper_pod_is_reported_and_nothing_is_left() {
    with_shop("unkept", |world| async move {
        world
            .deploy("large", &json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [{
                "name": "web", "image": "mirrord-test/shop:stable", "ports": [{"name": "http", "containerPort": 8080}],
                "resources": {"requests": {"cpu": "10m", "memory": "256Mi"}},
            }]}}}}))
            .await;
        world
            .create(json!({
                "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "large"},
                "spec": {"limits": [{"type": "Container", "min": {"memory": "256Mi"}}]},
            }))
            .await;
        // The limits admit the target's pods, and not the keeper's. A user who may not create pods
        // cannot check that beforehand.
        let mut rules = enough();
        for (group, resource, verbs) in [
            ("", "pods/ephemeralcontainers", &["patch"][..]),
            ("", "pods/exec", &["create", "get"]),
            ("", "pods/status", &["patch"]),
            ("", "serviceaccounts", &["create", "list"]),
            ("", "events", &["list"]),
            ("rbac.authorization.k8s.io", "roles", &["create", "list"]),
            ("rbac.authorization.k8s.io", "rolebindings", &["create", "list"]),
        ] {
            let rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
            rules.as_array_mut().unwrap().push(rule);
        }
        let user = world.user("ann", rules).await;
        let with_user = world.objects().await;
        world
            .route("steal", "deployment/large", "pr-1", &["--timeout", "25", "--kubeconfig", user.to_str().unwrap()])
            .await
            .failure(7, &["the keeper's pod is being created", "minimum memory usage per Container is 256Mi"]);
        assert_eq!(world.objects().await, with_user);
        let refused = ["the keeper pod would be refused", "minimum memory usage per Container is 256Mi"];
        world.route("steal", "deployment/large", "pr-1", &[]).await.failure(7, &refused);
        assert_eq!(world.objects().await, with_user);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn keeper_and_status_watch_send_no_requests_while_nothing_changes() {
    with_shop("idle", |world| async move {
        let log = world.kubeconfig.parent().unwrap().join("log/audit.log");
        if !can_ask(&world) || !log.exists() {
            eprintln!("skipped: only the own cluster's API server says who asked what");
            return;
        }
        let rights = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
        let ann = world.user("ann", rights).await;
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        let status = ["preview", "status", "-w", "--kubeconfig", ann.to_str().unwrap()];
        let mut watching = world.spawn(&[], &status);
        let mut lines = tokio::io::BufReader::new(watching.stdout.take().unwrap()).lines();
        while !lines.next_line().await.unwrap().unwrap().starts_with("pr-1 ") {}
        let from = format!("system:serviceaccount:{}:", world.namespace);
        let asked = || async {
            let log = tokio::fs::read_to_string(&log).await.unwrap();
            let asked: Vec<String> = log
                .lines()
                .filter(|line| line.contains(&from))
                .map(|line| {
                    let event: Value = serde_json::from_str(line).unwrap();
                    let word = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
                    format!("{}: {} {}", word("/user/username"), word("/verb"), word("/requestURI"))
                })
                .collect();
            asked
        };
        let (mut before, began) = (asked().await, Instant::now());
        for who in [":ann: list", "keeper"] {
            assert!(before.iter().any(|line| line.contains(who)), "{who}: {before:#?}");
        }
        // The last effects of the start settle.
        while began.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let now = asked().await;
            if now.len() == before.len() {
                break;
            }
            before = now;
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
        let more = asked().await.split_off(before.len());
        assert!(more.is_empty(), "{more:#?}");
        watching.kill().await.unwrap();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_unset_mode_steals_requests_with_the_key_only() {
    with_shop("unchosen", |world| async move {
        world
            .deploy(
                "portless",
                &json!({"spec": {"replicas": 0, "template": {"spec": {"containers": [
                    {"name": "web", "image": "mirrord-test/shop:stable"},
                ]}}}}),
            )
            .await;
        let started = world.route("", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let stolen = "requests with `baggage: mirrord-session=pr-1` to port 8080";
        assert!(started.info("traffic").starts_with(stolen), "{started:#?}");
        // If routing is impossible and was not asked for, the start does not fail.
        let started = world.route("", "deployment/portless", "pr-2", &["--ttl", "5"]).await.success();
        assert!(started.stderr.contains("no requests are routed"), "{started:#?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn connections_older_than_the_capture_are_counted_and_closed_if_configured() {
    with_shop("older", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let pod = live(&world).await.remove(0);
        let address = pod.status.unwrap().pod_ip.unwrap();
        let mut older = tokio::net::TcpStream::connect((address.as_str(), 8080)).await.unwrap();
        older.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await.unwrap();
        let mut buffer = [0; 4096];
        assert!(older.read(&mut buffer).await.unwrap() > 0);

        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let predating = || async { status(&world, "pr-1").await["traffic"]["predatingConnections"].as_u64() };
        until("the older connection in status", || async { (predating().await == Some(1)).then_some(()) })
            .await;
        // Without closing, its requests go to the application, those with the key too.
        older.write_all(format!("GET / HTTP/1.1\r\nHost: shop\r\n{KEYED}\r\n").as_bytes()).await.unwrap();
        let read = older.read(&mut buffer).await.unwrap();
        assert!(String::from_utf8_lossy(&buffer[..read]).contains("shop stable"));

        let file = world.folder.path().join("reset.json");
        let reset =
            json!({"feature": {"network": {"incoming": {"mode": "steal", "reset_connections": true}}}});
        std::fs::write(&file, reset.to_string()).unwrap();
        let with_file = ["--ttl", "5", "-f", file.to_str().unwrap()];
        world.route("", "deployment/shop", "pr-1", &with_file).await.success();
        let end = tokio::time::timeout(Duration::from_secs(20), older.read(&mut buffer)).await;
        assert!(matches!(end.expect("the older connection to end"), Ok(0) | Err(_)));
        until("no older connection in status", || async { (predating().await == Some(0)).then_some(()) })
            .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_tls_port_is_named_as_unproven() {
    with_shop("tls", |world| async move {
        world
            .deploy("safe", &json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [{
                "name": "web", "image": "mirrord-test/shop:stable", "env": [{"name": "SHOP_NAME", "value": "shop"}],
                "ports": [{"name": "https", "containerPort": 8080}],
            }]}}}}))
            .await;
        let started = world.route("steal", "deployment/safe", "pr-1", &["--ttl", "5"]).await.success();
        assert!(started.stderr.contains("port 8080 speaks TLS: its requests cannot be read"), "{started:#?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_open_connection_is_served_through_replacement_and_stop() {
    with_shop("kept", |world| async move {
        if !can_ask(&world) {
            return;
        }
        let first = world.route("steal", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let address = world.service_address("shop").await;
        let mut kept = tokio::net::TcpStream::connect((address.as_str(), 80)).await.unwrap();
        let mut ask = async |headers: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: shop\r\n{headers}\r\n");
            kept.write_all(request.as_bytes()).await.unwrap();
            let (mut answer, mut buffer) = (String::new(), [0; 4096]);
            while !answer.ends_with('\n') || !answer.contains("\r\n\r\n") || answer.ends_with("\r\n\r\n") {
                let read = kept.read(&mut buffer).await.unwrap();
                assert!(read > 0, "ended after {answer:?}");
                answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            answer.split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        let preview_on = |pod: &str| format!("shop preview on {pod}\n");
        assert_eq!(ask(KEYED).await, preview_on(&first.info("pod")));
        assert!(ask("").await.starts_with("shop stable"));
        let second = world.route("steal", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        assert_eq!(ask(KEYED).await, preview_on(&second.info("pod")));
        assert!(ask(SIMILAR).await.starts_with("shop stable"));
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
        assert!(ask(KEYED).await.starts_with("shop stable"));
        assert!(ask("").await.starts_with("shop stable"));
    })
    .await;
}
