//! Warns about objects of the namespace that treat the preview pods as the target's:
//! Services, disruption budgets, autoscalers, and the queues that the target consumes.

use crate::cluster::{Cluster, Services};
use crate::preview::plan::Request;
use crate::workload::{consumer, ports};

/// Warnings about objects that count or reach the preview pods as if they were
/// the target's.
pub(crate) async fn warnings(cluster: &Cluster, request: &Request) -> Vec<String> {
    let labels = &request.preview_labels();
    let (namespace, target) = (request.namespace.as_str(), &request.identity.target);
    let (services, budgets, scalers) = futures::join!(
        cluster.services(namespace),
        cluster.counting_budgets(namespace, labels),
        cluster.scalers(namespace, target, &request.source)
    );
    let unready = services.routing_to_unready(labels).into_iter().map(|service| {
        format!(
            "Service `{service}` routes to pods that are not ready (`publishNotReadyAddresses`), and so to the preview"
        )
    });
    let budgets = budgets.into_iter().map(|budget| {
        format!(
            "PodDisruptionBudget `{budget}` counts the preview among its pods, and may allow one disruption fewer while the \
             preview lives"
        )
    });
    let scalers = scalers.into_iter().map(|scaler| {
        format!(
            "HorizontalPodAutoscaler `{scaler}` counts the preview as an idle pod of its target, and may scale up later while \
             the preview lives; to avoid that, leave out a label that it selects by with `feature.preview.labels.exclude`"
        )
    });
    let consumes = consumer(&services, request);
    unready.chain(consumes).chain(budgets).chain(scalers).collect()
}

/// A warning where the target fetches its work itself: the preview will, too.
fn consumer(services: &Services, request: &Request) -> Option<String> {
    let Request { source, container, identity, .. } = request;
    let sign = match consumer::sign(identity.target.name(), source, container) {
        Some(sign) => sign,
        None if ports::declared(source, container).is_empty() && !services.select(&source.labels()) => {
            "it declares no port, and no Service selects its pods".to_owned()
        }
        None => return None,
    };
    Some(format!(
        "`{}` looks like a queue consumer or a scheduler ({sign}): the preview will consume live messages beside it; \
         `feature.env.override` can point it elsewhere",
        identity.target.path()
    ))
}
