//! Checks whether the cluster would admit the environment's pods: quotas, limits, Pod
//! Security and admission webhooks.

use anyhow::Result;

use crate::cluster::{Cluster, Verdict};
use crate::preview::plan::{Account, Plan, Request};
use crate::preview::progress::uncreated;
use crate::problem::{Exit, Problem};
use crate::session::Role;

/// What the verdicts on an environment's pods mean for a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Every pod would be taken.
    Allowed,
    /// The cluster does not answer for every pod.
    Unknown,
    /// A pod is refused now for a reason that may pass. A start goes on: the
    /// controllers of its pods try again.
    Delayed(Role, String),
    /// A pod is refused for a reason that stays. A start ends.
    Refused(Role, String),
}

/// Judges the verdicts together; the worst one decides.
pub(crate) fn judged(verdicts: &[(Role, Verdict)]) -> Admission {
    let mut admission = Admission::Allowed;
    for (role, verdict) in verdicts {
        match verdict {
            Verdict::Refused(why) => return Admission::Refused(*role, why.clone()),
            Verdict::NotNow(why) => admission = Admission::Delayed(*role, why.clone()),
            Verdict::Untold if admission == Admission::Allowed => admission = Admission::Unknown,
            Verdict::Untold | Verdict::Taken => {}
        }
    }
    admission
}

/// Checks that no pod would be refused for a reason that stays. Other refusals,
/// and clusters that do not answer, are found out at creation.
///
/// # Errors
///
/// `PreviewFailed` or `NotRouted` where a pod would be refused.
pub(crate) async fn allowed(cluster: &Cluster, request: &Request, plan: &Plan) -> Result<()> {
    let verdicts = pods(cluster, request, plan).await;
    let Admission::Refused(role, why) = judged(&verdicts) else { return Ok(()) };
    let exit = match role {
        Role::Preview => Exit::PreviewFailed,
        Role::Keeper | Role::Branch | Role::Splitter => Exit::NotRouted,
    };
    let what = format!("the {role} pod would be refused in namespace `{}`", request.namespace);
    Err(Problem::new(what).because_of(uncreated(&why)).exit(exit).into())
}

/// The cluster's verdict on each pod of an environment.
pub(crate) async fn pods(cluster: &Cluster, request: &Request, plan: &Plan) -> Vec<(Role, Verdict)> {
    let namespace = &request.namespace;
    let (identity, routing) = (&request.identity, request.routing.as_ref());
    let name = identity.id.preview_name(&identity.target);
    let mut verdicts =
        vec![(Role::Preview, cluster.would_take_pod(namespace, &name, plan.pod_template()).await)];
    if let Some(routing) = routing {
        let mut template = plan.keeper_template();
        // Its own account does not exist yet, and would be the reason of a refusal.
        if routing.account == Account::Own {
            let spec = template["spec"].as_object_mut().expect("the keeper's pod is planned with a spec");
            spec.remove("serviceAccountName");
        }
        let name = identity.id.root_name(&identity.target);
        verdicts.push((Role::Keeper, cluster.would_take_pod(namespace, &name, &template).await));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_stays_ends_a_start() {
        let refused = || Verdict::Refused("quota".to_owned());
        let not_now = || Verdict::NotNow("webhook".to_owned());
        let preview = |verdict| (Role::Preview, verdict);
        let keeper = |verdict| (Role::Keeper, verdict);
        for (verdicts, admission) in [
            (vec![preview(Verdict::Taken), keeper(Verdict::Taken)], Admission::Allowed),
            (vec![preview(Verdict::Untold), keeper(Verdict::Taken)], Admission::Unknown),
            (
                vec![preview(not_now()), keeper(Verdict::Untold)],
                Admission::Delayed(Role::Preview, "webhook".to_owned()),
            ),
            (
                vec![preview(not_now()), keeper(refused())],
                Admission::Refused(Role::Keeper, "quota".to_owned()),
            ),
        ] {
            assert_eq!(judged(&verdicts), admission, "{verdicts:?}");
        }
    }
}
