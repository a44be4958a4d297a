//! Decides how requests are to come to the preview, from the configuration and
//! the live workload. Pure.

use std::collections::BTreeSet;

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use serde_json::Value;

use crate::config::Config;
use crate::config::incoming::ConcurrentSteal;
use crate::config::scalar::{IncomingMode, PullPolicy};
use crate::config::wrong;
use crate::contract::assignment::{AgentSettings, Assignment, Owner, Pods};
use crate::problem::Problem;
use crate::session::{SESSION, SessionId};
use crate::traffic::filter::baggage::Baggage;
use crate::traffic::rules::Port;
use crate::traffic::{Filter, Mode};
use crate::workload::container::Choice;
use crate::workload::ports::{Declared, declared};
use crate::workload::{LivePods, Source, Target};

/// What the decision is made from.
pub(super) struct Inputs<'a> {
    pub(super) config: &'a Config,
    pub(super) target: &'a Target,
    pub(super) namespace: &'a str,
    pub(super) source: &'a Source,
    pub(super) container: &'a Choice,
    pub(super) session: &'a SessionId,
}

/// How requests are to come to the preview.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// The keeper's assignment; nothing where no requests are routed.
    pub(super) assignment: Option<Assignment>,
    /// What the user should know of the decision.
    pub(super) warnings: Vec<String>,
}

// === impl Inputs ===

impl Inputs<'_> {
    /// Decides.
    ///
    /// # Errors
    ///
    /// Where the configuration asks for routing that is impossible. Where it
    /// does not ask, there is a warning and no routing.
    pub(super) fn decide(&self) -> Result<Decision> {
        let incoming = &self.config.incoming;
        if incoming.mode == Some(IncomingMode::Off) {
            return Ok(Decision::default());
        }
        match self.impossible() {
            None => {}
            Some(problem) if incoming.mode.is_some() || incoming.is_meant => return Err(problem.into()),
            // A preview without routing is still useful: it can be asked directly.
            Some(problem) => {
                let warning = format!("no requests are routed to the preview: {problem}");
                return Ok(Decision { assignment: None, warnings: vec![warning] });
            }
        }
        let mode = match incoming.mode {
            // A mirrored request runs in the application and in the preview, so that every
            // write happens twice: mirroring has to be asked for.
            Some(IncomingMode::Mirror) => Mode::Mirror,
            Some(IncomingMode::Steal | IncomingMode::Off) | None => Mode::Steal,
        };
        let filter = incoming.filter.clone().unwrap_or_else(|| match mode {
            Mode::Steal => Filter::Baggage(Baggage::new(self.config.selection.key.key().as_str())),
            Mode::Mirror => Filter::Everything,
        });
        let Some(pods) = live_pods(self.source)? else { return Ok(Decision::default()) };
        Ok(Decision { assignment: Some(self.assignment(mode, filter, pods)), warnings: Vec::new() })
    }

    fn assignment(&self, mode: Mode, filter: Filter, pods: Pods) -> Assignment {
        let incoming = &self.config.incoming;
        let ports = self.ports();
        let agent = &self.config.agent;
        Assignment {
            session: self.session.as_str().to_owned(),
            key: self.config.selection.key.key().to_string(),
            namespace: self.namespace.to_owned(),
            root: self.session.root_name(self.target),
            target: self.target.path(),
            owners: match &pods {
                Pods::Named(_) => Vec::new(),
                Pods::Labelled(_) => self.owners(),
            },
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
            agent: AgentSettings {
                image: agent.image.clone(),
                image_pull_policy: agent.image_pull_policy.map(PullPolicy::as_kubernetes).map(str::to_owned),
                log_level: agent.log_level.clone(),
            },
        }
    }

    /// The workloads that may control the target's pods: the target itself, unless it is a
    /// Service, and the workload that it takes its template from.
    fn owners(&self) -> Vec<Owner> {
        let kind = self.target.kind();
        let own = (!kind.is_service)
            .then(|| Owner { kind: kind.kind.to_owned(), name: self.target.name().to_owned() });
        let template = self.source.lineage.first();
        let template =
            template.map(|workload| Owner { kind: workload.kind.clone(), name: workload.name.clone() });
        let mut owners: Vec<Owner> = own.into_iter().chain(template).collect();
        owners.dedup();
        owners
    }

    /// The configured ports, else the declared ones that are not ignored.
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

    /// Why requests cannot be routed, whatever the cluster answers.
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
                wrong(format!("`{path}` has no long-running pods that could receive requests"))
                    .hint(format!("use another target, {off}")),
            );
        }
        let ports: BTreeSet<u16> = self.ports().iter().map(|one| one.port).collect();
        if let Some(port) = self.config.incoming.port_mapping.keys().find(|port| !ports.contains(port)) {
            return Some(
                wrong(format!(
                    "`feature.network.incoming.port_mapping` maps port {port}, which is not captured"
                ))
                .hint("each pair is [the preview's port, the application's port]"),
            );
        }
        ports.is_empty().then(|| {
            wrong(format!("container `{}` of `{path}` declares no port to capture", self.container.name))
                .hint(format!("list ports in `feature.network.incoming.ports`, {off}"))
        })
    }
}

/// The target's pods as the API's parameters select them; `None` if it keeps none running.
pub(super) fn live_pods(source: &Source) -> Result<Option<Pods>> {
    Ok(match &source.pods {
        Some(LivePods::Named(name)) => Some(Pods::Named(name.clone())),
        Some(LivePods::Selected(selector)) => Some(Pods::Labelled(selector_text(selector)?)),
        None => None,
    })
}

/// A label selector as the API's `labelSelector` parameter takes it. Others append
/// requirements to the text, so it is never empty, even where all pods are selected.
fn selector_text(selector: &Value) -> Result<String> {
    let selector: LabelSelector = serde_json::from_value(selector.clone())?;
    let text = Selector::try_from(selector)?.to_string();
    Ok(if text.is_empty() { format!("!{SESSION}") } else { text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::config::{Environment, Overrides};
    use crate::workload::Workload;

    fn assignment(incoming: &Value) -> Assignment {
        assigned(incoming, "deployment/shop", LivePods::Named("shop".to_owned()), &[])
    }

    /// The assignment for a target whose template is in the first workload of `lineage`.
    fn assigned(incoming: &Value, target: &str, pods: LivePods, lineage: &[(&str, &str)]) -> Assignment {
        let template = json!({"spec": {"containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]}});
        let lineage = lineage
            .iter()
            .map(|(kind, name)| Workload { kind: (*kind).to_owned(), name: (*name).to_owned() });
        let source = Source {
            template: template.as_object().unwrap().clone(),
            pods: Some(pods),
            lineage: lineage.collect(),
            ..Source::default()
        };
        let container = Choice { name: "web".to_owned(), index: 0, guessed_among: Vec::new() };
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        let document = json!({"feature": {"network": {"incoming": incoming}}});
        std::fs::write(file.path(), document.to_string()).unwrap();
        let flags = Overrides {
            key: Some("pr-1".parse().unwrap()),
            image: Some("shop:2".to_owned()),
            target: Some(target.parse().unwrap()),
            config_file: Some(file.path().to_owned()),
            ..Overrides::default()
        };
        let config = Config::resolve(&flags, &Environment::from_iter([]), Uuid::nil()).unwrap();
        let session = SessionId::new(Uuid::nil());
        let target = target.parse().unwrap();
        let inputs = Inputs {
            config: &config,
            target: &target,
            namespace: "staging",
            source: &source,
            container: &container,
            session: &session,
        };
        let decision = inputs.decide().unwrap();
        assert_eq!(decision.warnings, Vec::<String>::new());
        decision.assignment.unwrap()
    }

    #[test]
    fn without_a_mode_only_requests_with_the_key_are_stolen() {
        for incoming in [json!({}), json!({"ports": [8080]}), json!("steal")] {
            let assignment = assignment(&incoming);
            assert_eq!(assignment.mode, Mode::Steal, "{incoming}");
            assert_eq!(assignment.filter, Filter::Baggage(Baggage::new("pr-1")), "{incoming}");
        }
    }

    #[test]
    fn live_pods_are_those_that_the_target_or_the_workload_behind_it_controls() {
        let owners = |target: &str, lineage: &[(&str, &str)]| -> Vec<String> {
            let pods = LivePods::Selected(json!({"matchLabels": {"app": "shop"}}));
            let assignment = assigned(&json!({}), target, pods, lineage);
            assignment.owners.iter().map(|owner| format!("{}/{}", owner.kind, owner.name)).collect()
        };
        let deployment = ("Deployment", "shop");
        assert_eq!(owners("deployment/shop", &[deployment]), ["Deployment/shop"]);
        assert_eq!(owners("service/shop", &[deployment]), ["Deployment/shop"]);
        assert_eq!(owners("rollout/cart", &[deployment]), ["Rollout/cart", "Deployment/shop"]);
        assert_eq!(
            owners("replicaset/shop-5d8", &[("ReplicaSet", "shop-5d8"), deployment]),
            ["ReplicaSet/shop-5d8"]
        );
        assert_eq!(assignment(&json!({})).owners, [], "a pod that is named is the target");
    }

    #[test]
    fn mirroring_everything_has_to_be_written() {
        let assignment = assignment(&json!("mirror"));
        assert_eq!((assignment.mode, assignment.filter), (Mode::Mirror, Filter::Everything));
    }
}
