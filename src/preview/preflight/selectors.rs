//! Warns about objects of the namespace that count the environment's pods as the
//! target's: disruption budgets and autoscalers; and about queues that the target
//! consumes.

use serde_json::Value;

use crate::cluster::{Budget, Budgets, Cluster, Services};
use crate::preview::plan::Request;
use crate::preview::plan::labels::selects;
use crate::workload::{LivePods, consumer, ports};

/// Advice on a label by which the preview is counted.
const LEAVE_OUT: &str = "leave out a label that it selects by with `feature.preview.labels.exclude`";

/// Warnings about objects that count the environment's pods as if they were the
/// target's, and say what this does to live pods.
pub(crate) async fn warnings(cluster: &Cluster, services: &Services, request: &Request) -> Vec<String> {
    let (namespace, target) = (request.namespace.as_str(), &request.identity.target);
    let (budgets, scalers) =
        futures::join!(cluster.budgets(namespace), cluster.scalers(namespace, target, &request.source));
    let scalers = scalers.into_iter().filter(|_| scales_by_preview(request)).map(|scaler| {
        format!(
            "HorizontalPodAutoscaler `{scaler}` counts the preview as an idle pod of its target, and may scale up later while \
             the preview lives; to avoid that, {LEAVE_OUT}"
        )
    });
    consumer(services, request).into_iter().chain(counted(&budgets, request)).chain(scalers).collect()
}

/// Warnings about the budgets that count the preview, or the keeper.
fn counted(budgets: &Budgets, request: &Request) -> Vec<String> {
    let preview = budgets.counting(&request.preview_labels()).into_iter().map(|Budget { name, max_unavailable }| {
        let counts = format!("PodDisruptionBudget `{name}` counts the preview");
        match max_unavailable {
            Some(number) if i64::from(number) <= i64::from(request.replicas) => format!(
                "{counts} as unavailable and has `maxUnavailable: {number}`: while the preview lives, no live pod that it \
                 selects can be evicted, so that node drains wait; to avoid that, {LEAVE_OUT}"
            ),
            Some(number) => format!(
                "{counts} as unavailable: while the preview lives, {} of its {number} disruptions are left for live pods; to \
                 avoid that, {LEAVE_OUT}",
                i64::from(number) - i64::from(request.replicas)
            ),
            None => format!(
                "{counts} as unavailable, and its limit is a percentage: while the preview lives, fewer live pods can be \
                 evicted, or none, so that node drains may wait; to avoid that, {LEAVE_OUT}"
            ),
        }
    });
    // Without routing there is no keeper.
    let keeper = request.routing.as_ref().map(|_| budgets.counting(&request.keeper_labels()));
    let keeper = keeper.into_iter().flatten().map(|Budget { name, .. }| {
        format!(
            "PodDisruptionBudget `{name}` selects the keeper's pod, whose Job cannot be scaled: Kubernetes then lets no pod of \
             the budget be evicted while the environment lives, and node drains wait; give it a selector that does not select \
             the keeper, or leave out the label in `agent.labels`"
        )
    });
    preview.chain(keeper).collect()
}

/// Whether an autoscaler of the target finds the preview by the selector of the workload
/// that it scales: the target's own, or that of the Deployment behind a ReplicaSet, which
/// lacks the hash.
fn scales_by_preview(request: &Request) -> bool {
    match &request.source.pods {
        Some(LivePods::Selected(selector)) => {
            let mut selector = selector.clone();
            if let Some(labels) = selector.get_mut("matchLabels").and_then(Value::as_object_mut) {
                labels.remove("pod-template-hash");
            }
            selects(Some(&selector), &request.preview_labels())
        }
        Some(LivePods::Named(_)) | None => true,
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::preview::plan::Account;
    use crate::preview::plan::tests::{request, routing};

    fn of(spec: &Value) -> Vec<String> {
        let template =
            json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "web"}]}});
        let mut request = request(&template);
        request.routing = Some(routing(Account::Own));
        counted(&Budgets::of(&[json!({"metadata": {"name": "careful"}, "spec": spec})]), &request)
    }

    #[test]
    fn a_budget_that_counts_the_preview_says_what_is_left_for_live_pods() {
        let shop = json!({"matchLabels": {"app": "shop"}});
        for (spec, words) in [
            (
                json!({"selector": shop, "maxUnavailable": 1}),
                Some("no live pod that it selects can be evicted"),
            ),
            (
                json!({"selector": shop, "maxUnavailable": 2}),
                Some("no live pod that it selects can be evicted"),
            ),
            (json!({"selector": shop, "maxUnavailable": 3}), Some("1 of its 3 disruptions are left")),
            (
                json!({"selector": shop, "maxUnavailable": "30%"}),
                Some("or none, so that node drains may wait"),
            ),
            (json!({"selector": shop, "minAvailable": "50%"}), Some("or none, so that node drains may wait")),
            (json!({"selector": shop, "minAvailable": 1}), None),
            (json!({"selector": {"matchLabels": {"app": "cart"}}, "maxUnavailable": 1}), None),
        ] {
            let warnings = of(&spec);
            assert_eq!(warnings.len(), usize::from(words.is_some()), "{spec}: {warnings:?}");
            assert!(
                warnings.iter().zip(words).all(|(warning, words)| warning.contains(words)),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn a_budget_that_selects_every_pod_blocks_evictions_because_of_the_keeper() {
        let warnings = of(&json!({"selector": {}, "maxUnavailable": "25%"}));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[1].contains("`careful` selects the keeper's pod"), "{warnings:?}");
    }
}
