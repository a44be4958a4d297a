//! How requests are to come to the preview: from what the configuration and
//! the live workload say, and whether the cluster will have it.

use std::collections::BTreeSet;

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use serde_json::{Value, json};

use super::Extent;
use crate::cluster::{Cluster, Scope, explain};
use crate::config::file::Mode as Chosen;
use crate::config::incoming::ConcurrentSteal;
use crate::config::wrong;
use crate::config::{self, Config};
use crate::contract::agent_container;
use crate::contract::assignment::{Agent, Assignment, Pods};
use crate::output::Reporter;
use crate::preview::plan::rights;
use crate::preview::plan::{Account, Request, Routing};
use crate::preview::render::{self, Routes};
use crate::preview::rights::{GRANTING, KEEPER, lacking, named, questions};
use crate::problem::{Exit, Problem};
use crate::session::{SESSION, Session};
use crate::traffic::filter::baggage::{Baggage, MEMBER, percent_encoded};
use crate::traffic::rules::Port;
use crate::traffic::{Filter, Mode};
use crate::words;
use crate::workload::container::Choice;
use crate::workload::ports::{Declared, declared};
use crate::workload::{LivePods, Source, Target};

/// The ServiceAccount that `rbac` prints, for users who may make no roles.
pub(crate) const PREPARED: &str = "mirrord-keeper";

/// What is to be routed.
pub(super) struct Asked<'a> {
    pub(super) config: &'a Config,
    pub(super) target: &'a Target,
    pub(super) namespace: &'a str,
    pub(super) source: &'a Source,
    pub(super) container: &'a Choice,
    pub(super) session: &'a str,
}

// === impl Asked ===

impl Asked<'_> {
    /// What the keeper is to be told; nothing where no requests are routed.
    pub(super) fn assignment(&self, reporter: &Reporter) -> Result<Option<Assignment>> {
        let incoming = &self.config.incoming;
        let chosen = incoming.mode;
        if chosen == Some(Chosen::Off) {
            return Ok(None);
        }
        match self.impossible() {
            None => {}
            Some(problem) if chosen.is_some() || incoming.is_meant => return Err(problem.into()),
            // Nobody asked for it: a preview that is only asked directly is of use, too.
            Some(problem) => {
                reporter.warning(&format!("no request is routed to the preview: {problem}"));
                return Ok(None);
            }
        }
        let mode = match chosen {
            Some(Chosen::Steal) => Mode::Steal,
            Some(Chosen::Mirror | Chosen::Off) | None => Mode::Mirror,
        };
        let filter = incoming.filter.clone().unwrap_or_else(|| match mode {
            Mode::Steal => Filter::Baggage(Baggage::new(self.config.selection.key.key().as_str())),
            Mode::Mirror => Filter::Everything,
        });
        if chosen.is_none() {
            reporter.warning(&format!(
                "{filter} to the target are copied to the preview, because nobody chose a mode: set \
                 `feature.network.incoming` to `steal`, `mirror` or `off`"
            ));
        }
        let pods = match &self.source.pods {
            Some(LivePods::Named(name)) => Pods::Named(name.clone()),
            Some(LivePods::Selected(selector)) => Pods::Labelled(in_words(selector)?),
            None => return Ok(None),
        };
        let ports = self.ports();
        let agent = &self.config.agent;
        Ok(Some(Assignment {
            session: self.session.to_owned(),
            key: self.config.selection.key.key().to_string(),
            namespace: self.namespace.to_owned(),
            root: String::new(),
            target: self.target.path(),
            pods,
            mode,
            ports: ports
                .iter()
                .map(|one| Port {
                    port: one.port,
                    preview_port: incoming.port_mapping.get(&one.port).copied(),
                })
                .collect(),
            encrypted: ports.iter().filter(|one| one.is_encrypted).map(|one| one.port).collect(),
            filter,
            yields: incoming.on_concurrent_steal == ConcurrentSteal::Continue,
            overrides: incoming.on_concurrent_steal == ConcurrentSteal::Override,
            reset: incoming.reset_connections,
            agent: Agent {
                image: agent.image.clone(),
                image_pull_policy: agent.image_pull_policy.map(|policy| format!("{policy:?}")),
                quiet: agent.is_quiet,
            },
        }))
    }

    /// The ports that are named, else those that are declared and not left out.
    fn ports(&self) -> Vec<Declared> {
        let incoming = &self.config.incoming;
        let declared = declared(self.source, self.container);
        match &incoming.ports {
            Some(named) => named
                .iter()
                .map(|port| {
                    let known = declared.iter().find(|one| one.port == *port);
                    known.copied().unwrap_or(Declared { port: *port, is_encrypted: false })
                })
                .collect(),
            None => declared.into_iter().filter(|one| !incoming.ignore_ports.contains(&one.port)).collect(),
        }
    }

    /// Why no request can be routed, whatever the cluster says.
    fn impossible(&self) -> Option<Problem> {
        let path = self.target.path();
        let spec = self.source.template.get("spec");
        let off = "or set `feature.network.incoming` to `\"off\"`";
        if spec.and_then(|spec| spec.get("hostNetwork")).and_then(Value::as_bool) == Some(true) {
            return Some(
                wrong(format!(
                    "`{path}` uses its node's network, where an agent would see the whole node's requests"
                ))
                .hint(format!("use another target, {off}")),
            );
        }
        if self.source.pods.is_none() {
            return Some(
                wrong(format!("`{path}` has no pods of its own that live on and get requests"))
                    .hint(format!("use another target, {off}")),
            );
        }
        let ports: BTreeSet<u16> = self.ports().iter().map(|one| one.port).collect();
        if let Some(port) = self.config.incoming.port_mapping.keys().find(|port| !ports.contains(port)) {
            return Some(
                wrong(format!(
                    "`feature.network.incoming.port_mapping` maps port {port}, from which no request is taken"
                ))
                .hint("each pair is [the preview's port, the application's port]"),
            );
        }
        ports.is_empty().then(|| {
            wrong(format!(
                "container `{}` of `{path}` declares no port to take requests from",
                self.container.name
            ))
            .hint(format!("name them in `feature.network.incoming.ports`, {off}"))
        })
    }
}

/// Finds out whose rights the keeper can have, and whether agents may be
/// attached, before anything is created.
pub(crate) async fn prepared(
    cluster: &Cluster,
    assignment: Assignment,
    agent: &config::Agent,
) -> Result<Routing> {
    let account = account(cluster, &assignment.namespace, agent).await?;
    may_attach(cluster, &assignment, &account).await?;
    Ok(Routing { assignment, account })
}

/// Finds out whose rights the keeper can have.
///
/// It gets a Role of its own where the user may make it: nobody may grant what
/// they lack, and a dry run asks the API server for its own verdict.
pub(crate) async fn account(cluster: &Cluster, namespace: &str, agent: &config::Agent) -> Result<Account> {
    if let Some(name) = &agent.service_account {
        return Ok(Account::Prepared(name.clone()));
    }
    let probe = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "preview-keeper-probe", "namespace": namespace},
        "rules": rights::rules("preview-keeper-probe"),
    });
    let (made, refused) =
        futures::join!(cluster.would_create(probe), cluster.refused_at_once(namespace, questions(GRANTING)));
    // A Role is of no use without an account and a binding.
    let missing = lacking(GRANTING, &refused.unwrap_or_default());
    match &made {
        Ok(()) if missing.is_empty() => return Ok(Account::Own),
        Err(refusal) if !explain::is_forbidden(refusal) => {
            return Err(explain::api(refusal, "could not ask whether the keeper can have its rights").into());
        }
        Ok(()) | Err(_) => {}
    }
    if cluster.has_account(namespace, PREPARED).await {
        return Ok(Account::Prepared(PREPARED.to_owned()));
    }
    let lines: Vec<String> = KEEPER
        .iter()
        .map(|right| format!("{} {}: {}", right.verbs.join(", "), right.resource, right.reason))
        .collect();
    let what = format!(
        "the keeper cannot have the rights that it needs in namespace `{namespace}`\n{}",
        lines.join("\n")
    );
    let problem = match &made {
        Err(refusal) => explain::api(refusal, what),
        Ok(()) => Problem::new(what).because_of(format!("you lack rights to {}", named(&missing))),
    };
    Err(problem.hint(format!(
        "ask an admin to apply what `mirrord preview rbac -n {namespace}` prints, or set `feature.network.incoming` to `\"off\"`"
    ))
    .exit(Exit::NotAllowed)
    .into())
}

/// Sees to other keys that steal the same requests: they are refused, let
/// be, or stopped, as the configuration says.
pub(super) async fn make_room(
    cluster: &Cluster,
    assignment: &Assignment,
    config: &Config,
    extent: Extent,
    reporter: &Reporter,
) -> Result<()> {
    let scope = Scope::Namespace(assignment.namespace.clone());
    let found = cluster.sessions(&scope, &[]).await?;
    for session in found.sessions.iter().filter(|session| !session.ending) {
        let theirs =
            session.assignment.as_ref().and_then(|text| serde_json::from_str::<Assignment>(text).ok());
        if !theirs.is_some_and(|theirs| assignment.conflicts_with(&theirs)) {
            continue;
        }
        let Session { key, root, namespace, .. } = session;
        let what = format!("the key `{key}` steals the same requests of `{}`", assignment.target);
        match config.incoming.on_concurrent_steal {
            ConcurrentSteal::Abort => {
                return Err(Problem::new(what)
                    .because_of(format!("both want {}", assignment.filter))
                    .hint(format!(
                        "use another filter, stop it with `{}`, or set `on_concurrent_steal`",
                        render::command("stop", key, namespace, &config.selection.connection.typed)
                    ))
                    .into());
            }
            ConcurrentSteal::Continue => {
                reporter.warning(&format!("{what}, and keeps them as long as it lives: it is older"));
            }
            ConcurrentSteal::Override if extent == Extent::Planned => {
                reporter.warning(&format!("{what}, and would be stopped"));
            }
            ConcurrentSteal::Override => {
                reporter.warning(&format!("{what}, and is stopped"));
                cluster.end(&assignment.namespace, root).await?;
            }
        }
    }
    Ok(())
}

/// Asks every admission check for an agent in one of the target's pods.
pub(crate) async fn may_attach(cluster: &Cluster, assignment: &Assignment, account: &Account) -> Result<()> {
    // With a prepared account it is the keeper that may, and not the user.
    if *account != Account::Own {
        return Ok(());
    }
    let Some(pod) = cluster.any_pod(&assignment.namespace, &assignment.pods).await else { return Ok(()) };
    let container = agent_container::container("mirrord-agent-probe", 0, &assignment.agent);
    match cluster.would_attach(&assignment.namespace, &pod, &container).await {
        Ok(_) => Ok(()),
        Err(error) if explain::is_not_found(&error) || explain::is_conflict(&error) => Ok(()),
        Err(error) => Err(explain::attachment(&error, &pod).into_problem().into()),
    }
}

/// A label selector in the API's own words.
fn in_words(selector: &Value) -> Result<String> {
    let selector: LabelSelector = serde_json::from_value(selector.clone())?;
    let words = Selector::try_from(selector)?.to_string();
    Ok(if words.is_empty() { format!("!{SESSION}") } else { words })
}

/// How requests come to the preview, for people; with a command that makes
/// one, where a Service leads to the target.
pub(super) async fn routes(cluster: &Cluster, request: &Request) -> Option<Routes> {
    let Assignment { mode, filter, ports, target, namespace, .. } = &request.routing.as_ref()?.assignment;
    let numbers: Vec<u16> = ports.iter().map(|port| port.port).collect();
    let named: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let what = match mode {
        Mode::Steal => format!("{filter} to port {} of {target} come here", named.join(", ")),
        Mode::Mirror => format!("{filter} to port {} of {target} are copied here", named.join(", ")),
    };
    let service = cluster.service_before(namespace, &request.source.labels(), &numbers).await;
    let example = service.and_then(|(service, port)| {
        let Filter::Baggage(key) = filter else { return None };
        let port = if port == 80 { String::new() } else { format!(":{port}") };
        let header = format!("baggage: {MEMBER}={}", percent_encoded(key.as_str()));
        Some(format!("curl -H {} http://{service}.{namespace}{port}", words::shell_word(&header)))
    });
    Some(Routes { what, example })
}
