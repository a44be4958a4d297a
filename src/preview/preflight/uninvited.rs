//! Services that bring requests to the preview although it is never Ready. The preview
//! does not carry the labels by which they select. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt as _;
use serde_json::Value;

use crate::cluster::{LoadBalancers, Services};
use crate::config::env::Keep;
use crate::preview::plan::labels::Labels;
use crate::words;

/// The annotation by which AWS's controllers tell targets by address from nodes.
const TARGET_TYPE: &str = "alb.ingress.kubernetes.io/target-type";
const NLB_TARGET_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";
const NLB_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
/// The class of load balancers of EKS Auto Mode, whose targets are pods unless the
/// annotation says otherwise.
const AUTO_MODE: &str = "eks.amazonaws.com/nlb";
/// The annotations of Google's network endpoint groups.
const NEG: &str = "cloud.google.com/neg";
const NEG_STATUS: &str = "cloud.google.com/neg-status";
/// The label by which a `ServiceNetworkEndpointGroup` names its Service.
const NEG_SERVICE: &str = "networking.gke.io/service-name";
/// The readiness gates of load balancers, by their beginning.
const GATES: [&str; 2] = ["target-health.", "cloud.google.com/load-balancer-neg-ready"];

/// What is to be done about the Services that bring requests to the preview.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The labels that the preview does not carry.
    pub(super) left_off: BTreeSet<String>,
    /// What `start` says.
    pub(super) warnings: Vec<String>,
}

/// Judges the Services that select pods with `preview`, the labels of the preview
/// pods; `live` are those of the target.
pub(super) fn judged(
    services: &Services,
    balancers: &LoadBalancers,
    live: &Labels,
    preview: &Labels,
    keep: &Keep,
) -> Verdict {
    let mut verdict = Verdict::default();
    let selecting: Vec<_> = services.selecting(preview).collect();
    let mut users: Vec<(&(&Service, &ServiceSpec), String)> =
        selecting.iter().filter_map(|one| Some((one, balancers.user(one.0, one.1)?))).collect();
    // Which Service a gate is about is not said in the pod.
    if users.iter().all(|((_, spec), _)| publishes(spec))
        && let Some(sign) = balancers.sign_of_any()
    {
        for one in selecting.iter().filter(|(_, spec)| !publishes(spec)) {
            users.push((one, sign.clone()));
        }
    }
    for ((service, spec), why) in &users {
        let selector = spec.selector.iter().flat_map(|selector| selector.keys());
        let labels: Vec<String> = selector.filter(|name| live.contains_key(*name)).cloned().collect();
        let brings =
            format!("Service `{}` brings requests to pods that are not ready ({why})", service.name_any());
        if labels.is_empty() {
            verdict.warnings.push(format!("{brings}, and so to the preview"));
            continue;
        }
        let quoted = words::quoted_list(&labels);
        match keep {
            Keep::Only(_) => verdict.warnings.push(format!(
                "{brings}, and so to the preview, which carries {quoted} because `feature.preview.labels.include` names it"
            )),
            Keep::All | Keep::AllBut(_) => {
                verdict.warnings.push(format!(
                    "{brings}, so the preview does not carry {quoted}, by which it selects; to keep labels nevertheless, name \
                     them in `feature.preview.labels.include`"
                ));
                verdict.left_off.extend(labels);
            }
        }
    }
    verdict.warnings.extend(unread(services, balancers, !users.is_empty()));
    verdict
}

/// What could not be judged, because a right is missing.
fn unread(services: &Services, balancers: &LoadBalancers, is_found: bool) -> Option<String> {
    let mut resources: Vec<String> =
        services.are_unknown().then(|| "services".to_owned()).into_iter().collect();
    let lists = [&balancers.bindings, &balancers.groups];
    resources.extend(lists.into_iter().filter_map(|list| list.as_ref().err().cloned()));
    // Controllers make these objects for each Ingress, so that those matter only beside them.
    if !resources.is_empty() {
        resources.extend(balancers.ingresses.as_ref().err().cloned());
    }
    (!resources.is_empty() && !is_found).then(|| {
        format!(
            "you may not list {}, so mirrord cannot tell whether requests come to the preview although it is never ready; if \
             so, leave out a label of the Service's selector with `feature.preview.labels.exclude`",
            words::quoted_list(&resources)
        )
    })
}

fn publishes(spec: &ServiceSpec) -> bool {
    spec.publish_not_ready_addresses == Some(true)
}

// === impl LoadBalancers ===

impl LoadBalancers {
    /// How a user of the Service takes pods that are not ready, where one does: by the
    /// Service, and by objects that name it.
    fn user(&self, service: &Service, spec: &ServiceSpec) -> Option<String> {
        if publishes(spec) {
            return Some("`publishNotReadyAddresses`".to_owned());
        }
        let name = service.name_any();
        let annotation = |name: &str| service.annotations().get(name).map(String::as_str);
        let bound = self.bindings.iter().flatten().find(|binding| {
            binding.pointer("/spec/serviceRef/name").is_some_and(|bound| bound == name.as_str())
                && binding.pointer("/spec/targetType").is_none_or(|kind| kind != "instance")
        });
        if let Some(binding) = bound {
            return Some(format!("TargetGroupBinding `{}`", object_name(binding)));
        }
        let is_balanced = spec.type_.as_deref() == Some("LoadBalancer");
        let nlb = annotation(NLB_TARGET_TYPE);
        if is_balanced && (nlb == Some("ip") || annotation(NLB_TYPE) == Some("nlb-ip")) {
            return Some("a load balancer of AWS with target type `ip`".to_owned());
        }
        if is_balanced && nlb.is_none() && spec.load_balancer_class.as_deref() == Some(AUTO_MODE) {
            return Some(format!("a load balancer of class `{AUTO_MODE}`"));
        }
        let ingress = self.ingresses.iter().flatten().find(|ingress| leads_to(ingress, &name));
        if let Some(ingress) = ingress {
            let of_ingress = ingress["metadata"]["annotations"][TARGET_TYPE].as_str();
            if annotation(TARGET_TYPE).or(of_ingress) == Some("ip") {
                return Some(format!("Ingress `{}` with target type `ip`", object_name(ingress)));
            }
        }
        let group = self.groups.iter().flatten().find(|group| {
            let labelled = group["metadata"]["labels"][NEG_SERVICE] == name.as_str();
            let owners = group["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            labelled
                || owners
                    .into_iter()
                    .any(|owner| owner["kind"] == "Service" && owner["name"] == name.as_str())
        });
        if let Some(group) = group {
            return Some(format!("ServiceNetworkEndpointGroup `{}`", object_name(group)));
        }
        // Google writes `{"ingress": true}` at every Service, used or not.
        let wanted: Value =
            annotation(NEG).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let is_exposed = wanted["exposed_ports"].as_object().is_some_and(|ports| !ports.is_empty());
        let is_used = wanted["ingress"] == true && (ingress.is_some() || self.ingresses.is_err());
        if annotation(NEG_STATUS).is_some() || is_exposed || is_used {
            return Some("a network endpoint group of Google".to_owned());
        }
        None
    }

    /// The same by a sign that names no Service.
    fn sign_of_any(&self) -> Option<String> {
        let gate = self.gates.iter().find(|gate| GATES.iter().any(|known| gate.starts_with(known)));
        if let Some(gate) = gate {
            return Some(format!("live pods have the readiness gate `{gate}` of a load balancer"));
        }
        (self.bindings.is_err() && self.injects_gates == Some(true))
            .then(|| "its namespace asks for the readiness gates of an AWS load balancer".to_owned())
    }
}

/// Whether an Ingress names the Service, as a backend or in an action of AWS's.
fn leads_to(ingress: &Value, service: &str) -> bool {
    let annotations = ingress["metadata"]["annotations"].as_object().into_iter().flatten();
    let mut actions = annotations.filter(|(name, _)| name.starts_with("alb.ingress.kubernetes.io/actions."));
    names(&ingress["spec"], service)
        || actions.any(|(_, action)| {
            let action = action.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
            action.is_some_and(|action| names(&action, service))
        })
}

/// Whether a backend anywhere in `value` names the Service.
fn names(value: &Value, service: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(field, value)| {
            let is_named = match field.as_str() {
                "service" => value["name"] == service,
                "serviceName" | "ServiceName" => value == service,
                _ => false,
            };
            is_named || names(value, service)
        }),
        Value::Array(items) => items.iter().any(|item| names(item, service)),
        _ => false,
    }
}

fn object_name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nothing() -> LoadBalancers {
        LoadBalancers {
            bindings: Ok(Vec::new()),
            groups: Ok(Vec::new()),
            ingresses: Ok(Vec::new()),
            gates: Vec::new(),
            injects_gates: Some(false),
        }
    }

    fn shop() -> Labels {
        [("app", "shop"), ("tier", "web")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// The verdict on one Service with this spec and these annotations.
    fn one(spec: &Value, annotations: &Value, balancers: &LoadBalancers, keep: &Keep) -> Verdict {
        let mut whole = json!({"selector": {"app": "shop"}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let service = json!({"metadata": {"name": "front", "annotations": annotations}, "spec": whole});
        let preview = shop();
        judged(&Services::of(&[service]), balancers, &preview, &preview, keep)
    }

    fn binding(service: &str, kind: &str) -> LoadBalancers {
        let binding = json!({"metadata": {"name": "k8s-front"}, "spec": {"serviceRef": {"name": service}, "targetType": kind}});
        LoadBalancers { bindings: Ok(vec![binding]), ..nothing() }
    }

    fn ingress(annotations: &Value) -> LoadBalancers {
        let backend = json!({"backend": {"service": {"name": "front", "port": {"number": 80}}}});
        let spec = json!({"rules": [{"http": {"paths": [backend]}}]});
        let ingress = json!({"metadata": {"name": "web", "annotations": annotations}, "spec": spec});
        LoadBalancers { ingresses: Ok(vec![ingress]), ..nothing() }
    }

    fn group(metadata: &Value) -> LoadBalancers {
        LoadBalancers { groups: Ok(vec![json!({"metadata": metadata})]), ..nothing() }
    }

    #[test]
    fn each_user_of_a_service_that_does_not_go_by_ready_costs_the_labels_of_its_selector() {
        let balanced = json!({"type": "LoadBalancer"});
        let negs = json!({NEG: "{\"ingress\": true}"});
        let forward = json!({
            "alb.ingress.kubernetes.io/actions.go": "{\"forwardConfig\": {\"targetGroups\": [{\"serviceName\": \"front\"}]}}",
            TARGET_TYPE: "ip",
        });
        let action = LoadBalancers {
            ingresses: Ok(vec![json!({"metadata": {"name": "web", "annotations": forward}, "spec": {}})]),
            ..nothing()
        };
        let gate = |gate: &str| LoadBalancers { gates: vec![gate.to_owned()], ..nothing() };
        let injected = LoadBalancers { injects_gates: Some(true), ..nothing() };
        let untold = LoadBalancers {
            bindings: Err("targetgroupbindings.elbv2.k8s.aws".to_owned()),
            ..injected.clone()
        };
        for (spec, annotations, balancers, why) in [
            (json!({}), json!({}), nothing(), None),
            (
                json!({"publishNotReadyAddresses": true}),
                json!({}),
                nothing(),
                Some("`publishNotReadyAddresses`"),
            ),
            (json!({}), json!({}), binding("front", "ip"), Some("TargetGroupBinding `k8s-front`")),
            (json!({}), json!({}), binding("front", "instance"), None),
            (json!({}), json!({}), binding("back", "ip"), None),
            (balanced.clone(), json!({NLB_TARGET_TYPE: "ip"}), nothing(), Some("target type `ip`")),
            (balanced.clone(), json!({NLB_TYPE: "nlb-ip"}), nothing(), Some("target type `ip`")),
            (balanced.clone(), json!({NLB_TARGET_TYPE: "instance"}), nothing(), None),
            (json!({}), json!({NLB_TARGET_TYPE: "ip"}), nothing(), None),
            (
                json!({"type": "LoadBalancer", "loadBalancerClass": AUTO_MODE}),
                json!({}),
                nothing(),
                Some("of class"),
            ),
            (json!({}), json!({}), ingress(&json!({TARGET_TYPE: "ip"})), Some("Ingress `web`")),
            (json!({}), json!({TARGET_TYPE: "ip"}), ingress(&json!({})), Some("Ingress `web`")),
            (json!({}), json!({TARGET_TYPE: "instance"}), ingress(&json!({TARGET_TYPE: "ip"})), None),
            (json!({}), json!({}), ingress(&json!({})), None),
            (json!({}), json!({}), action, Some("Ingress `web`")),
            (json!({}), negs.clone(), nothing(), None),
            (json!({}), negs.clone(), ingress(&json!({})), Some("a network endpoint group")),
            (
                json!({}),
                json!({NEG: "{\"exposed_ports\": {\"80\": {}}}"}),
                nothing(),
                Some("a network endpoint group"),
            ),
            (json!({}), json!({NEG_STATUS: "{}"}), nothing(), Some("a network endpoint group")),
            (
                json!({}),
                json!({}),
                group(&json!({"name": "neg", "labels": {NEG_SERVICE: "front"}})),
                Some("`neg`"),
            ),
            (
                json!({}),
                json!({}),
                group(&json!({"name": "neg", "ownerReferences": [{"kind": "Service", "name": "front"}]})),
                Some("`neg`"),
            ),
            (
                json!({}),
                json!({}),
                gate("target-health.elbv2.k8s.aws/k8s-a"),
                Some("the readiness gate `target-health."),
            ),
            (
                json!({}),
                json!({}),
                gate("cloud.google.com/load-balancer-neg-ready"),
                Some("the readiness gate"),
            ),
            (json!({}), json!({}), gate("example.test/warm"), None),
            (json!({}), json!({}), injected, None),
            (json!({}), json!({}), untold, Some("its namespace asks")),
        ] {
            let verdict = one(&spec, &annotations, &balancers, &Keep::All);
            let left_off: Vec<_> = verdict.left_off.iter().map(String::as_str).collect();
            let Some(why) = why else {
                assert_eq!(verdict, Verdict::default(), "{spec} {annotations} {balancers:?}");
                continue;
            };
            assert_eq!(left_off, ["app"], "{spec} {annotations} {balancers:?}");
            let [warning] = &verdict.warnings[..] else { panic!("{verdict:?}") };
            assert!(warning.starts_with("Service `front`") && warning.contains(why), "{why}: {warning}");
            assert!(warning.contains("does not carry `app`"), "{warning}");
            // Somebody who names the labels keeps them, and is told.
            let kept = one(&spec, &annotations, &balancers, &Keep::Only(vec!["a*".to_owned()].into()));
            assert!(kept.left_off.is_empty());
            assert!(kept.warnings[0].contains("and so to the preview, which carries `app`"), "{kept:?}");
        }
    }

    #[test]
    fn a_service_that_does_not_select_the_preview_costs_nothing() {
        let spec = json!({"selector": {"app": "shop", "zone": "a"}, "publishNotReadyAddresses": true});
        assert_eq!(one(&spec, &json!({}), &nothing(), &Keep::All), Verdict::default());
    }

    #[test]
    fn a_missing_right_is_said_only_where_it_hides_something() {
        let missing = || Err("targetgroupbindings.elbv2.k8s.aws".to_owned());
        let said =
            one(&json!({}), &json!({}), &LoadBalancers { bindings: missing(), ..nothing() }, &Keep::All);
        assert!(said.left_off.is_empty());
        assert!(
            said.warnings[0].starts_with("you may not list `targetgroupbindings.elbv2.k8s.aws`"),
            "{said:?}"
        );
        let no_ingresses =
            LoadBalancers { ingresses: Err("ingresses.networking.k8s.io".to_owned()), ..nothing() };
        assert_eq!(one(&json!({}), &json!({}), &no_ingresses, &Keep::All), Verdict::default());
        let labels = shop();
        let said = judged(&Services::unknown(), &nothing(), &labels, &labels, &Keep::All);
        assert!(said.warnings[0].starts_with("you may not list `services`"), "{said:?}");
    }
}
