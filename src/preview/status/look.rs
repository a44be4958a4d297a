//! Reads environments with their pods from the cluster.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;

use crate::cluster::{Cluster, Scope};
use crate::preview::Selector;
use crate::preview::listed::{Copied, Listed};
use crate::preview::progress::{by_role, refusal};
use crate::session::Session;
use crate::workload::Target;

/// How many targets are read at the same time.
const AT_ONCE: usize = 8;

/// The environments that match `selector`, in order, and the scope that was
/// searched; with `compare`, each with how its target has changed.
pub(super) async fn look(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    compare: bool,
) -> Result<(Vec<Listed>, Scope)> {
    let labels = selector.labels();
    let (found, mut pods) = cluster.at_a_glance(scope, &labels).await?;
    let sessions = found.sessions.into_iter().filter(|session| selector.matches(session));
    let mut listed: Vec<Listed> = sessions
        .map(|session| {
            let pods = pods.remove(session.id.as_str()).unwrap_or_default();
            let (pods, keeper) = by_role(pods);
            Listed { pods, keeper, refused: None, copy: None, session }
        })
        .collect();
    for one in listed
        .iter_mut()
        .filter(|one| one.pods.is_empty() && !one.session.ending && one.session.failed.is_none())
    {
        let set = cluster.replica_set(&one.session).await;
        one.refused = set.as_ref().and_then(refusal).map(|(why, _)| why);
    }
    if compare {
        compare_targets(cluster, &mut listed).await;
    }
    listed.sort_by_key(order);
    Ok((listed, found.scope))
}

/// Compares each target with the copies of its template, and reads it once.
async fn compare_targets(cluster: &Cluster, listed: &mut [Listed]) {
    let place = |session: &Session| {
        let target: Target = session.target.parse().ok()?;
        session.template.is_some().then(|| (session.namespace.clone(), target.path()))
    };
    let targets: BTreeSet<_> = listed.iter().filter_map(|one| place(&one.session)).collect();
    let digests: BTreeMap<_, _> = stream::iter(targets)
        .map(|(namespace, path)| async move {
            let digest = match path.parse() {
                Ok(target) => cluster.digest(&target, &namespace).await,
                Err(_) => None,
            };
            ((namespace, path), digest)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for one in listed {
        let now = place(&one.session).and_then(|place| digests.get(&place)?.as_ref());
        one.copy = now.map(|now| match now {
            None => Copied::Orphaned,
            now if *now == one.session.template => Copied::Current,
            Some(_) => Copied::Outdated,
        });
    }
}

/// Groups by key, then by namespace and target.
fn order(one: &Listed) -> (String, String, String, Option<Timestamp>) {
    let session = &one.session;
    (session.key.to_string(), session.namespace.clone(), session.target.clone(), session.created)
}
