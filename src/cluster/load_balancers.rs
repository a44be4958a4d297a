//! Signs of load balancers that send requests to pods of a Service although they are
//! not Ready: controllers of AWS and Google take a pod once its containers are ready,
//! because a pod's readiness may depend on the load balancer itself.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{Cluster, Error};
use crate::contract::assignment::Pods;
use crate::session::SESSION;
use crate::workload::Source;

/// The kinds of objects that bind a Service to a group of targets of AWS. The second
/// is that of EKS Auto Mode.
const BINDINGS: [(&str, &str); 2] = [("elbv2.k8s.aws", "v1beta1"), ("eks.amazonaws.com", "v1")];
/// The kind of objects that describe the network endpoint groups of Google.
const GROUPS: (&str, &str) = ("networking.gke.io", "v1beta1");
/// The label of namespaces in which AWS's controller adds its readiness gate to pods.
const INJECTION: &str = "/pod-readiness-gate-inject";

/// Objects that were listed; `Err` holds the resource that may not be.
pub(crate) type Listed = Result<Vec<Value>, String>;

/// The signs that were read, as far as the user may read them. Kinds that the cluster
/// does not have are empty lists.
#[derive(Clone, Debug)]
pub struct LoadBalancers {
    /// The `TargetGroupBinding`s of the namespace.
    pub bindings: Listed,
    /// The `ServiceNetworkEndpointGroup`s of the namespace.
    pub groups: Listed,
    /// The Ingresses of the namespace.
    pub ingresses: Listed,
    /// The readiness gates of the target's live pods and of its template.
    pub gates: Vec<String>,
    /// Whether the namespace asks AWS's controller for its readiness gates; `None`
    /// where it may not be read.
    pub injects_gates: Option<bool>,
}

// === impl Cluster ===

impl Cluster {
    /// The signs of load balancers in a namespace; `pods` are the target's, where it
    /// keeps some running.
    pub async fn load_balancers(
        &self,
        namespace: &str,
        source: &Source,
        pods: Option<&Pods>,
    ) -> LoadBalancers {
        // Everybody may ask for the groups. Lists of a kind that the cluster does not
        // have are refused to people without the right.
        let groups = self.client().list_api_groups().await.ok();
        let has = |group: &str| {
            groups.as_ref().is_none_or(|groups| groups.groups.iter().any(|one| one.name == group))
        };
        let list = |(group, version): (&str, &str), kind: &str, plural: &str| {
            let types = GroupVersionKind::gvk(group, version, kind);
            let types = ApiResource::from_gvk_with_plural(&types, plural);
            let (is_there, client) = (has(group), self.client());
            async move {
                if !is_there {
                    return Ok(Vec::new());
                }
                let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &types);
                match api.list(&ListParams::default()).await.map_err(Error::from) {
                    Ok(list) => Ok(list.items.into_iter().map(|one| json!(one)).collect()),
                    Err(error) if error.is_not_found() => Ok(Vec::new()),
                    Err(_) => Err(format!("{}.{}", types.plural, types.group)),
                }
            }
        };
        let bindings = |of| list(of, "TargetGroupBinding", "targetgroupbindings");
        let (aws, auto, groups, ingresses, mut gates, injects_gates) = futures::join!(
            bindings(BINDINGS[0]),
            bindings(BINDINGS[1]),
            list(GROUPS, "ServiceNetworkEndpointGroup", "servicenetworkendpointgroups"),
            self.ingresses(namespace),
            self.live_gates(namespace, pods),
            self.injects_gates(namespace)
        );
        let of_template = source.template.get("spec").and_then(|spec| spec.get("readinessGates")?.as_array());
        let of_template = of_template.into_iter().flatten();
        gates.extend(of_template.filter_map(|gate| gate.get("conditionType")?.as_str().map(str::to_owned)));
        LoadBalancers {
            bindings: aws.and_then(|aws| Ok([aws, auto?].concat())),
            groups,
            ingresses,
            gates,
            injects_gates,
        }
    }

    async fn ingresses(&self, namespace: &str) -> Listed {
        let api: Api<Ingress> = Api::namespaced(self.client(), namespace);
        match api.list(&ListParams::default()).await {
            Ok(list) => Ok(list.items.into_iter().map(|one| json!(one)).collect()),
            Err(_) => Err("ingresses.networking.k8s.io".to_owned()),
        }
    }

    /// The readiness gates of the target's live pods.
    async fn live_gates(&self, namespace: &str, pods: Option<&Pods>) -> Vec<String> {
        let pods = match pods {
            Some(Pods::Labelled(labels)) => {
                self.pods_like(namespace, Some(&format!("{labels},!{SESSION}")), None).await
            }
            Some(Pods::Named(name)) => self.pods_like(namespace, None, Some(name)).await,
            None => Vec::new(),
        };
        let gates = pods.iter().filter_map(|pod| pod.spec.as_ref()?.readiness_gates.as_ref()).flatten();
        gates.map(|gate| gate.condition_type.clone()).collect()
    }

    async fn injects_gates(&self, namespace: &str) -> Option<bool> {
        let api: Api<Namespace> = Api::all(self.client());
        let labels = api.get_metadata(namespace).await.ok()?.metadata.labels.unwrap_or_default();
        Some(labels.iter().any(|(name, value)| name.ends_with(INJECTION) && value == "enabled"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};

    fn api(is_aws: bool) -> FakeApi {
        FakeApi::by(move |asked| {
            let list = |items: Value| Some(Answer::of(json!({"metadata": {}, "items": items})));
            let group = |name: &str| json!({"name": name, "versions": [{"groupVersion": format!("{name}/v1"), "version": "v1"}]});
            match asked.path.as_str() {
                "/apis" => {
                    let groups: Vec<_> = is_aws.then(|| group("elbv2.k8s.aws")).into_iter().collect();
                    Some(Answer::of(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})))
                }
                "/apis/networking.k8s.io/v1/namespaces/shop/ingresses" => list(json!([])),
                "/api/v1/namespaces/shop/pods" => list(json!([
                    {"metadata": {"name": "a"}, "spec": {"containers": [], "readinessGates": [{"conditionType": "target-health.elbv2.k8s.aws/a"}]}},
                ])),
                "/api/v1/namespaces/shop" => Some(Answer::of(json!({
                    "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                    "metadata": {"name": "shop", "labels": {"elbv2.k8s.aws/pod-readiness-gate-inject": "enabled"}},
                }))),
                _ => Some(Answer::refusal(403, "no")),
            }
        })
    }

    #[tokio::test]
    async fn a_kind_that_the_cluster_does_not_have_is_not_a_missing_right() {
        let (source, pods) = (Source::default(), Pods::Labelled("app=shop".to_owned()));
        let read = api(false).cluster().load_balancers("shop", &source, Some(&pods)).await;
        assert_eq!(
            (read.bindings, read.groups, read.ingresses),
            (Ok(Vec::new()), Ok(Vec::new()), Ok(Vec::new()))
        );
        assert_eq!(read.gates, ["target-health.elbv2.k8s.aws/a"]);
        assert_eq!(read.injects_gates, Some(true));
        let read = api(true).cluster().load_balancers("shop", &source, Some(&pods)).await;
        assert_eq!(read.bindings, Err("targetgroupbindings.elbv2.k8s.aws".to_owned()));
    }
}
