//! A keeper's requests: attaching agents, the exec of their control bridge, and the
//! report on the root and the preview pods.

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, AttachParams, AttachedProcess, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Cluster, Result};
use crate::contract::assignment::Pods;
use crate::session::SESSION;

// === impl Cluster ===

impl Cluster {
    /// Attaches an ephemeral container to a pod. Refused with a conflict if the pod has
    /// changed since `resource_version`, so that two keepers never attach two agents.
    pub async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        resource_version: Option<&str>,
        container: &Value,
    ) -> Result<Pod> {
        self.patch_containers(namespace, pod, resource_version, container, &PatchParams::default()).await
    }

    /// Dry-runs the attachment of such a container.
    pub async fn would_attach(&self, namespace: &str, pod: &str, container: &Value) -> Result<Pod> {
        self.patch_containers(namespace, pod, None, container, &PatchParams::default().dry_run()).await
    }

    async fn patch_containers(
        &self,
        namespace: &str,
        pod: &str,
        resource_version: Option<&str>,
        container: &Value,
        parameters: &PatchParams,
    ) -> Result<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let patch = json!({
            "metadata": {"resourceVersion": resource_version},
            "spec": {"ephemeralContainers": [container]},
        });
        Ok(api.patch_ephemeral_containers(pod, parameters, &Patch::Strategic(patch)).await?)
    }

    /// The name of one of a target's pods, if the user may see one.
    pub async fn any_pod(&self, namespace: &str, pods: &Pods) -> Option<String> {
        let labels = match pods {
            Pods::Named(name) => return Some(name.clone()),
            Pods::Labelled(labels) => format!("{labels},!{SESSION}"),
        };
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let list = api.list_metadata(&ListParams::default().labels(&labels).limit(1)).await.ok()?;
        list.items.first()?.metadata.name.clone()
    }

    /// Whether such a `ServiceAccount` exists and the user may see it.
    pub async fn has_account(&self, namespace: &str, name: &str) -> bool {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        matches!(api.get_metadata_opt(name).await, Ok(Some(_)))
    }

    /// Runs a command in a container, with its standard input and output attached.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
    ) -> Result<AttachedProcess> {
        // The command may be silent for longer than the time limit for an answer.
        let api: Api<Pod> = Api::namespaced(self.long_lived_client()?, namespace);
        let parameters = AttachParams::default().container(container).stdin(true).stdout(true).stderr(false);
        Ok(api.exec(pod, command.iter().copied(), &parameters).await?)
    }

    /// Writes annotations on a root.
    pub async fn annotate_root(&self, namespace: &str, root: &str, annotations: Value) -> Result<()> {
        self.patch_root(namespace, root, &json!({"metadata": {"annotations": annotations}})).await.map(drop)
    }

    /// Sets a condition of a pod.
    pub async fn set_condition(&self, namespace: &str, pod: &str, condition: &Value) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        // Conditions are merged by type, so that those of the kubelet stay.
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        Ok(api.patch_status(pod, &PatchParams::default(), &patch).await.map(drop)?)
    }
}
