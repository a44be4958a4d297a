//! What in the namespace will have to do with a preview, beside its target:
//! what takes it for one of the target's pods, and what keeps requests from it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, explain};
use crate::output::Reporter;
use crate::preview::plan::isolation::{self, Parties};
use crate::preview::plan::{Plan, Request};
use crate::workload::{consumer, ports};

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
    let scalers = cluster.scalers(namespace, target, &request.source).await.into_iter().map(|scaler| {
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

/// Finds the network policies that stand in the way of requests, and whether
/// ours that let them through may be made; says what an admin alone can help with.
pub(crate) async fn admitted(cluster: &Cluster, request: &mut Request, reporter: &Reporter) {
    let Some(routing) = &request.routing else { return };
    let ports = routing.assignment.ports.iter();
    let ports = ports.map(|port| (port.port, port.preview_port.unwrap_or(port.port))).collect();
    let plan = Plan::of(request);
    let parties = Parties {
        target: request.identity.target.path(),
        namespace: request.namespace.clone(),
        live: request.source.labels(),
        preview: plan.pod_labels(),
        keeper: plan.keeper_labels(),
        ports,
    };
    let isolation = isolation::found(&cluster.network_policies(&request.namespace).await, &parties);
    reporter.warnings(&isolation.warnings);
    let names: BTreeSet<String> = isolation.preview.iter().chain(&isolation.keeper).cloned().collect();
    request.isolation = isolation;
    for policy in Plan::of(request).policies() {
        if let Err(error) = cluster.would_create(policy.clone()).await {
            request.isolation.preview.clear();
            request.isolation.keeper.clear();
            reporter.warning(&format!(
                "what comes to the preview, or where its keeper may connect to, is decided by {}, and none that lets \
                 requests through can be made: {}",
                isolation::in_words(&names.into_iter().collect::<Vec<_>>()),
                explain::words(&error)
            ));
            return;
        }
    }
}
