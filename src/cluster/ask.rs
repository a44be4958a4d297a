//! Questions that change nothing: what would be allowed, and what would not.

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams, PostParams};
use kube::core::{Selector, SelectorExt as _};

use serde_json::Value;

use super::Cluster;

/// How many questions are asked at once.
const AT_ONCE: usize = 8;

/// A verb on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The API group.
    pub group: &'static str,
    /// The resource, with its subresource behind a slash.
    pub resource: &'static str,
    /// The verb.
    pub verb: &'static str,
}

// === impl Cluster ===

impl Cluster {
    /// Which of these the user may not do; an error where the cluster does not
    /// answer such questions.
    pub async fn refused(&self, namespace: &str, asked: Vec<Access>) -> kube::Result<Vec<Access>> {
        let answers = stream::iter(asked).map(|access| async move {
            let allowed = self.may(namespace, &access).await;
            allowed.map(|allowed| (access, allowed))
        });
        let answers: Vec<_> = answers.buffered(AT_ONCE).collect().await;
        let mut refused = Vec::new();
        for answer in answers {
            let (access, allowed) = answer?;
            if !allowed {
                refused.push(access);
            }
        }
        Ok(refused)
    }

    async fn may(&self, namespace: &str, access: &Access) -> kube::Result<bool> {
        let (resource, subresource) = match access.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (access.resource, None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.to_owned()),
                    verb: Some(access.verb.to_owned()),
                    group: Some(access.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client());
        let answer = api.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Who the API server takes the user for; nothing where it does not say.
    pub async fn user(&self) -> Option<String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client());
        let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
        review.status?.user_info?.username
    }

    /// Whether a namespace is there; unknown where it may not be seen.
    pub async fn has_namespace(&self, name: &str) -> Option<bool> {
        let api: Api<Namespace> = Api::all(self.client());
        api.get_metadata_opt(name).await.ok().map(|found| found.is_some())
    }

    /// The pods that a target's selector, or a name, means.
    pub async fn pods_like(&self, namespace: &str, labels: Option<&str>, name: Option<&str>) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let mut parameters = ListParams::default().limit(super::read::PAGE);
        parameters.label_selector = labels.map(str::to_owned);
        parameters.field_selector = name.map(|name| format!("metadata.name={name}"));
        api.list(&parameters).await.map(|list| list.items).unwrap_or_default()
    }

    /// Whether a pod with this template would be taken: quotas, limits, Pod
    /// Security and webhooks have their say.
    pub async fn would_take_pod(&self, namespace: &str, name: &str, template: &Value) -> kube::Result<()> {
        let mut pod = template.clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["namespace"] = namespace.into();
        pod["metadata"]["name"] = name.into();
        self.would_create(pod).await
    }

    /// The kernels of nodes, as they call themselves; nothing where nodes may
    /// not be seen.
    pub async fn kernels(&self, nodes: &[String]) -> Vec<(String, String)> {
        let api: Api<Node> = Api::all(self.client());
        let mut kernels = Vec::new();
        for name in nodes {
            let Ok(node) = api.get(name).await else { return Vec::new() };
            let info = node.status.and_then(|status| status.node_info);
            kernels.extend(info.map(|info| (name.clone(), info.kernel_version)));
        }
        kernels
    }

    /// Each `NetworkPolicy` that decide what comes to pods with these labels.
    pub async fn policies_before(
        &self,
        namespace: &str,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Vec<String> {
        let api: Api<NetworkPolicy> = Api::namespaced(self.client(), namespace);
        let Ok(policies) = api.list(&ListParams::default()).await else { return Vec::new() };
        let selects = policies.items.iter().filter(|policy| {
            let Some(spec) = &policy.spec else { return false };
            let is_inbound =
                spec.policy_types.as_ref().is_none_or(|types| types.iter().any(|one| one == "Ingress"));
            let selector = spec.pod_selector.clone().unwrap_or_default();
            is_inbound && Selector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
        });
        selects.map(kube::ResourceExt::name_any).collect()
    }
}

/// The node that a pod runs on, and the mesh sidecars in it.
pub fn place(pod: &Pod) -> (Option<String>, Vec<String>) {
    let spec = pod.spec.clone().unwrap_or_default();
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let names = containers.map(|container| container.name.clone());
    let meshes = names.filter(|name| crate::target::container::is_mesh(name)).collect();
    (spec.node_name, meshes)
}
