//! Users with permissions in one namespace, or with too few.

use serde_json::{Value, json};

use crate::support::{World, with_shop};

/// The permissions to start, list and stop an environment.
pub(crate) fn enough() -> Value {
    json!([
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["create", "list", "watch"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch", "patch", "delete"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    ])
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn permissions_in_one_namespace_suffice_and_users_share_a_key() {
    with_shop("two-users", |world| async move {
        let ann = world.user("ann", enough()).await;
        let bob = world.user("bob", enough()).await;
        let (ann, bob) = (ann.to_str().unwrap(), bob.to_str().unwrap());
        start(&world, ann).await;
        let status = world.mirrord(&["preview", "status", "--kubeconfig", bob]).await.success();
        assert!(status.stdout.contains("shared"), "{status:#?}");
        assert!(status.stderr.contains("you may not list every namespace"), "{status:#?}");
        start(&world, bob).await;
        assert_eq!(world.preview_pods("").await.len(), 1, "bob's start replaced ann's");
        world.mirrord(&["preview", "stop", "--kubeconfig", ann, "--key", "shared"]).await.success();
        assert!(world.preview_pods("").await.is_empty());
    })
    .await;
}

/// Starts the shared environment as a user.
async fn start(world: &World, kubeconfig: &str) {
    let target = ["-t", "deployment/shop", "-i", "mirrord-test/shop:preview", "-k", "shared"];
    world.mirrord(&[&["preview", "start", "--kubeconfig", kubeconfig], &target[..]].concat()).await.success();
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_missing_permission_is_named_and_nothing_is_left() {
    with_shop("rights", |world| async move {
        let before = world.objects().await;
        let without = |dropped: &str| {
            let mut rules = enough();
            let rules = rules.as_array_mut().unwrap();
            for rule in rules.iter_mut() {
                let resource = rule["resources"][0].as_str().unwrap().to_owned();
                rule["verbs"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|verb| format!("{} {resource}", verb.as_str().unwrap()) != dropped);
            }
            json!(rules)
        };
        for (name, dropped, right, words) in [
            ("a", "get deployments", "get deployments.apps", "is forbidden"),
            ("b", "create jobs", "create jobs.batch", "missing: `jobs` (create)"),
            ("c", "create replicasets", "create replicasets.apps", "`replicasets` (create)"),
            ("d", "list pods", "list pods", "`pods` (list)"),
        ] {
            let user = world.user(name, without(dropped)).await;
            let hint = format!("`kubectl auth can-i {right} -n {}`", world.namespace);
            world
                .mirrord(&[
                    "preview",
                    "start",
                    "--kubeconfig",
                    user.to_str().unwrap(),
                    "-t",
                    "deployment/shop",
                    "-i",
                    "mirrord-test/shop:preview",
                ])
                .await
                .failure(4, &[words, &hint]);
        }
        let after = world.objects().await;
        assert!(!after.difference(&before).any(|object| object.contains("preview-")), "{after:?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn rejected_credentials_are_reported() {
    with_shop("expired", |world| async move {
        let stale = world.kubeconfig_with("stale", &json!({"token": "expired"}), &json!({})).await;
        for verb in [
            &["preview", "status"][..],
            &["preview", "stop", "-k", "x"],
            &["preview", "start", "-t", "deployment/shop", "-i", "x"],
        ] {
            let mut arguments = verb.to_vec();
            arguments.extend(["--kubeconfig", stale.to_str().unwrap()]);
            world
                .mirrord(&arguments)
                .await
                .failure(4, &["could not connect to the cluster", "Unauthorized", "log in again"]);
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn completion_offers_existing_keys_namespaces_and_targets() {
    with_shop("offered", |world| async move {
        world.start("deployment/shop", "pr-1", &[]).await.success();
        let offered = |what: &'static str, words: &'static [&'static str]| {
            let world = world.clone();
            async move {
                let arguments =
                    [&["candidates", what, "--", "preview"], words, &["-n", &world.namespace]].concat();
                world
                    .mirrord(&arguments)
                    .await
                    .success()
                    .stdout
                    .lines()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            }
        };
        assert_eq!(offered("key", &["stop", "-k"]).await, ["pr-1"]);
        assert_eq!(offered("target", &["stop", "-t"]).await, ["deployment/shop"]);
        // Neither pods nor Jobs that belong to an environment.
        assert_eq!(offered("target", &["start", "-t"]).await, ["deployment/shop", "service/shop"]);
        assert!(offered("namespace", &["start"]).await.contains(&world.namespace));
        // A user without permissions is offered only the namespace of the kubeconfig.
        let kubeconfig = world.user("nobody", json!([])).await;
        let nobody = ["--kubeconfig", kubeconfig.to_str().unwrap()];
        for (what, lines) in [("key", ""), ("target", ""), ("namespace", world.namespace.as_str())] {
            let screen = world
                .mirrord(&[&["candidates", what, "--", "preview", "start"], &nobody[..]].concat())
                .await
                .success();
            assert_eq!((screen.stdout.trim_end(), screen.stderr.as_str()), (lines, ""));
        }
        let screen =
            world.mirrord(&["candidates", "key", "--", "preview", "--kubeconfig", "gone"]).await.success();
        assert_eq!((screen.stdout.as_str(), screen.stderr.as_str()), ("", ""));
    })
    .await;
}
