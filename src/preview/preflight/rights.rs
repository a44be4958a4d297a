//! Checks whether the user holds the permissions that this configuration needs.

use anyhow::Result;

use super::inspection::Inspection;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::preview::features;
use crate::preview::rights::{self, Facts};
use crate::problem::{Exit, Problem};
use crate::workload::{Target, find};

/// The facts about the configuration, and about the workload that was found, that decide
/// which permissions are needed.
pub(crate) fn facts(config: &Config, target: Option<&Target>, inspection: Option<&Inspection>) -> Facts {
    let workload = inspection.and_then(|inspection| inspection.source.lineage.first());
    Facts {
        target: target.map(Target::kind),
        workload: workload.and_then(|workload| find(&workload.kind)),
        features: features::of(config, inspection),
    }
}

/// The facts where the target was inspected.
pub(crate) fn facts_of(config: &Config, inspection: &Inspection) -> Facts {
    facts(config, Some(&inspection.identity.target), Some(inspection))
}

/// Checks that the user holds every needed permission. A cluster that does not
/// answer is not an obstacle here: the first call that is refused will say so.
///
/// # Errors
///
/// Where a needed permission is missing.
pub(crate) async fn held(cluster: &Cluster, namespace: &str, facts: &Facts) -> Result<()> {
    let rights = rights::needed(facts);
    let refused = cluster.refused_at_once(namespace, rights::questions(&rights)).await;
    let missing = rights::missing(&rights, &refused.unwrap_or_default());
    let Some(first) = missing.first() else { return Ok(()) };
    let group = if first.group.is_empty() { String::new() } else { format!(".{}", first.group) };
    let verb = first.verbs.first().expect("a missing right names at least one verb");
    Err(Problem::new(format!("you are missing permissions in namespace `{namespace}`"))
        .because_of(format!("missing: {}", rights::named(&missing)))
        .hint(format!(
            "`mirrord preview doctor` prints the Role to ask for; check it with `kubectl auth can-i {verb} {}{group} -n {namespace}`",
            first.resource
        ))
        .exit(Exit::NotAllowed)
        .into())
}
