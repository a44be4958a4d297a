//! What there is, by name alone: for people who are still typing.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::Cluster;
use super::sessions::PAGE;
use crate::session::{MANAGED_BY, MIRRORD};
use crate::workload::KINDS;

// === impl Cluster ===

impl Cluster {
    /// The namespaces; where they may not be listed, the context's.
    pub async fn namespaces(&self) -> Vec<String> {
        let api: Api<Namespace> = Api::all(self.client());
        match api.list_metadata(&ListParams::default().limit(PAGE)).await {
            Ok(list) => list.items.iter().map(kube::ResourceExt::name_any).collect(),
            Err(_) => vec![self.default_namespace.clone()],
        }
    }

    /// What can be a target, as `kind/name`: what a controller owns is named
    /// by its controller alone, and what may not be listed is left out.
    pub async fn targets(&self, namespace: &str) -> Vec<String> {
        let parameters = ListParams::default().limit(PAGE).labels(&format!("{MANAGED_BY}!={MIRRORD}"));
        let lists = join_all(KINDS.iter().map(|kind| {
            let (api, parameters) = (self.workloads(kind, namespace), &parameters);
            async move { (kind, api.list_metadata(parameters).await) }
        }))
        .await;
        let mut targets = Vec::new();
        for (kind, list) in lists {
            let objects = list.map(|list| list.items).unwrap_or_default();
            let free = objects.iter().filter(|object| object.owner_references().is_empty());
            targets.extend(free.map(|object| format!("{}/{}", kind.name, object.name_any())));
        }
        targets
    }
}
