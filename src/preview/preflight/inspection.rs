//! Reads the configuration and the live workload into what a plan is made from.

use anyhow::Result;
use jiff::Timestamp;
use uuid::Uuid;

use super::routing;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::output::Reporter;
use crate::preview::lifetime::CountedFrom;
use crate::preview::plan::policy::Isolation;
use crate::preview::plan::template::claim_names;
use crate::preview::plan::{Account, Request, Routing};
use crate::problem::{Exit, Explain as _, Problem};
use crate::session::{Identity, SessionId};
use crate::words;
use crate::workload::{Target, container};

/// Inspects the target as `start` does before it asks for rights; without an
/// image, the target's own stands in for it.
pub(crate) async fn without_image(
    cluster: &Cluster,
    config: &Config,
    target: Target,
    image: Option<String>,
    namespace: &str,
    reporter: &Reporter,
) -> Result<Request> {
    let own = String::new();
    let counted_from = CountedFrom::Readiness;
    let mut request =
        request(cluster, config, target, image.unwrap_or(own), namespace, counted_from, reporter).await?;
    if request.image.is_empty() {
        let index = request.container.index;
        let containers = request.source.template.get("spec").and_then(|spec| spec.get("containers"));
        let image = containers.and_then(|containers| containers.get(index)?.get("image")?.as_str());
        request.image = image.unwrap_or_default().to_owned();
    }
    Ok(request)
}

/// Reads from the cluster all that the plan needs.
///
/// # Errors
///
/// Where the target, or its container, is not there; and where the
/// configuration asks for routing that is impossible.
pub(crate) async fn request(
    cluster: &Cluster,
    config: &Config,
    target: Target,
    image: String,
    namespace: &str,
    counted_from: CountedFrom,
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
    let inputs = routing::Inputs {
        config,
        target: &target,
        namespace,
        source: &source,
        container: &container,
        session: &id,
    };
    let decision = inputs.decide()?;
    reporter.warnings(&decision.warnings);
    let routing = decision.assignment.map(|assignment| Routing { assignment, account: Account::Own });
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
