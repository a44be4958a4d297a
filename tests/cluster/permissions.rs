//! Missing permissions: `doctor` and `start` name those that this configuration needs,
//! and no others, before anything is created.

use serde_json::{Value, json};

use crate::support::{Checked, Screen, World, merge, with_shop};
use crate::users::enough;

/// `enough`, with further rules.
fn and(more: &[Value]) -> Value {
    let mut rules = enough();
    rules.as_array_mut().unwrap().extend(more.iter().cloned());
    rules
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}

/// A user with these permissions.
struct User {
    world: World,
    kubeconfig: String,
}

// === impl User ===

impl User {
    async fn new(world: &World, name: &str, rules: Value) -> Self {
        let kubeconfig = world.user(name, rules).await.to_str().unwrap().to_owned();
        Self { world: world.clone(), kubeconfig }
    }

    async fn runs(&self, how: &str, verb: &str, target: &str, more: &[&str]) -> Screen {
        let mut arguments = vec!["preview", verb, "-t", target, "--kubeconfig", &self.kubeconfig];
        arguments.extend(more);
        if verb == "start" {
            arguments.extend(["-i", "mirrord-test/shop:preview", "-k", "pr-1"]);
        }
        self.world.mirrord_with(&[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", how)], &arguments).await
    }
}

/// The rules of the Role that `doctor` printed, as `verbs resource`.
fn printed(screen: &Checked) -> Vec<String> {
    let role: Value = serde_saphyr::from_str(&screen.stdout).unwrap();
    let words = |list: &Value| {
        let words: Vec<_> = list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        words.join(",")
    };
    let rules = role["rules"].as_array().unwrap().iter();
    rules.map(|rule| format!("{} {}", words(&rule["verbs"]), words(&rule["resources"]))).collect()
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn doctor_names_missing_permissions_and_start_creates_nothing_without_them() {
    with_shop("needed", |world| async move {
        let mut stateful = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "db"}}, "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "web", "image": "mirrord-test/shop:stable"}]},
            }},
        });
        merge(&mut stateful, &json!({"spec": {"serviceName": "db"}}));
        world.create(stateful).await;
        let file = world.folder.path().join("files.json");
        let mounts = json!([{"mount_at": "/etc/shop.conf", "type": "text", "payload": "x"}]);
        let preview = json!({"config_mounts": mounts, "secret_mounts": mounts});
        let mut preview: Value = preview;
        preview["secret_mounts"][0]["mount_at"] = "/etc/shop.key".into();
        std::fs::write(&file, json!({"feature": {"preview": preview}}).to_string()).unwrap();
        let files = ["-f", file.to_str().unwrap()];

        let ann = User::new(&world, "ann", enough()).await;
        let doctor = ann.runs("off", "doctor", "deployment/shop", &[]).await.success();
        assert!(!doctor.stderr.contains("keeper"), "nothing is routed: {doctor:#?}");

        let before = world.objects().await;
        let lacks = ["`configmaps` (create), `secrets` (create)"];
        let doctor = ann.runs("off", "doctor", "deployment/shop", &files).await.failure(4, &lacks);
        assert_eq!(printed(&doctor), ["create configmaps", "create secrets"]);
        let start = ann.runs("off", "start", "deployment/shop", &files).await.failure(4, &lacks);
        assert!(!start.stderr.contains("removing what was created"), "{start:#?}");
        assert_eq!(world.objects().await, before);

        let words = ["statefulsets.apps \"db\" is forbidden", "found 1 obstacle to"];
        let doctor = ann.runs("off", "doctor", "statefulset/db", &[]).await.failure(4, &words);
        assert_eq!(printed(&doctor), ["get statefulsets"]);

        // A preview of a StatefulSet needs no permissions for Deployments.
        let mut rules = and(&[rule("apps", "statefulsets", &["get"])]);
        rules.as_array_mut().unwrap().retain(|rule| rule["resources"] != json!(["deployments"]));
        let bob = User::new(&world, "bob", rules).await;
        bob.runs("off", "doctor", "statefulset/db", &[]).await.success();
        bob.runs("off", "start", "statefulset/db", &[]).await.success();

        // If one verb is missing, only that verb is named.
        let mut rules = enough();
        let verbs = rules[2]["verbs"].as_array_mut().unwrap();
        verbs.retain(|verb| verb != "delete");
        let cleo = User::new(&world, "cleo", rules).await;
        let doctor =
            cleo.runs("off", "doctor", "deployment/shop", &[]).await.failure(4, &["`jobs` (delete)"]);
        assert_eq!(printed(&doctor), ["delete jobs"]);
        // In JSON mode every line is an object.
        let variables = [("MIRRORD_PROGRESS_MODE", "json")];
        let arguments = ["preview", "doctor", "-t", "deployment/shop", "--kubeconfig", &cleo.kubeconfig];
        let doctor = world.mirrord_with(&variables, &arguments).await.failure(4, &[]);
        let lines: Vec<Value> =
            doctor.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().any(|line| line["kind"] == "Role"), "{doctor:#?}");
        assert!(lines.iter().all(Value::is_object) && doctor.stderr.is_empty(), "{doctor:#?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_keeper_that_cannot_be_granted_its_permissions_is_exit_code_4() {
    with_shop("grants", |world| async move {
        let before = world.objects().await;
        let words = [
            "the keeper cannot be granted its permissions",
            "found 1 obstacle to",
            "mirrord preview rbac -n",
        ];
        let poor = User::new(&world, "poor", enough()).await;
        poor.runs("steal", "doctor", "deployment/shop", &[]).await.failure(4, &words);
        // A Role is useless without a ServiceAccount and a RoleBinding.
        let keepers = [
            rule("", "pods/ephemeralcontainers", &["patch"]),
            rule("", "pods/exec", &["create", "get"]),
            rule("", "pods/status", &["patch"]),
            rule("rbac.authorization.k8s.io", "roles", &["create"]),
        ];
        let half = User::new(&world, "half", and(&keepers)).await;
        let lacks = "`serviceaccounts` (create), `rolebindings` (create)";
        half.runs("steal", "doctor", "deployment/shop", &[])
            .await
            .failure(4, &[&words[..], &[lacks]].concat());
        let start = half.runs("steal", "start", "deployment/shop", &[]).await;
        let start = start.failure(4, &["the keeper cannot be granted the permissions that it needs", lacks]);
        assert!(!start.stderr.contains("removing what was created"), "{start:#?}");
        let left = world.objects().await;
        assert!(!left.difference(&before).any(|name| name.contains("preview-")), "{left:?}");
    })
    .await;
}
