//! Finds the network policies that block the requests of a preview, and checks
//! whether policies that let them through may be created.

mod isolation;

use super::inspection::Inspection;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::output::Reporter;
use crate::preview::plan;
use crate::preview::plan::policy::{self, Isolation, in_words};

/// Finds the network policies that isolate the environment's pods, and warns about
/// those that isolate live pods. The result is empty where policies of ours would
/// help and may not be created.
pub(crate) async fn isolation(
    cluster: &Cluster,
    inspection: &Inspection,
    config: &Config,
    reporter: &Reporter,
) -> Isolation {
    let connections = plan::connections(
        inspection.assignment.as_ref(),
        inspection.preview_labels(config),
        inspection.keeper_labels(config),
        cluster.port(),
    );
    if connections.is_empty() {
        return Isolation::default();
    }
    let policies = cluster.network_policies(&inspection.namespace).await;
    let live = isolation::Live {
        target: inspection.identity.target.path(),
        namespace: inspection.namespace.clone(),
        labels: inspection.source.labels(),
    };
    let (isolation, warnings) = isolation::found(&policies, &live, &connections);
    reporter.warnings(&warnings);
    let ours = policy::objects(&connections, &isolation, &inspection.source, &inspection.stamp(config));
    for object in ours {
        if let Err(error) = cluster.would_create(object).await {
            reporter.warning(&format!(
                "{} may keep requests from the preview, and no policy that lets them through can be created: {error}",
                in_words(&isolation.names())
            ));
            return Isolation::default();
        }
    }
    isolation
}
