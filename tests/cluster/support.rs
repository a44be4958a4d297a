//! Helpers of the cluster tests: a namespace for each test, the binary's screen, and
//! waiting for conditions.

pub(crate) mod load;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod, Service};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Child;

/// The limit for actions that take a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A namespace of one test, with the client and the kubeconfig to reach it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) kubeconfig: PathBuf,
    /// A folder for the test's files, removed after the test.
    pub(crate) folder: Arc<TempDir>,
    /// Whether the cluster is the one that `tests/cluster/up` starts.
    pub(crate) own: bool,
}

/// The output of a command.
#[derive(Debug)]
#[must_use = "look at the screen: its exit code, at least"]
pub(crate) struct Screen {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

/// A screen whose exit code was checked.
#[derive(Debug)]
pub(crate) struct Checked(Screen);

// === impl Checked ===

impl std::ops::Deref for Checked {
    type Target = Screen;

    fn deref(&self) -> &Screen {
        &self.0
    }
}

// === impl Screen ===

impl Screen {
    /// The screen of a command that succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> Checked {
        assert_eq!(self.code, Some(0), "{self:#?}");
        Checked(self)
    }

    /// The screen of a command that failed with `code` and printed all of `words`.
    #[track_caller]
    pub(crate) fn failure(self, code: i32, words: &[&str]) -> Checked {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
        Checked(self)
    }

    /// The value of an `info` line.
    #[track_caller]
    pub(crate) fn info(&self, name: &str) -> String {
        let mark = format!("    * {name}: ");
        let line = self.stderr.lines().find_map(|line| line.strip_prefix(&mark));
        line.unwrap_or_else(|| panic!("no {name:?} in {self:#?}")).to_owned()
    }
}

/// Runs `test` in a namespace of its own, with two stable shop pods in it.
/// On failure the pods' states are printed; `MIRRORD_TEST_KEEP` keeps them.
pub(crate) async fn with_shop<F: Future<Output = ()> + Send + 'static>(
    name: &str,
    test: impl FnOnce(World) -> F + Send + 'static,
) {
    with_namespace(name, |world| async move {
        world.deploy_shop().await;
        test(world).await;
    })
    .await;
}

/// Runs `test` in an empty namespace of its own.
pub(crate) async fn with_namespace<F: Future<Output = ()> + Send + 'static>(
    name: &str,
    test: impl FnOnce(World) -> F + Send + 'static,
) {
    let world = World::new(name).await;
    let result = tokio::spawn(test(world.clone())).await;
    if let Err(failure) = result {
        world.describe().await;
        world.delete().await;
        std::panic::resume_unwind(failure.into_panic());
    }
    world.delete().await;
}

// === impl World ===

impl World {
    async fn new(name: &str) -> Self {
        let (kubeconfig, own) = match (
            std::env::var_os("MIRRORD_TEST_KUBECONFIG"),
            std::env::var_os("MIRRORD_CLUSTER_KUBECONFIG"),
        ) {
            (Some(path), _) => (PathBuf::from(path), false),
            (None, Some(path)) => (PathBuf::from(path), true),
            (None, None) => panic!("no cluster to test on: run `tests/run`, or set MIRRORD_TEST_KUBECONFIG"),
        };
        let parsed = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(parsed, &kube::config::KubeConfigOptions::default())
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        let namespace = format!("test-{}-{}", name, &suffix[..6]);
        let object: NamespaceObject = serde_json::from_value(
            json!({"metadata": {"name": namespace, "labels": {"mirrord-test": name}}}),
        )
        .unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let world = Self { client, namespace, kubeconfig, folder, own };
        // Pods cannot be created before it exists.
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = world.api();
        until("a default service account", || async { accounts.get_opt("default").await.unwrap() }).await;
        world
    }

    async fn delete(&self) {
        if std::env::var_os("MIRRORD_TEST_KEEP").is_none() {
            let api: Api<NamespaceObject> = Api::all(self.client.clone());
            let _ = api.delete(&self.namespace, &DeleteParams::background()).await;
        }
    }

    async fn describe(&self) {
        let pods: Api<Pod> = self.api();
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            eprintln!("pod {}: {}", pod.name_any(), json!(pod.status));
        }
    }

    /// The objects of one type in the test's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object given as JSON.
    pub(crate) async fn create(&self, object: Value) {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// The object of this kind and name, as it is now.
    pub(crate) async fn read(&self, object: &Value) -> Value {
        let named: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::try_from(named.types.as_ref().unwrap()).unwrap());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        json!(api.get(&named.name_any()).await.unwrap())
    }

    /// The shop: two stable pods behind a Service.
    pub(crate) async fn deploy_shop(&self) {
        self.deploy("shop", &json!({})).await;
    }

    /// A Deployment like the shop's, `change`d by a merge, and its Service.
    pub(crate) async fn deploy(&self, name: &str, change: &Value) {
        let manifest = include_str!("manifests/shop.yaml");
        for document in manifest.split("---\n").filter(|document| document.contains("kind:")) {
            let mut object: Value = serde_saphyr::from_str(document).unwrap();
            object["metadata"]["name"] = name.into();
            let labels = json!({"app": name});
            if object["kind"] == "Deployment" {
                object["spec"]["selector"]["matchLabels"] = labels.clone();
                merge(&mut object["spec"]["template"]["metadata"]["labels"], &labels);
                merge(&mut object, change);
            } else {
                object["spec"]["selector"] = labels;
            }
            self.create(object).await;
        }
        let wanted = change.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(2);
        let api: Api<Deployment> = self.api();
        until("all stable pods ready", || async {
            let ready =
                api.get(name).await.unwrap().status.and_then(|status| status.ready_replicas).unwrap_or(0);
            (i64::from(ready) == wanted).then_some(())
        })
        .await;
    }

    /// Runs `mirrord` in an empty environment with this cluster's kubeconfig.
    pub(crate) async fn mirrord(&self, arguments: &[&str]) -> Screen {
        self.mirrord_with(&[], arguments).await
    }

    pub(crate) async fn mirrord_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Screen {
        screen(self.spawn(environment, arguments)).await
    }

    /// Starts `mirrord` and lets it run.
    pub(crate) fn spawn(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Child {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mirrord"));
        command
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            // Tests of routing override this; all others need no agents.
            .env("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "off")
            .envs(environment.iter().copied())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// `mirrord preview start` on a target with the preview's image.
    pub(crate) async fn start(&self, target: &str, key: &str, more: &[&str]) -> Screen {
        let mut arguments = vec!["-k", key];
        arguments.extend(more);
        screen(self.starting(target, "mirrord-test/shop:preview", &arguments)).await
    }

    /// `mirrord preview start` that routes requests, in a mode, to the preview.
    pub(crate) async fn route(&self, how: &str, target: &str, key: &str, more: &[&str]) -> Screen {
        screen(self.routing(how, target, key, more)).await
    }

    /// The same, without waiting for it.
    pub(crate) fn routing(&self, how: &str, target: &str, key: &str, more: &[&str]) -> Child {
        let image = "mirrord-test/shop:preview";
        let mut arguments =
            vec!["preview", "start", "-n", &self.namespace, "-t", target, "-i", image, "-k", key];
        arguments.extend(more);
        self.spawn(&[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", how)], &arguments)
    }

    /// `mirrord preview start` on the shop with another image.
    pub(crate) async fn start_image(&self, image: &str, more: &[&str]) -> Screen {
        screen(self.starting("deployment/shop", image, more)).await
    }

    /// `mirrord preview start`, without waiting for it.
    pub(crate) fn starting(&self, target: &str, image: &str, more: &[&str]) -> Child {
        let mut arguments = vec!["preview", "start", "-n", &self.namespace, "-t", target, "-i", image];
        arguments.extend(more);
        self.spawn(&[], &arguments)
    }

    /// Every object of the namespace that a session could leave, as `kind/name`.
    pub(crate) async fn objects(&self) -> BTreeSet<String> {
        let kinds = [
            ("", "v1", "Pod"),
            ("", "v1", "Service"),
            ("", "v1", "ConfigMap"),
            ("", "v1", "Secret"),
            ("", "v1", "ServiceAccount"),
            ("", "v1", "PersistentVolumeClaim"),
            ("apps", "v1", "ReplicaSet"),
            ("apps", "v1", "Deployment"),
            ("batch", "v1", "Job"),
            ("networking.k8s.io", "v1", "NetworkPolicy"),
            ("rbac.authorization.k8s.io", "v1", "Role"),
            ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
            ("policy", "v1", "PodDisruptionBudget"),
            ("discovery.k8s.io", "v1", "EndpointSlice"),
        ];
        let mut objects = BTreeSet::new();
        for (group, version, kind) in kinds {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
            for object in api.list(&ListParams::default()).await.unwrap() {
                objects.insert(format!("{kind}/{}", object.name_any()));
            }
        }
        objects
    }

    /// The preview pods of a key.
    pub(crate) async fn preview_pods(&self, selector: &str) -> Vec<Pod> {
        let api: Api<Pod> = self.api();
        let selector = format!("app.kubernetes.io/managed-by=mirrord{selector}");
        api.list(&ListParams::default().labels(&selector)).await.unwrap().items
    }

    /// Asks the Service, through kube-proxy where the test can, and returns the
    /// body of the answer.
    pub(crate) async fn ask_service(&self, name: &str) -> String {
        if !self.own {
            return self.proxied(&format!("services/{name}:80")).await;
        }
        self.ask_service_with(name, "").await
    }

    /// The same with further header lines, which the API server's proxy does not pass on.
    pub(crate) async fn ask_service_with(&self, name: &str, headers: &str) -> String {
        let address = self.service_address(name).await;
        let mut stream = TcpStream::connect((address.as_str(), 80)).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: shop\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub(crate) async fn service_address(&self, name: &str) -> String {
        let service: Service = self.api().get(name).await.unwrap();
        service.spec.unwrap().cluster_ip.unwrap()
    }

    /// Asks one pod, whether or not it is ready.
    pub(crate) async fn ask_pod(&self, name: &str, path: &str) -> String {
        self.proxied(&format!("pods/{name}:8080/proxy{path}")).await
    }

    async fn proxied(&self, path: &str) -> String {
        let path = if path.contains("/proxy") { path.to_owned() } else { format!("{path}/proxy/") };
        let request = http::Request::get(format!("/api/v1/namespaces/{}/{path}", self.namespace))
            .body(Vec::new())
            .unwrap();
        self.client.request_text(request).await.unwrap()
    }

    /// A kubeconfig of a new ServiceAccount with these `rules` in this namespace.
    pub(crate) async fn user(&self, name: &str, rules: Value) -> PathBuf {
        let group = "rbac.authorization.k8s.io";
        self.create(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})).await;
        self.create(json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules})).await;
        self.create(json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}],
        }))
        .await;
        let request = http::Request::post(format!(
            "/api/v1/namespaces/{}/serviceaccounts/{name}/token",
            self.namespace
        ))
        .header("content-type", "application/json")
        .body(
            serde_json::to_vec(
                &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
            )
            .unwrap(),
        )
        .unwrap();
        let token: Value = self.client.request(request).await.unwrap();
        self.kubeconfig_with(name, &json!({"token": token["status"]["token"]}), &json!({})).await
    }

    /// This cluster's kubeconfig with other credentials and another address.
    pub(crate) async fn kubeconfig_with(&self, name: &str, user: &Value, cluster: &Value) -> PathBuf {
        let text = tokio::fs::read_to_string(&self.kubeconfig).await.unwrap();
        let mut config: Value = serde_saphyr::from_str(&text).unwrap();
        let current = config["current-context"].as_str().unwrap().to_owned();
        let named = |list: &str, name: &str| {
            config[list].as_array().unwrap().iter().position(|entry| entry["name"] == name).unwrap()
        };
        let context = named("contexts", &current);
        let of = |field: &str| config["contexts"][context]["context"][field].as_str().unwrap().to_owned();
        let (cluster_at, user_at) = (named("clusters", &of("cluster")), named("users", &of("user")));
        merge(&mut config["clusters"][cluster_at]["cluster"], cluster);
        if !user.is_null() {
            config["users"][user_at]["user"] = user.clone();
        }
        config["contexts"][context]["context"]["namespace"] = self.namespace.clone().into();
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        tokio::fs::write(&path, config.to_string()).await.unwrap();
        path
    }
}

/// Waits until `look` sees something, and returns it.
#[track_caller]
pub(crate) fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    look: impl Fn() -> F,
) -> impl Future<Output = T> {
    let what = what.to_owned();
    async move {
        let began = Instant::now();
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(began.elapsed() < SOON, "waited {} s for {what}", SOON.as_secs());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Waits for a command to end.
pub(crate) async fn screen(child: Child) -> Screen {
    let output = child.wait_with_output().await.unwrap();
    Screen {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
    }
}

/// Merges `change` into `object`; null removes.
pub(crate) fn merge(object: &mut Value, change: &Value) {
    match (object, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (name, value) in change {
                if value.is_null() {
                    object.remove(name);
                } else {
                    merge(object.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (object, change) => *object = change.clone(),
    }
}
