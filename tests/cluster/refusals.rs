//! Requests that cannot come to a preview: the reason is reported and nothing is left.
//! Users who may not create Roles.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{World, with_shop};
use crate::users::enough;

async fn label_namespace(world: &World, labels: Value) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    namespaces.patch(&world.namespace, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_pod_security_standard_that_refuses_agents_is_named_before_anything_is_created() {
    with_shop("security", |world| async move {
        let before = world.objects().await;
        label_namespace(&world, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
        world.route("steal", "deployment/shop", "pr-1", &[]).await.failure(
            4,
            &[
                "violates PodSecurity \"baseline:latest\"",
                "pod-security.kubernetes.io/enforce=privileged",
                "`off`",
            ],
        );
        let doctor = world
            .mirrord_with(
                &[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")],
                &["preview", "doctor", "-n", &world.namespace, "-t", "deployment/shop"],
            )
            .await;
        doctor.failure(1, &["violates PodSecurity", "found 1 obstacle to `mirrord preview start`"]);
        assert_eq!(world.objects().await, before);
        // Without agents the standard refuses nothing: the keeper conforms to it.
        label_namespace(&world, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
        world.route("off", "deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn agent_labels_by_which_a_service_selects_are_refused_before_anything_is_created() {
    with_shop("selected-keeper", |world| async move {
        let before = world.objects().await;
        let file = world.folder.path().join("labels.json");
        let labels = json!({"agent": {"labels": {"app": "shop", "team": "checkout"}}});
        std::fs::write(&file, labels.to_string()).unwrap();
        world.route("steal", "deployment/shop", "pr-1", &["-f", file.to_str().unwrap()]).await.failure(
            2,
            &[
                "`agent.labels` would make the keeper's pod one of the target's",
                "Service `shop` selects pods by these labels",
            ],
        );
        assert_eq!(world.objects().await, before);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn impossible_routes_are_refused_with_the_reason() {
    with_shop("unroutable", |world| async move {
        let before = world.objects().await;
        let spec = |spec: Value| json!({"spec": {"replicas": 0, "template": {"spec": spec}}});
        world.deploy("host", &spec(json!({"hostNetwork": true}))).await;
        let container = |change: Value| {
            let mut container = json!({"name": "web", "image": "mirrord-test/shop:stable"});
            crate::support::merge(&mut container, &change);
            spec(json!({"containers": [container]}))
        };
        world.deploy("portless", &container(json!({}))).await;
        world
            .create(json!({
                "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
                "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": {
                    "restartPolicy": "Never", "containers": [{"name": "web", "image": "mirrord-test/shop:stable"}],
                }}}}},
            }))
            .await;
        for (target, words) in [
            ("deployment/host", "uses its node's network"),
            ("deployment/portless", "declares no port to capture"),
            ("cronjob/nightly", "has no long-running pods that could receive requests"),
        ] {
            world.route("steal", target, "pr-1", &[]).await.failure(2, &[words, "hint: "]);
            let doctor = ["preview", "doctor", "-n", &world.namespace, "-t", target];
            let doctor = world.mirrord_with(&[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")], &doctor).await;
            doctor.failure(1, &[words, "found 1 obstacle to `mirrord preview start`"]);
        }
        let left: Vec<_> =
            world.objects().await.difference(&before).filter(|name| name.contains("preview")).cloned().collect();
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_start_without_a_proven_route_fails() {
    with_shop("unproven", |world| async move {
        let container = |change: Value| {
            let mut container = json!({
                "name": "web", "image": "mirrord-test/shop:stable", "env": [{"name": "SHOP_NAME", "value": "shop"}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            });
            crate::support::merge(&mut container, &change);
            json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}}})
        };
        world.deploy("elsewhere", &container(json!({"ports": [{"containerPort": 9999}]}))).await;
        world.deploy("inward", &container(json!({"ports": [{"containerPort": 8080}]}))).await;
        let before = world.objects().await;
        world
            .route("steal", "deployment/elsewhere", "pr-1", &["--timeout", "15"])
            .await
            .failure(7, &["nothing listens on port 9999 of `deployment/elsewhere`", "feature.network.incoming.ports"]);
        let file = world.folder.path().join("inward.json");
        let inward = json!({"agent": {"startup_timeout": 8}, "feature": {"env": {"override": {"SHOP_LISTEN": "127.0.0.1:8080"}}}});
        tokio::fs::write(&file, inward.to_string()).await.unwrap();
        world
            .route("steal", "deployment/inward", "pr-1", &["--timeout", "300", "-f", file.to_str().unwrap()])
            .await
            .failure(
                7,
                &["within 8s", "the preview cannot be reached from the target's pod", "Connection refused", "port_mapping"],
            );
        world
            .mirrord_with(
                &[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal"), ("MIRRORD_AGENT_IMAGE", "mirrord-test/none:1")],
                &[
                    "preview", "start", "-n", &world.namespace, "-t", "deployment/inward", "-i",
                    "mirrord-test/shop:preview", "-k", "pr-1",
                ],
            )
            .await
            .failure(7, &["the keeper's pod failed: image `mirrord-test/none:1` cannot be pulled", "MIRRORD_AGENT_IMAGE"]);
        assert_eq!(world.objects().await, before);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn users_who_may_not_create_roles_can_start_with_the_output_of_rbac() {
    with_shop("rbac", |world| async move {
        let before = world.objects().await;
        let poor = world.user("poor", enough()).await;
        let poor = poor.to_str().unwrap();
        let refused = world.route("steal", "deployment/shop", "pr-1", &["--kubeconfig", poor]).await;
        refused.failure(
            4,
            &["the keeper cannot be granted the permissions that it needs", "mirrord preview rbac -n"],
        );

        let printed =
            world.mirrord(&["preview", "rbac", "-n", &world.namespace, "--user", "ann"]).await.success();
        for document in printed.stdout.split("---\n") {
            world.create(serde_saphyr::from_str(document).unwrap()).await;
        }
        // A user with only the users' Role.
        let role =
            world.api::<k8s_openapi::api::rbac::v1::Role>().get("mirrord-preview-users").await.unwrap();
        let member = world.user("member", json!(role.rules)).await;
        let member = member.to_str().unwrap();
        let doctor = world
            .mirrord_with(
                &[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")],
                &[
                    "preview",
                    "doctor",
                    "-n",
                    &world.namespace,
                    "-t",
                    "deployment/shop",
                    "--kubeconfig",
                    member,
                ],
            )
            .await
            .success();
        assert!(doctor.stderr.contains("the keeper runs as ServiceAccount `mirrord-keeper`"), "{doctor:#?}");
        world
            .route("steal", "deployment/shop", "pr-1", &["--kubeconfig", member, "--ttl", "5"])
            .await
            .success();
        if world.own {
            let answer = world.ask_service_with("shop", "baggage: mirrord-session=pr-1\r\n").await;
            assert!(answer.starts_with("shop preview"), "{answer}");
        }
        let status = world.mirrord(&["preview", "status", "--kubeconfig", member]).await.success();
        assert!(status.stdout.contains("steal "), "{status:#?}");
        world
            .mirrord(&["preview", "extend", "-k", "pr-1", "--ttl", "9", "--kubeconfig", member])
            .await
            .success();
        world.mirrord(&["preview", "stop", "-k", "pr-1", "--kubeconfig", member]).await.success();
        let left: Vec<_> = world
            .objects()
            .await
            .difference(&before)
            .filter(|name| name.contains("preview-"))
            .cloned()
            .collect();
        assert_eq!(left, ["Role/mirrord-preview-users", "RoleBinding/mirrord-preview-users"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn doctor_prints_a_role_with_the_missing_permissions() {
    with_shop("doctor", |world| async move {
        let before = world.objects().await;
        let nobody =
            world.user("nobody", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])).await;
        let doctor = world
            .mirrord_with(
                &[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")],
                &["preview", "doctor", "-n", &world.namespace, "--kubeconfig", nobody.to_str().unwrap()],
            )
            .await
            .failure(
                4,
                &[
                    "you are missing permissions: `jobs` (create, get, list, watch, patch, delete), `replicasets` (create, list, \
                     watch), `pods` (list, watch)",
                    "mirrord preview rbac -n",
                ],
            );
        let role: Value = serde_saphyr::from_str(&doctor.stdout).unwrap();
        assert_eq!(role["kind"], "Role");
        assert_eq!(role["rules"][0]["resources"], json!(["jobs"]));
        let good = world
            .mirrord(&["preview", "doctor", "-n", &world.namespace, "-t", "deployment/shop"])
            .await
            .success();
        assert!(good.stderr.contains("start: no known obstacles"), "{good:#?}");
        let left: Vec<_> = world
            .objects()
            .await
            .difference(&before)
            .filter(|name| name.contains("preview"))
            .cloned()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn keys_and_targets_are_routed_independently() {
    with_shop("several", |world| async move {
        if !world.own {
            eprintln!("skipped: a Service's address can be reached from the own cluster's node alone");
            return;
        }
        world.deploy("cart", &json!({"spec": {"replicas": 1}})).await;
        // Both start at the same moment. The second keeper finds the agents of the first.
        let ttl = ["--ttl", "5"];
        let (one, other, cart) = futures::join!(
            world.route("steal", "deployment/shop", "pr-1", &ttl),
            world.route("steal", "deployment/shop", "pr-12", &ttl),
            world.route("steal", "deployment/cart", "pr-1", &ttl),
        );
        for (started, service, key) in
            [(one, "shop", "pr-1"), (other, "shop", "pr-12"), (cart, "cart", "pr-1")]
        {
            let header = format!("baggage: mirrord-session={key}\r\n");
            let answer = world.ask_service_with(service, &header).await;
            assert_eq!(answer, format!("shop preview on {}\n", started.success().info("pod")));
        }
        let other = world.ask_service_with("cart", "baggage: mirrord-session=pr-12\r\n").await;
        assert!(other.starts_with("shop stable on cart-"), "{other}");
        // One agent in each pod serves both.
        let pods: Api<k8s_openapi::api::core::v1::Pod> = world.api();
        let selector = kube::api::ListParams::default().labels("app=shop,!preview.mirrord.io/session");
        for pod in pods.list(&selector).await.unwrap() {
            assert_eq!(pod.spec.unwrap().ephemeral_containers.unwrap().len(), 1);
        }
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
        let answer = world.ask_service_with("shop", "baggage: mirrord-session=pr-12\r\n").await;
        assert!(answer.starts_with("shop preview"), "the other key's stays: {answer}");
        let answer = world.ask_service_with("shop", "baggage: mirrord-session=pr-1\r\n").await;
        assert!(answer.starts_with("shop stable"), "{answer}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn filters_ports_and_concurrent_keys_follow_the_configuration() {
    with_shop("filters", |world| async move {
        if !world.own {
            eprintln!("skipped: a Service's address can be reached from the own cluster's node alone");
            return;
        }
        let file = |name: &str, incoming: Value, env: Value| {
            let path = world.folder.path().join(name);
            let file = json!({"feature": {"network": {"incoming": incoming}, "env": {"override": env}}});
            std::fs::write(&path, file.to_string()).unwrap();
            path.to_str().unwrap().to_owned()
        };
        // The preview listens on another port, and takes one user's requests. Its probe uses the old port.
        world
            .deploy("plain", &json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [{
                "name": "web", "image": "mirrord-test/shop:stable", "env": [{"name": "SHOP_NAME", "value": "shop"}],
                "ports": [{"name": "http", "containerPort": 8080}],
            }]}}}}))
            .await;
        let ann = json!({
            "mode": "steal", "port_mapping": [[9090, 8080]], "on_concurrent_steal": "abort",
            "http_filter": {"all_of": [{"header": "^x-user: ann$"}, {"method": "GET"}]},
        });
        let start = |key: &'static str, file: String| {
            let world = world.clone();
            async move {
                let words = [
                    "preview", "start", "-n", &world.namespace, "-t", "deployment/plain", "-i", "mirrord-test/shop:preview",
                    "-k", key, "-f", &file, "--ttl", "5",
                ];
                let child = world.spawn(&[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "")], &words);
                crate::support::screen(child).await
            }
        };
        let listens = json!({"SHOP_LISTEN": "0.0.0.0:9090"});
        start("ann", file("ann.json", ann.clone(), listens.clone())).await.success();
        let ask = |headers: &'static str| {
            let world = world.clone();
            async move { world.ask_service_with("plain", headers).await }
        };
        assert!(ask("X-User: ann\r\n").await.starts_with("shop preview"));
        for other in ["x-user: anna\r\n", "", "baggage: mirrord-session=ann\r\n"] {
            assert!(ask(other).await.starts_with("shop stable"), "{other}");
        }
        let before = world.objects().await;
        start("bob", file("bob.json", ann.clone(), listens.clone()))
            .await
            .failure(1, &["key `ann` steals the same requests of `deployment/plain`", "mirrord preview stop --key ann"]);
        assert_eq!(world.objects().await, before);
        let mut yielding = ann.clone();
        yielding["on_concurrent_steal"] = "continue".into();
        let second = start("bob", file("bob.json", yielding, listens.clone())).await.success();
        assert!(second.stderr.contains("the key `ann` takes these requests first"), "{second:#?}");
        let mut fighting = ann.clone();
        fighting["on_concurrent_steal"] = "override".into();
        let third = start("eve", file("eve.json", fighting, listens)).await.success();
        assert!(third.stderr.contains("key `ann` steals the same requests of `deployment/plain`, and is stopped"));
        let answer = ask("x-user: ann\r\n").await;
        assert_eq!(answer, format!("shop preview on {}\n", third.info("pod")));
    })
    .await;
}
