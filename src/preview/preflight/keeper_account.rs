//! Checks whether the keeper can be granted its permissions, and whether agents may
//! be attached.

use anyhow::Result;
use serde_json::json;

use crate::cluster::Cluster;
use crate::config;
use crate::contract::agent_container;
use crate::contract::assignment::Assignment;
use crate::preview::plan::Account;
use crate::preview::plan::rights::rules;
use crate::preview::rights::{GRANTING, Right, missing, named, questions};
use crate::problem::{Exit, Problem};

/// The ServiceAccount that `rbac` prints, for users who may not create roles.
pub(crate) const PREPARED: &str = "mirrord-keeper";

/// Chooses the account that the keeper runs as, and checks whether agents may be
/// attached.
///
/// # Errors
///
/// As [`account`] and [`may_attach`].
pub(crate) async fn granted(
    cluster: &Cluster,
    assignment: &Assignment,
    agent: &config::Agent,
    rights: &[Right],
) -> Result<Account> {
    let account = account(cluster, &assignment.namespace, agent, rights).await?;
    may_attach(cluster, assignment, &account).await?;
    Ok(account)
}

/// Chooses the account that the keeper, which needs these `rights`, runs as.
///
/// The keeper gets a Role of its own where the user may create it: nobody may
/// grant permissions that they do not hold, and a dry run asks the API server
/// for its verdict.
///
/// # Errors
///
/// Where the user may not create that Role, and no prepared account exists.
pub(crate) async fn account(
    cluster: &Cluster,
    namespace: &str,
    agent: &config::Agent,
    rights: &[Right],
) -> Result<Account> {
    if let Some(name) = &agent.service_account {
        return Ok(Account::Prepared(name.clone()));
    }
    let probe = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "preview-keeper-probe", "namespace": namespace},
        "rules": rules(rights, "preview-keeper-probe"),
    });
    let (made, refused) =
        futures::join!(cluster.would_create(probe), cluster.refused_at_once(namespace, questions(GRANTING)));
    // A Role is useless without an account and a binding.
    let missing = missing(GRANTING, &refused.unwrap_or_default());
    match &made {
        Ok(()) if missing.is_empty() => return Ok(Account::Own),
        Err(refusal) if !refusal.is_forbidden() => {
            return Err(refusal
                .clone()
                .into_problem("could not check whether the keeper can be granted its permissions")
                .into());
        }
        Ok(()) | Err(_) => {}
    }
    if cluster.has_account(namespace, PREPARED).await {
        return Ok(Account::Prepared(PREPARED.to_owned()));
    }
    let lines: Vec<String> = rights
        .iter()
        .map(|right| format!("{} {}: {}", right.verbs.join(", "), right.resource, right.reason))
        .collect();
    let what = format!(
        "the keeper cannot be granted the permissions that it needs in namespace `{namespace}`\n{}",
        lines.join("\n")
    );
    let problem = match made {
        Err(refusal) => refusal.into_problem(what),
        Ok(()) => Problem::new(what).because_of(format!("you are missing permissions: {}", named(&missing))),
    };
    Err(problem.hint(format!(
        "ask an admin to apply the output of `mirrord preview rbac -n {namespace}`, or set `feature.network.incoming` to `\"off\"`"
    ))
    .exit(Exit::NotAllowed)
    .into())
}

/// Asks every admission check for an agent in one of the target's pods.
///
/// # Errors
///
/// Where the cluster refuses the agent's container.
pub(crate) async fn may_attach(cluster: &Cluster, assignment: &Assignment, account: &Account) -> Result<()> {
    // With a prepared account the keeper may attach agents, and the user may not.
    if *account != Account::Own {
        return Ok(());
    }
    let Some(pod) = cluster.any_pod(&assignment.namespace, &assignment.pods).await else { return Ok(()) };
    let container = agent_container::container("mirrord-agent-probe", 0, &assignment.agent);
    match cluster.would_attach(&assignment.namespace, &pod, &container).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => Err(error.attachment_obstacle(&pod).into_problem().into()),
    }
}
