//! What the cluster would refuse, asked before anything is created: rights that
//! lack, and pods that quotas, limits or policies would not let in.

use anyhow::Result;

use crate::cluster::{Cluster, Verdict};
use crate::config::Config;
use crate::config::file::Mode;
use crate::preview::plan::{Account, Plan, Request};
use crate::preview::progress::uncreated;
use crate::preview::rights::{self, Facts};
use crate::problem::{Exit, Problem};
use crate::workload::{Target, find};

/// Which of an environment's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The preview's.
    Preview,
    /// The keeper's.
    Keeper,
}

/// What the configuration, and the workload that was found, say about rights.
pub(crate) fn facts(config: &Config, target: Option<&Target>, request: Option<&Request>) -> Facts {
    let workload = request.and_then(|request| request.source.lineage.first());
    Facts {
        target: target.map(Target::kind),
        workload: workload.and_then(|workload| find(&workload.kind)),
        has_config_mounts: !config.config_mounts.is_empty(),
        has_secret_mounts: !config.secret_mounts.is_empty(),
        is_routed: match request {
            Some(request) => request.routing.is_some(),
            None => config.incoming.mode != Some(Mode::Off),
        },
    }
}

/// Fails where something lacks, or would be refused. What cannot be asked is
/// found out in the end.
pub(super) async fn allowed(
    cluster: &Cluster,
    config: &Config,
    request: &Request,
    plan: &Plan,
) -> Result<()> {
    let namespace = &request.namespace;
    let rights = rights::needed(&facts(config, Some(&request.identity.target), Some(request)));
    // One after the other: a further connection would take longer than the answer.
    let refused = cluster.refused_at_once(namespace, rights::questions(&rights)).await;
    let missing = rights::lacking(&rights, &refused.unwrap_or_default());
    if let Some(first) = missing.first() {
        let group = if first.group.is_empty() { String::new() } else { format!(".{}", first.group) };
        return Err(Problem::new(format!("you lack rights in namespace `{namespace}`"))
            .because_of(format!("needed and missing: {}", rights::named(&missing)))
            .hint(format!(
                "`mirrord preview doctor` prints the Role to ask for; check it with `kubectl auth can-i {} {}{group} -n {namespace}`",
                first.verbs.first().copied().unwrap_or_default(),
                first.resource
            ))
            .exit(Exit::NotAllowed)
            .into());
    }
    for (which, verdict) in pods(cluster, request, plan).await {
        let Verdict::Refused(message) = verdict else { continue };
        let (who, exit) = match which {
            Which::Preview => ("the preview pod", Exit::PreviewFailed),
            Which::Keeper => ("the keeper's pod", Exit::NotRouted),
        };
        return Err(Problem::new(format!("{who} would be refused in namespace `{namespace}`"))
            .because_of(uncreated(&message))
            .exit(exit)
            .into());
    }
    Ok(())
}

/// What the cluster says of each pod of an environment.
pub(crate) async fn pods(cluster: &Cluster, request: &Request, plan: &Plan) -> Vec<(Which, Verdict)> {
    let namespace = &request.namespace;
    let (identity, routing) = (&request.identity, request.routing.as_ref());
    let name = identity.id.preview_name(&identity.target);
    let mut verdicts =
        vec![(Which::Preview, cluster.would_take_pod(namespace, &name, &plan.pod_template()).await)];
    if let (Some(routing), Some(mut template)) = (routing, plan.keeper_template()) {
        // Its account is not there yet.
        if let Some(spec) = template["spec"].as_object_mut().filter(|_| routing.account == Account::Own) {
            spec.remove("serviceAccountName");
        }
        let name = identity.id.root_name(&identity.target);
        verdicts.push((Which::Keeper, cluster.would_take_pod(namespace, &name, &template).await));
    }
    verdicts
}
