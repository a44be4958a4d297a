//! Reads the target from the cluster, and makes the inputs of a plan from it and
//! the configuration.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;
use uuid::Uuid;

use super::{agent_labels, routing, uninvited};
use crate::cluster::{Cluster, Services};
use crate::config::env::Keep;
use crate::config::{Config, wrong};
use crate::contract::assignment::Assignment;
use crate::output::Reporter;
use crate::preview::features;
use crate::preview::lifetime::CountedFrom;
use crate::preview::plan::labels::{self, Labels};
use crate::preview::plan::metadata::Stamp;
use crate::preview::plan::policy::Isolation;
use crate::preview::plan::volumes::{self, claim_names};
use crate::preview::plan::{Account, Request, Routing, overrides, scheduling};
use crate::preview::rights::{self, Right};
use crate::problem::{Exit, Explain as _, Problem};
use crate::session::{Identity, SessionId};
use crate::words;
use crate::workload::container::Choice;
use crate::workload::{Claims, Source, Target, container};

/// The target as it was read, and how its requests are to be routed.
#[derive(Debug)]
pub(crate) struct Inspection {
    /// Key, target, identifier and time to live of the environment.
    pub(crate) identity: Identity,
    /// The target's namespace.
    pub(crate) namespace: String,
    /// The live workload.
    pub(crate) source: Source,
    /// The container that gets the image.
    pub(crate) container: Choice,
    /// The user's image; the target's own where none is named.
    image: String,
    /// Who may write to the claims of the target.
    claims: Claims,
    /// The labels that the preview pods would harm live pods by, and do not carry.
    left_off: BTreeSet<String>,
    /// The Services of the namespace.
    pub(crate) services: Services,
    /// The keeper's assignment; nothing where no requests are routed.
    pub(crate) assignment: Option<Assignment>,
}

/// Reads the target, and decides how its requests are routed.
///
/// # Errors
///
/// Where the target, or its container, is not there; and where the
/// configuration asks for routing that is impossible.
pub(crate) async fn inspect(
    cluster: &Cluster,
    config: &Config,
    target: Target,
    namespace: &str,
    reporter: &Reporter,
) -> Result<Inspection> {
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
        let others: Vec<String> =
            container.guessed_among.iter().filter(|name| **name != container.name).cloned().collect();
        reporter.warning(&format!(
            "container `{}` gets the image; the others are {}; choose with `-t {}/container/<name>`",
            container.name,
            words::quoted_list(&others),
            target.path()
        ));
    }
    let live_pods = routing::live_pods(&source)?;
    let (claims, services, balancers) = futures::join!(
        cluster.claims(namespace, claim_names(&source.template)),
        cluster.services(namespace),
        cluster.load_balancers(namespace, &source, live_pods.as_ref())
    );
    if let Some(why) = volumes::refused(&source, &claims) {
        return Err(wrong(format!("`{}` cannot be copied", target.path()))
            .because_of(why)
            .hint("use another target")
            .into());
    }
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
    let identity = Identity {
        id,
        key: config.selection.key.key().clone(),
        target: target.without_container(),
        ttl: config.ttl,
        planned_at: Timestamp::now(),
        owner,
    };
    // Without routing there is no keeper.
    if decision.assignment.is_some() {
        agent_labels::checked(&config.agent.labels, &identity, &source, &services)?;
    }
    let mut left_off = match &config.labels {
        // The user names the labels that are kept.
        Keep::Only(_) => BTreeSet::new(),
        Keep::All | Keep::AllBut(_) => scheduling::keeping_apart(&source, namespace),
    };
    let carried = labels::preview(&identity, &source, &config.labels, &left_off);
    let verdict = uninvited::judged(&services, &balancers, &source.labels(), &carried, &config.labels);
    reporter.warnings(&verdict.warnings);
    left_off.extend(verdict.left_off);
    Ok(Inspection {
        identity,
        namespace: namespace.to_owned(),
        image: config.image.clone().unwrap_or_else(|| own_image(&source, &container)),
        source,
        container,
        claims,
        left_off,
        services,
        assignment: decision.assignment,
    })
}

/// The image that the target's container has now; empty where an admission webhook
/// fills it in.
fn own_image(source: &Source, container: &Choice) -> String {
    let containers = source.template.get("spec").and_then(|spec| spec.get("containers"));
    let image = containers.and_then(|containers| containers.get(container.index)?.get("image")?.as_str());
    image.unwrap_or_default().to_owned()
}

// === impl Inspection ===

impl Inspection {
    /// The metadata of the environment's objects.
    pub(super) fn stamp(&self, config: &Config) -> Stamp<'_> {
        Stamp {
            identity: &self.identity,
            namespace: &self.namespace,
            container: &self.container.name,
            image: &self.image,
            replicas: config.replicas,
        }
    }

    /// The labels of the preview pods.
    pub(super) fn preview_labels(&self, config: &Config) -> Labels {
        labels::preview(&self.identity, &self.source, &config.labels, &self.left_off)
    }

    /// The labels of the keeper's pod.
    pub(super) fn keeper_labels(&self, config: &Config) -> Labels {
        labels::keeper(&self.identity, &config.agent.labels)
    }

    /// The rights that the keeper needs for the environment's features.
    pub(crate) fn keeper_rights(&self, config: &Config) -> Vec<Right> {
        rights::keeper(&features::of(config, Some(self)))
    }

    /// The plan's inputs, once the keeper's account and the isolation are known.
    /// `api_port` is the port that the API server listens on.
    pub(crate) fn request(
        self,
        config: &Config,
        counted_from: CountedFrom,
        api_port: u16,
        account: Account,
        isolation: Isolation,
    ) -> Request {
        let keeper_rights = self.keeper_rights(config);
        Request {
            identity: self.identity,
            namespace: self.namespace,
            source: self.source,
            container: self.container,
            image: self.image,
            replicas: config.replicas,
            creation_timeout: config.creation_timeout,
            counted_from,
            claims: self.claims,
            left_off: self.left_off,
            env: config.env.clone(),
            overrides: overrides::configured(&config.env),
            labels: config.labels.clone(),
            config_mounts: config.config_mounts.clone(),
            secret_mounts: config.secret_mounts.clone(),
            agent: config.agent.clone(),
            isolation,
            api_port,
            keeper_rights,
            routing: self.assignment.map(|assignment| Routing { assignment, account }),
        }
    }
}
