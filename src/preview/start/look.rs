//! What a plan is made from, read from the configuration and the cluster.

use anyhow::Result;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Extent, routing};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::output::Reporter;
use crate::preview::lifetime::CountedFrom;
use crate::preview::plan::isolation::Isolation;
use crate::preview::plan::template::claim_names;
use crate::preview::plan::{Account, Request, Routing};
use crate::problem::{Exit, Explain as _, Problem};
use crate::session::{Identity, SessionId};
use crate::words;
use crate::workload::{Target, container};

/// Looks as far as `start` does before it asks for rights; without an image,
/// at the target's own.
pub(crate) async fn looked_at(
    cluster: &Cluster,
    config: &Config,
    target: Target,
    image: Option<String>,
    namespace: &str,
    reporter: &Reporter,
) -> Result<Request> {
    let own = String::new();
    let mut request =
        request(cluster, config, target, image.unwrap_or(own), namespace, Extent::Planned, reporter).await?;
    if request.image.is_empty() {
        let index = request.container.index;
        let containers = request.source.template.get("spec").and_then(|spec| spec.get("containers"));
        let image = containers.and_then(|containers| containers.get(index)?.get("image")?.as_str());
        request.image = image.unwrap_or_default().to_owned();
    }
    Ok(request)
}

/// Reads from the cluster all that the plan needs.
pub(super) async fn request(
    cluster: &Cluster,
    config: &Config,
    target: Target,
    image: String,
    namespace: &str,
    extent: Extent,
    reporter: &Reporter,
) -> Result<Request> {
    let (source, owner) = futures::join!(cluster.source(&target, namespace), cluster.user());
    let source = source?;
    let container = container::choose(&source, target.container()).explain(|| {
        Problem::new(format!(
            "could not choose a container of `{}` in namespace `{namespace}`",
            target.path()
        ))
        .exit(Exit::NotFound)
    })?;
    if !container.guessed_among.is_empty() {
        reporter.warning(&format!(
            "container `{}` gets the image; the others are {}; choose with `-t {}/container/<name>`",
            container.name,
            words::quoted_list(
                &container
                    .guessed_among
                    .iter()
                    .filter(|name| **name != container.name)
                    .cloned()
                    .collect::<Vec<_>>()
            ),
            target.path()
        ));
    }
    let exclusive_claims = cluster.exclusive_claims(namespace, claim_names(&source.template)).await;
    let id = SessionId::new(Uuid::new_v4());
    let asked = routing::Asked {
        config,
        target: &target,
        namespace,
        source: &source,
        container: &container,
        session: id.as_str(),
    };
    let routing = asked.assignment(reporter)?.map(|assignment| Routing { assignment, account: Account::Own });
    let counted_from = if extent == Extent::Created { CountedFrom::Creation } else { CountedFrom::Readiness };
    Ok(Request {
        identity: Identity {
            id,
            key: config.selection.key.key().clone(),
            target: target.without_container(),
            ttl: config.ttl,
            planned_at: Timestamp::now(),
            owner,
        },
        namespace: namespace.to_owned(),
        source,
        container,
        image,
        replicas: config.replicas,
        creation_timeout: config.creation_timeout,
        counted_from,
        exclusive_claims,
        env: config.env.clone(),
        labels: config.labels.clone(),
        config_mounts: config.config_mounts.clone(),
        secret_mounts: config.secret_mounts.clone(),
        agent: config.agent.clone(),
        isolation: Isolation::default(),
        api_port: cluster.port(),
        routing,
    })
}
