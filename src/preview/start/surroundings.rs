//! What in the namespace will have to do with a preview, beside its target:
//! what takes it for one of the target's pods, and what keeps requests from it.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, explain};
use crate::output::Reporter;
use crate::preview::plan::{Plan, Request};
use crate::target::{consumer, ports};

/// What in the namespace will take the preview for one of the target's pods,
/// by its labels.
pub(super) async fn counted_by(
    cluster: &Cluster,
    request: &Request,
    labels: &BTreeMap<String, String>,
) -> Vec<String> {
    let (namespace, target) = (request.namespace.as_str(), &request.identity.target);
    let services = cluster.unready_services(namespace, labels).await.into_iter().map(|service| {
        format!(
            "Service `{service}` routes to pods that are not ready (`publishNotReadyAddresses`), and so to the preview"
        )
    });
    let budgets = cluster.counting_budgets(namespace, labels).await.into_iter().map(|budget| {
        format!(
            "PodDisruptionBudget `{budget}` counts the preview among its pods, and may allow one disruption fewer while it lives"
        )
    });
    let scalers = cluster.scalers(namespace, target).await.into_iter().map(|scaler| {
        format!(
            "HorizontalPodAutoscaler `{scaler}` counts the preview among its target's pods, as one that uses nothing, and may \
             scale up later while it lives; `feature.preview.labels.exclude` keeps a label that it selects by off the preview"
        )
    });
    let consumes = works_for_itself(cluster, request).await;
    services.chain(consumes).chain(budgets).chain(scalers).collect()
}

/// Whether the target fetches its work itself, and the preview with it.
async fn works_for_itself(cluster: &Cluster, request: &Request) -> Option<String> {
    let Request { source, container, identity, namespace, .. } = request;
    let sign = match consumer::sign(identity.target.name(), source, container) {
        Some(sign) => sign,
        None if ports::declared(source, container).is_empty()
            && !cluster.is_served(namespace, &source.labels()).await =>
        {
            "it declares no port, and no Service selects its pods".to_owned()
        }
        None => return None,
    };
    Some(format!(
        "`{}` looks like a queue's consumer or a scheduler ({sign}): the preview will consume for real, beside it; \
         `feature.env.override` can send it elsewhere",
        identity.target.path()
    ))
}

/// Finds the network policies that would keep requests from the preview, and
/// whether one that lets them in may be made.
pub(super) async fn admitted(cluster: &Cluster, request: &mut Request, reporter: &Reporter) {
    if request.routing.is_none() {
        return;
    }
    let policies = cluster.policies_before(&request.namespace, &Plan::of(request).pod_labels()).await;
    request.policies.clone_from(&policies);
    if let Some(policy) = Plan::of(request).policy()
        && let Err(error) = cluster.would_create(policy.clone()).await
    {
        request.policies.clear();
        reporter.warning(&format!(
            "what comes to the preview is decided by NetworkPolicies ({}), and none that lets requests in can be made: {error}",
            explain::listed(&policies)
        ));
    }
}
