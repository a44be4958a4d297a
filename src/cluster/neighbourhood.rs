//! Objects beside a target that reach, count or hold its pods: Services,
//! budgets, autoscalers and claims.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service, ServiceSpec};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use kube::core::{Selector, SelectorExt as _};

use super::{AT_ONCE, Cluster};
use crate::workload::{Source, Target, Workload};

/// The Services of a namespace; `None` where they may not be listed.
#[derive(Clone, Debug)]
pub struct Services(Option<Vec<Service>>);

// === impl Services ===

impl Services {
    /// The names of those that route to pods with `labels` even while they are
    /// not ready.
    pub fn routing_to_unready(&self, labels: &BTreeMap<String, String>) -> Vec<String> {
        let routing =
            self.selecting(labels).filter(|(_, spec)| spec.publish_not_ready_addresses == Some(true));
        routing.map(|(service, _)| service.name_any()).collect()
    }

    /// Whether one selects pods with `labels`; assumed where they may not be listed.
    pub fn select(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.is_none() || self.selecting(labels).next().is_some()
    }

    /// A Service through which requests come to one of `ports` of pods with
    /// `labels`, by its name and port.
    pub fn before(&self, labels: &BTreeMap<String, String>, ports: &[u16]) -> Option<(String, i32)> {
        let is_known = |number: i32| ports.iter().any(|known| i32::from(*known) == number);
        self.selecting(labels).find_map(|(service, spec)| {
            let port = spec.ports.iter().flatten().find(|port| match &port.target_port {
                Some(IntOrString::Int(number)) => is_known(*number),
                // A name stands for a port that the pod declares.
                Some(IntOrString::String(_)) => true,
                None => is_known(port.port),
            })?;
            Some((service.name_any(), port.port))
        })
    }

    /// Those whose selector selects pods with `labels`. An empty one selects nothing.
    fn selecting<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Service, &'a ServiceSpec)> {
        self.0.iter().flatten().filter_map(|service| {
            let spec = service.spec.as_ref()?;
            let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
            selector.iter().all(|(name, value)| labels.get(name) == Some(value)).then_some((service, spec))
        })
    }
}

// === impl Cluster ===

impl Cluster {
    /// The Services of a namespace.
    pub async fn services(&self, namespace: &str) -> Services {
        let api: Api<Service> = Api::namespaced(self.client(), namespace);
        Services(api.list(&ListParams::default()).await.map(|list| list.items).ok())
    }

    /// Those of `claims` that only one node, or one pod, may mount at a time. A
    /// claim that cannot be read counts as one: the live disk is never at stake.
    pub async fn exclusive_claims(&self, namespace: &str, claims: Vec<String>) -> BTreeSet<String> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), namespace);
        let exclusive = stream::iter(claims).map(|claim| {
            let api = &api;
            async move {
                let modes = match api.get(&claim).await {
                    Ok(found) => found.spec.and_then(|spec| spec.access_modes).unwrap_or_default(),
                    Err(_) => Vec::new(),
                };
                is_exclusive(&modes).then_some(claim)
            }
        });
        exclusive.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// The disruption budgets that select pods with `labels` and depend on the number of
    /// all such pods; none where they may not be listed.
    pub async fn counting_budgets(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<String> {
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client(), namespace);
        let Ok(budgets) = api.list(&ListParams::default()).await else { return Vec::new() };
        budgets
            .items
            .iter()
            .filter(|budget| {
                let Some(spec) = &budget.spec else { return false };
                let shares = spec.max_unavailable.is_some()
                    || matches!(spec.min_available, Some(IntOrString::String(_)));
                let selects = spec
                    .selector
                    .clone()
                    .and_then(|selector| Selector::try_from(selector).ok())
                    .is_some_and(|selector| selector.matches(labels));
                shares && selects
            })
            .map(kube::ResourceExt::name_any)
            .collect()
    }

    /// The autoscalers of a target, of the workload that holds its template, or of that
    /// workload's controller; none where they may not be listed.
    pub async fn scalers(&self, namespace: &str, target: &Target, source: &Source) -> Vec<String> {
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client(), namespace);
        let Ok(scalers) = api.list(&ListParams::default()).await else { return Vec::new() };
        if scalers.items.is_empty() {
            return Vec::new();
        }
        let typed = Workload { kind: target.kind().kind.to_owned(), name: target.name().to_owned() };
        let mut scaled: Vec<Workload> = [typed].into_iter().chain(source.lineage.iter().cloned()).collect();
        // A Deployment owns the ReplicaSet that owns the pods.
        if let [_, set] = &source.lineage[..]
            && set.kind == "ReplicaSet"
        {
            let sets: Api<ReplicaSet> = Api::namespaced(self.client(), namespace);
            let set = sets.get_metadata(&set.name).await.ok();
            scaled.extend(set.and_then(|set| Workload::controller_of(&serde_json::json!(set))));
        }
        let meant = scalers.items.iter().filter(|scaler| {
            let of = scaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
            of.is_some_and(|of| scaled.iter().any(|one| (&one.kind, &one.name) == (&of.kind, &of.name)))
        });
        meant.map(kube::ResourceExt::name_any).collect()
    }
}

/// Whether only one pod, or the pods of one node, may write to a claim with these access
/// modes. Disks of clouds are often claimed as both `ReadWriteOnce` and `ReadOnlyMany`.
fn is_exclusive(modes: &[String]) -> bool {
    let has = |wanted| modes.iter().any(|mode| mode == wanted);
    !has("ReadWriteMany") && (!has("ReadOnlyMany") || modes.len() > 1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn services(services: &[Value]) -> Services {
        Services(Some(services.iter().map(|one| serde_json::from_value(one.clone()).unwrap()).collect()))
    }

    #[test]
    fn a_service_selects_pods_that_carry_all_of_its_labels() {
        let shop = labels(&[("app", "shop"), ("tier", "web")]);
        for (selector, selects) in [
            (json!({"app": "shop"}), true),
            (json!({"app": "shop", "tier": "web"}), true),
            (json!({"app": "cart"}), false),
            (json!({"app": "shop", "zone": "a"}), false),
            (json!({}), false),
            (json!(null), false),
        ] {
            let listed = services(&[json!({"metadata": {"name": "a"}, "spec": {"selector": selector}})]);
            assert_eq!(listed.select(&shop), selects, "{selector}");
        }
        assert!(Services(None).select(&shop), "assumed where they may not be listed");
        assert!(Services(None).routing_to_unready(&shop).is_empty());
        assert_eq!(Services(None).before(&shop, &[80]), None);
    }

    #[test]
    fn only_a_service_that_publishes_unready_addresses_routes_to_unready_pods() {
        let service = |name: &str, publishes: bool| {
            json!({"metadata": {"name": name}, "spec": {
                "selector": {"app": "shop"}, "publishNotReadyAddresses": publishes,
            }})
        };
        let listed = services(&[service("plain", false), service("eager", true)]);
        assert_eq!(listed.routing_to_unready(&labels(&[("app", "shop")])), ["eager"]);
    }

    #[test]
    fn a_service_stands_before_the_ports_that_its_target_ports_mean() {
        for (port, before) in [
            (json!({"port": 80, "targetPort": 8080}), Some(80)),
            (json!({"port": 81, "targetPort": 9090}), None),
            (json!({"port": 82, "targetPort": "http"}), Some(82)),
            (json!({"port": 8080}), Some(8080)),
            (json!({"port": 83}), None),
        ] {
            let spec = json!({"selector": {"app": "shop"}, "ports": [port]});
            let listed = services(&[json!({"metadata": {"name": "shop"}, "spec": spec})]);
            let expected = before.map(|port| ("shop".to_owned(), port));
            assert_eq!(listed.before(&labels(&[("app", "shop")]), &[8080]), expected, "{port}");
        }
    }

    #[tokio::test]
    async fn a_claim_that_cannot_be_read_counts_as_exclusive_and_hides_no_other() {
        let claim = |mode: &str| Answer::of(json!({"metadata": {}, "spec": {"accessModes": [mode]}}));
        let api = FakeApi::new([Answer::refusal(403, "no"), claim("ReadWriteMany"), claim("ReadWriteOnce")]);
        let claims = ["a", "b", "c"].map(str::to_owned).to_vec();
        let exclusive = api.cluster().exclusive_claims("shop", claims).await;
        assert_eq!(exclusive, ["a", "c"].map(str::to_owned).into());
    }

    #[test]
    fn a_claim_is_shared_only_if_all_may_write_or_none() {
        for (modes, exclusive) in [
            (&["ReadWriteOnce"][..], true),
            (&["ReadWriteOncePod"], true),
            (&["ReadWriteOnce", "ReadOnlyMany"], true),
            (&[], true),
            (&["ReadOnlyMany"], false),
            (&["ReadWriteMany"], false),
            (&["ReadWriteOnce", "ReadWriteMany"], false),
        ] {
            let modes: Vec<String> = modes.iter().map(|&mode| mode.to_owned()).collect();
            assert_eq!(is_exclusive(&modes), exclusive, "{modes:?}");
        }
    }
}
