//! Creation, patches and deletion.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{AT_ONCE, Cluster, Error, Result};
use crate::session::TTL;

/// The name of this program in an object's `managedFields`.
const MANAGER: &str = "mirrord";

// === impl Cluster ===

impl Cluster {
    /// Creates the root.
    pub async fn create_root(&self, root: &Job) -> anyhow::Result<Job> {
        let (namespace, name) = place(root);
        let api: Api<Job> = Api::namespaced(self.client(), namespace);
        api.create(&Self::creation(), root).await.map_err(Error::from).map_err(|error| {
            error.into_problem(format!("could not create job `{name}` in namespace `{namespace}`")).into()
        })
    }

    /// Creates an object that the root owns.
    pub async fn create(&self, object: Value) -> anyhow::Result<()> {
        let what = format!(
            "could not create {} `{}` in namespace `{}`",
            text(&object, "/kind").to_lowercase(),
            text(&object, "/metadata/name"),
            text(&object, "/metadata/namespace")
        );
        Ok(self.post(object, &Self::creation()).await.map_err(|error| error.into_problem(what))?)
    }

    /// Dry-runs the creation of an object.
    pub async fn would_create(&self, object: Value) -> Result<()> {
        self.post(object, &PostParams { dry_run: true, ..Self::creation() }).await
    }

    async fn post(&self, object: Value, parameters: &PostParams) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object).expect("a planned object has metadata");
        let types = object.types.clone().expect("a planned object has a kind and a version");
        // The core group has no name.
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
        let namespace = object.metadata.namespace.clone().expect("a planned object has a namespace");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), &namespace, &resource);
        Ok(api.create(parameters, &object).await.map(drop)?)
    }

    /// Lets the root start the keeper's pod, whose account exists by now.
    pub async fn begin(&self, root: &Job) -> anyhow::Result<()> {
        let parallelism = root.spec.as_ref().and_then(|spec| spec.parallelism);
        let (namespace, name) = place(root);
        match self.patch_root(namespace, name, &json!({"spec": {"parallelism": parallelism}})).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error
                .into_problem(format!("could not start the keeper of `{name}` in namespace `{namespace}`"))
                .into()),
        }
    }

    fn creation() -> PostParams {
        PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) }
    }

    /// Writes a new time to live on the labels of a session's pods. Without the right to
    /// do so, only the root has it.
    pub async fn relabel_pods(&self, namespace: &str, pods: &[Pod], ttl: &str) {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let patch = Patch::Merge(json!({"metadata": {"labels": {TTL: ttl}}}));
        let patches = stream::iter(pods).map(|pod| {
            let (api, patch) = (&api, &patch);
            async move { drop(api.patch(&pod.name_any(), &PatchParams::default(), patch).await) }
        });
        patches.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    pub(super) async fn patch_root(&self, namespace: &str, root: &str, patch: &Value) -> Result<Job> {
        let api: Api<Job> = Api::namespaced(self.client(), namespace);
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        Ok(api.patch(root, &parameters, &Patch::Merge(patch)).await?)
    }

    /// Deletes the root. The garbage collector deletes everything that it owns.
    pub async fn delete(&self, namespace: &str, root: &str) -> anyhow::Result<()> {
        let api: Api<Job> = Api::namespaced(self.client(), namespace);
        match api.delete(root, &DeleteParams::background()).await.map_err(Error::from) {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error
                .into_problem(format!("could not delete `{root}` in namespace `{namespace}`"))
                .into()),
        }
    }
}

/// How long Kubernetes may take to end a session, in addition to the grace periods of
/// its pods, before the CLI deletes the root itself.
pub(crate) const END: Duration = Duration::from_secs(20);

/// The namespace and the name of a root.
fn place(root: &Job) -> (&str, &str) {
    let place = root.metadata.namespace.as_deref().zip(root.metadata.name.as_deref());
    place.expect("a root has a namespace and a name")
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    let text = object.pointer(path).and_then(Value::as_str);
    text.expect("a planned object has a kind, a name and a namespace")
}
