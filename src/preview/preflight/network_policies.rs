//! Which network policies block the requests of a preview, and whether policies
//! that let them through may be created.

pub(crate) mod isolation;

use std::collections::BTreeSet;

use self::isolation::Parties;
use crate::cluster::Cluster;
use crate::output::Reporter;
use crate::preview::plan::policy::in_words;
use crate::preview::plan::{Plan, Request};

/// Finds the network policies that block requests, and whether ours that let
/// them through may be created; warns about those that only an admin can change.
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
    let (isolation, warnings) =
        isolation::found(&cluster.network_policies(&request.namespace).await, &parties);
    reporter.warnings(&warnings);
    let names: BTreeSet<String> = isolation.preview.iter().chain(&isolation.keeper).cloned().collect();
    request.isolation = isolation;
    for policy in Plan::of(request).policies() {
        if let Err(error) = cluster.would_create(policy.clone()).await {
            request.isolation.preview.clear();
            request.isolation.keeper.clear();
            reporter.warning(&format!(
                "{} may keep requests from the preview, and no policy that lets them through can be created: {}",
                in_words(&names.into_iter().collect::<Vec<_>>()),
                error
            ));
            return;
        }
    }
}
