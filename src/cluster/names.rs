//! Names of existing objects, for shell completion.

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
    /// The namespaces; only the context's where they may not be listed.
    pub async fn namespaces(&self) -> Vec<String> {
        let api: Api<Namespace> = Api::all(self.client());
        match api.list_metadata(&ListParams::default().limit(PAGE)).await {
            Ok(list) => list.items.iter().map(kube::ResourceExt::name_any).collect(),
            Err(_) => vec![self.default_namespace.clone()],
        }
    }

    /// The possible targets as `kind/name`, without objects that a controller owns, and
    /// without kinds that may not be listed.
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
