//! Whether the cluster would take the environment's pods: quotas, limits, Pod
//! Security and admission webhooks.

use anyhow::Result;

use crate::cluster::{Cluster, Verdict};
use crate::preview::plan::{Account, Plan, Request};
use crate::preview::progress::uncreated;
use crate::problem::{Exit, Problem};

/// Which of an environment's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The preview's.
    Preview,
    /// The keeper's.
    Keeper,
}

/// Checks that no pod would be refused. Refusals that may pass, and clusters
/// that do not answer, are found out at creation.
///
/// # Errors
///
/// Where a pod would be refused.
pub(crate) async fn allowed(cluster: &Cluster, request: &Request, plan: &Plan) -> Result<()> {
    let namespace = &request.namespace;
    for (which, verdict) in pods(cluster, request, plan).await {
        let Verdict::Refused(message) = verdict else { continue };
        let (pod, exit) = match which {
            Which::Preview => ("preview", Exit::PreviewFailed),
            Which::Keeper => ("keeper", Exit::NotRouted),
        };
        return Err(Problem::new(format!("the {pod} pod would be refused in namespace `{namespace}`"))
            .because_of(uncreated(&message))
            .exit(exit)
            .into());
    }
    Ok(())
}

/// The cluster's verdict on each pod of an environment.
pub(crate) async fn pods(cluster: &Cluster, request: &Request, plan: &Plan) -> Vec<(Which, Verdict)> {
    let namespace = &request.namespace;
    let (identity, routing) = (&request.identity, request.routing.as_ref());
    let name = identity.id.preview_name(&identity.target);
    let mut verdicts =
        vec![(Which::Preview, cluster.would_take_pod(namespace, &name, &plan.pod_template()).await)];
    if let (Some(routing), Some(mut template)) = (routing, plan.keeper_template()) {
        // Its own account does not exist yet, and would be the reason of a refusal.
        if let Some(spec) = template["spec"].as_object_mut().filter(|_| routing.account == Account::Own) {
            spec.remove("serviceAccountName");
        }
        let name = identity.id.root_name(&identity.target);
        verdicts.push((Which::Keeper, cluster.would_take_pod(namespace, &name, &template).await));
    }
    verdicts
}
