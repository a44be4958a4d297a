//! Objects beside a target that reach, count or hold its pods: Services,
//! budgets, autoscalers and claims.

use std::collections::BTreeMap;

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
use crate::workload::{Claims, Source, Target, Workload};

/// The Services of a namespace; `None` where they may not be listed.
#[derive(Clone, Debug)]
pub struct Services(Option<Vec<Service>>);

/// The disruption budgets of a namespace; none where they may not be listed.
#[derive(Clone, Debug)]
pub struct Budgets(Vec<PodDisruptionBudget>);

/// A disruption budget that depends on the number of all the pods that it selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// How many of its pods may be unavailable; `None` where it is a share of them.
    pub max_unavailable: Option<i32>,
}

// === impl Services ===

impl Services {
    /// Whether they may not be listed.
    pub fn are_unknown(&self) -> bool {
        self.0.is_none()
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
    pub fn selecting<'a>(
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

#[cfg(test)]
impl Services {
    /// Services that were listed.
    pub(crate) fn of(services: &[serde_json::Value]) -> Self {
        Self(Some(services.iter().map(|one| serde_json::from_value(one.clone()).unwrap()).collect()))
    }

    /// Services that may not be listed.
    pub(crate) fn unknown() -> Self {
        Self(None)
    }
}

// === impl Budgets ===

impl Budgets {
    /// Those that select pods with `labels`, and depend on the number of all such pods.
    pub fn counting(&self, labels: &BTreeMap<String, String>) -> Vec<Budget> {
        let counting = self.0.iter().filter_map(|budget| {
            let spec = budget.spec.as_ref()?;
            let shares =
                spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)));
            let selector = spec.selector.clone().and_then(|selector| Selector::try_from(selector).ok())?;
            let max_unavailable = match spec.max_unavailable {
                Some(IntOrString::Int(number)) => Some(number),
                Some(IntOrString::String(_)) | None => None,
            };
            (shares && selector.matches(labels)).then(|| Budget { name: budget.name_any(), max_unavailable })
        });
        counting.collect()
    }
}

#[cfg(test)]
impl Budgets {
    /// Budgets that were listed.
    pub(crate) fn of(budgets: &[serde_json::Value]) -> Self {
        Self(budgets.iter().map(|one| serde_json::from_value(one.clone()).unwrap()).collect())
    }
}

// === impl Cluster ===

impl Cluster {
    /// The Services of a namespace.
    pub async fn services(&self, namespace: &str) -> Services {
        let api: Api<Service> = Api::namespaced(self.client(), namespace);
        Services(api.list(&ListParams::default()).await.map(|list| list.items).ok())
    }

    /// How the live workload holds `claims`. A claim that cannot be read counts as
    /// exclusive: the live disk is never at stake.
    pub async fn claims(&self, namespace: &str, claims: Vec<String>) -> Claims {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), namespace);
        let modes = stream::iter(claims).map(|claim| {
            let api = &api;
            async move {
                let found = api.get(&claim).await.ok().and_then(|found| found.spec?.access_modes);
                (claim, found.unwrap_or_default())
            }
        });
        let mut claims = Claims::default();
        for (claim, modes) in modes.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
            if is_exclusive(&modes) {
                claims.exclusive.insert(claim);
            } else if modes.iter().any(|mode| mode == "ReadWriteMany") {
                claims.shared.insert(claim);
            }
        }
        claims
    }

    /// The disruption budgets of a namespace.
    pub async fn budgets(&self, namespace: &str) -> Budgets {
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client(), namespace);
        Budgets(api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default())
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
    use serde_json::json;

    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
            let listed = Services::of(&[json!({"metadata": {"name": "a"}, "spec": {"selector": selector}})]);
            assert_eq!(listed.select(&shop), selects, "{selector}");
        }
        assert!(Services::unknown().select(&shop), "assumed where they may not be listed");
        assert_eq!(Services::unknown().before(&shop, &[80]), None);
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
            let listed = Services::of(&[json!({"metadata": {"name": "shop"}, "spec": spec})]);
            let expected = before.map(|port| ("shop".to_owned(), port));
            assert_eq!(listed.before(&labels(&[("app", "shop")]), &[8080]), expected, "{port}");
        }
    }

    #[tokio::test]
    async fn a_claim_that_cannot_be_read_counts_as_exclusive_and_hides_no_other() {
        let claim = |mode: &str| Answer::of(json!({"metadata": {}, "spec": {"accessModes": [mode]}}));
        let api = FakeApi::new([Answer::refusal(403, "no"), claim("ReadWriteMany"), claim("ReadWriteOnce")]);
        let claims = ["a", "b", "c"].map(str::to_owned).to_vec();
        let claims = api.cluster().claims("shop", claims).await;
        assert_eq!(claims.exclusive, ["a", "c"].map(str::to_owned).into());
        assert_eq!(claims.shared, ["b"].map(str::to_owned).into());
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
