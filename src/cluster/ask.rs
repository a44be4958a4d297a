//! Questions that change nothing: rights, dry runs, and facts about pods and nodes.

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams, PostParams};

use serde_json::Value;

use super::{AT_ONCE, Cluster, Error, Result, messages};

/// A verb on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The API group.
    pub group: &'static str,
    /// The resource, with its subresource behind a slash.
    pub resource: &'static str,
    /// The verb.
    pub verb: &'static str,
}

/// The API server's answer to a dry run of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod would be created.
    Taken,
    /// Unknown: the user may not dry-run, or a webhook does not support dry runs.
    Untold,
    /// The pod cannot be created now, and why; another try may succeed.
    NotNow(String),
    /// The pod would be refused, and why.
    Refused(String),
}

// === impl Verdict ===

impl Verdict {
    /// Reads the API server's answer to a dry run.
    fn of(error: &Error) -> Self {
        let words = error.to_string();
        match error {
            Error::Forbidden { right: Some(_), .. } => Self::Untold,
            // A webhook with side effects: neither code nor reason are its own.
            Error::Invalid(_) if words.contains("does not support dry run") => Self::Untold,
            Error::Forbidden { .. } if messages::lacks_account(&words) => Self::NotNow(words),
            Error::Forbidden { .. } | Error::Invalid(_) => Self::Refused(words),
            Error::NotFound(_) | Error::Conflict(_) | Error::Unavailable(_) => Self::NotNow(words),
            _ => Self::Untold,
        }
    }
}

// === impl Access ===

impl Access {
    /// Whether a rule allows it, for objects of any name.
    fn is_in(&self, rule: &ResourceRule) -> bool {
        let holds = |list: &[String], word: &str| list.iter().any(|one| one == "*" || one == word);
        let any = self.resource.split_once('/').map(|(_, part)| format!("*/{part}"));
        let resources = rule.resources.as_deref().unwrap_or_default();
        rule.resource_names.as_ref().is_none_or(Vec::is_empty)
            && holds(&rule.verbs, self.verb)
            && holds(rule.api_groups.as_deref().unwrap_or_default(), self.group)
            && (holds(resources, self.resource) || any.is_some_and(|any| resources.contains(&any)))
    }
}

// === impl Cluster ===

impl Cluster {
    /// Those of `asked` that the user may not do.
    pub async fn refused(&self, namespace: &str, asked: Vec<Access>) -> Result<Vec<Access>> {
        let answers = stream::iter(asked).map(|access| async move {
            let allowed = self.may(namespace, &access).await;
            allowed.map(|allowed| (access, allowed))
        });
        let answers: Vec<_> = answers.buffered(AT_ONCE).collect().await;
        let mut refused = Vec::new();
        for answer in answers {
            let (access, allowed) = answer?;
            if !allowed {
                refused.push(access);
            }
        }
        Ok(refused)
    }

    /// The same, with one request for everything that the user's rules in the
    /// namespace allow. The list of rules may be incomplete, so that the rest is
    /// asked for one by one.
    pub async fn refused_at_once(&self, namespace: &str, asked: Vec<Access>) -> Result<Vec<Access>> {
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
            ..SelfSubjectRulesReview::default()
        };
        let api: Api<SelfSubjectRulesReview> = Api::all(self.client());
        let answer = api.create(&PostParams::default(), &review).await.ok();
        let rules = answer.and_then(|answer| answer.status).map(|status| status.resource_rules);
        let rules = rules.unwrap_or_default();
        let plain = |access: &Access| rules.iter().any(|rule| access.is_in(rule));
        self.refused(namespace, asked.into_iter().filter(|access| !plain(access)).collect()).await
    }

    async fn may(&self, namespace: &str, access: &Access) -> Result<bool> {
        let (resource, subresource) = match access.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (access.resource, None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.to_owned()),
                    verb: Some(access.verb.to_owned()),
                    group: Some(access.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client());
        let answer = api.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// The user's name as the API server knows it; `None` where it does not say.
    pub async fn user(&self) -> Option<String> {
        let api: Api<SelfSubjectReview> = Api::all(self.client());
        let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
        review.status?.user_info?.username
    }

    /// Whether a namespace exists; `None` where the user may not see it.
    pub async fn has_namespace(&self, name: &str) -> Option<bool> {
        let api: Api<Namespace> = Api::all(self.client());
        api.get_metadata_opt(name).await.ok().map(|found| found.is_some())
    }

    /// The pods with these labels, or of this name. At most one page; none where they
    /// may not be listed.
    pub async fn pods_like(&self, namespace: &str, labels: Option<&str>, name: Option<&str>) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let mut parameters = ListParams::default().limit(super::sessions::PAGE);
        parameters.label_selector = labels.map(str::to_owned);
        parameters.field_selector = name.map(|name| format!("metadata.name={name}"));
        api.list(&parameters).await.map(|list| list.items).unwrap_or_default()
    }

    /// Whether a pod with this template would be created, by the judgement of quotas,
    /// limits, Pod Security and webhooks.
    pub async fn would_take_pod(&self, namespace: &str, name: &str, template: &Value) -> Verdict {
        let mut pod = template.clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["namespace"] = namespace.into();
        // As a ReplicaSet names its pods: the answer quotes the name.
        pod["metadata"]["generateName"] = format!("{name}-").into();
        match self.would_create(pod).await {
            Ok(()) => Verdict::Taken,
            Err(error) => Verdict::of(&error),
        }
    }

    /// The kernels of nodes, as they call themselves, without those that cannot
    /// be read.
    pub async fn kernels(&self, nodes: &[String]) -> Vec<(String, String)> {
        let api: Api<Node> = Api::all(self.client());
        let kernels = stream::iter(nodes).map(|name| {
            let api = &api;
            async move {
                let info = api.get(name).await.ok()?.status?.node_info?;
                Some((name.clone(), info.kernel_version))
            }
        });
        kernels.buffered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// The network policies of a namespace; none where they may not be listed.
    pub async fn network_policies(&self, namespace: &str) -> Vec<NetworkPolicy> {
        let api: Api<NetworkPolicy> = Api::namespaced(self.client(), namespace);
        api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
    }

    /// The port of the API server in the kubeconfig.
    pub fn port(&self) -> u16 {
        self.long_lived.config.cluster_url.port_u16().unwrap_or(443)
    }
}

/// The node that a pod runs on, and the mesh sidecars in it.
pub fn place(pod: &Pod) -> (Option<String>, Vec<String>) {
    let spec = pod.spec.clone().unwrap_or_default();
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let names = containers.map(|container| container.name.clone());
    let meshes = names.filter(|name| crate::workload::container::is_mesh(name)).collect();
    (spec.node_name, meshes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_allows_the_verbs_and_resources_it_names_unless_it_is_for_single_objects() {
        let exec = Access { group: "", resource: "pods/exec", verb: "create" };
        for (groups, resources, verbs, names, allows) in [
            (json!([""]), json!(["pods/exec"]), json!(["create"]), json!(null), true),
            (json!(["*"]), json!(["*"]), json!(["*"]), json!([]), true),
            (json!([""]), json!(["*/exec"]), json!(["get", "create"]), json!(null), true),
            (json!([""]), json!(["pods"]), json!(["create"]), json!(null), false),
            (json!([""]), json!(["pods/exec"]), json!(["get"]), json!(null), false),
            (json!(["apps"]), json!(["pods/exec"]), json!(["create"]), json!(null), false),
            (json!([""]), json!(["pods/exec"]), json!(["create"]), json!(["one"]), false),
        ] {
            let rule =
                json!({"apiGroups": groups, "resources": resources, "verbs": verbs, "resourceNames": names});
            let parsed: ResourceRule = serde_json::from_value(rule.clone()).unwrap();
            assert_eq!(exec.is_in(&parsed), allows, "{rule}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_dry_run_without_an_answer() {
        let refused = |text: &str| Verdict::Refused(text.to_owned());
        let not_now = |text: &str| Verdict::NotNow(text.to_owned());
        for (code, message, verdict) in [
            (
                403,
                r#"pods is forbidden: User "ann" cannot create resource "pods" in API group "" in the namespace "shop""#,
                (|_| Verdict::Untold) as fn(&str) -> Verdict,
            ),
            (400, r#"admission webhook "w" does not support dry run"#, |_| Verdict::Untold),
            (403, r#"pods "x" is forbidden: exceeded quota: small"#, refused),
            (403, r#"pods "x" is forbidden: no PriorityClass with name high was found"#, refused),
            (400, r#"admission webhook "w" denied the request: no"#, refused),
            (422, r#"Pod "x" is invalid: spec.containers: Required value"#, refused),
            (403, r#"pods "x" is forbidden: error looking up service account shop/x: not found"#, not_now),
            (404, r#"namespaces "shop" not found"#, not_now),
            (500, "Internal error occurred: failed calling webhook \"w\"", not_now),
        ] {
            let status =
                kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
            let error = Error::from(kube::Error::Api(status.boxed()));
            assert_eq!(Verdict::of(&error), verdict(message), "{message}");
        }
        assert_eq!(Verdict::of(&Error::Unreachable("connection refused".to_owned())), Verdict::Untold);
    }
}
