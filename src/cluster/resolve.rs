//! Finding the template of a target's pods by the target's name.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::sessions::{PAGE, every};
use super::{Cluster, Error};
use crate::problem::{Exit, Problem};
use crate::words;
use crate::workload::{KINDS, Kind, Origin, Source, Target, find};

/// Why the template of a target's pods could not be read.
struct Unresolved {
    /// Whether the target, or the workload behind it, does not exist.
    is_missing: bool,
    problem: Problem,
}

// === impl Cluster ===

impl Cluster {
    /// Reads the template of the target's pods from the live objects.
    pub async fn source(&self, target: &Target, namespace: &str) -> anyhow::Result<Source> {
        Ok(self.resolved(target, namespace).await.map_err(|Unresolved { problem, .. }| problem)?)
    }

    /// The digest of the template that a target has now; `None` inside once the
    /// target is gone, and outside where that cannot be told.
    pub async fn digest(&self, target: &Target, namespace: &str) -> Option<Option<String>> {
        match self.resolved(target, namespace).await {
            Ok(source) => Some(source.digest()),
            Err(unresolved) => unresolved.is_missing.then_some(None),
        }
    }

    async fn resolved(&self, target: &Target, namespace: &str) -> Result<Source, Unresolved> {
        let what = || format!("could not find `{}` in namespace `{namespace}`", target.path());
        let object = match self.workloads(target.kind(), namespace).get(target.name()).await {
            Ok(object) => object,
            Err(error) => {
                let mut unresolved = Unresolved::of(error.into(), what());
                if unresolved.is_missing {
                    unresolved.problem = self.what_exists(target, namespace, unresolved.problem).await;
                }
                return Err(unresolved);
            }
        };
        match target.origin(&whole(object)) {
            Some(Origin::Here(source)) => Ok(source),
            Some(Origin::Elsewhere { kind, name }) => {
                let what = || {
                    let path = format!("{}/{name}", kind.to_lowercase());
                    format!("`{}` takes its pods from `{path}`, which cannot be copied", target.path())
                };
                let refused = || Unresolved::refused(Problem::new(what()));
                let other = find(&kind).ok_or_else(refused)?;
                let object = self.workloads(other, namespace).get(&name).await;
                let object = object.map_err(|error| Unresolved::of(error.into(), what()))?;
                match other.origin(&whole(object)) {
                    Some(Origin::Here(source)) => Ok(source),
                    _ => Err(refused()),
                }
            }
            Some(Origin::Selected(labels)) => self.selected(target, namespace, &labels).await,
            None => Err(Unresolved::refused(Problem::new(format!(
                "`{}` in namespace `{namespace}` makes no pods to copy",
                target.path()
            )))),
        }
    }

    pub(super) fn workloads(&self, kind: &Kind, namespace: &str) -> Api<DynamicObject> {
        let types = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
        Api::namespaced_with(
            self.client(),
            namespace,
            &ApiResource::from_gvk_with_plural(&types, kind.plural),
        )
    }

    /// The one workload whose pods a Service selects.
    async fn selected(
        &self,
        target: &Target,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Source, Unresolved> {
        let mut found: Vec<(String, Source)> = Vec::new();
        let mut refused = None;
        let kinds = KINDS.iter().filter(|kind| kind.is_behind_service);
        let lists = join_all(kinds.map(|kind| async move {
            (kind, every(&self.workloads(kind, namespace), ListParams::default()).await)
        }));
        for (kind, list) in lists.await {
            match list {
                // The cluster does not have this kind.
                Err(error) if error.is_not_found() => {}
                Ok(objects) => found.extend(objects.into_iter().filter_map(|object| {
                    let owned = object.owner_references().iter().any(|owner| owner.controller == Some(true));
                    let name = format!("{}/{}", kind.name, object.name_any());
                    match kind.origin(&whole(object)) {
                        Some(Origin::Here(source))
                            if !owned && !labels.is_empty() && source.carries(labels) =>
                        {
                            Some((name, source))
                        }
                        _ => None,
                    }
                })),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let what =
            format!("could not find the workload behind `{}` in namespace `{namespace}`", target.path());
        match (&found[..], refused) {
            ([(_, source)], _) => Ok(source.clone()),
            ([], Some(error)) => Err(Unresolved::of(error, what)),
            ([], None) => Err(Unresolved::missing(
                Problem::new(what)
                    .because_of(if labels.is_empty() {
                        "it has no selector".to_owned()
                    } else {
                        format!("it selects {}, and no workload makes such pods", json!(labels))
                    })
                    .hint("name the workload itself, as in `-t deployment/<name>`"),
            )),
            (several, _) => {
                let names: Vec<String> = several.iter().map(|(name, _)| name.clone()).collect();
                Err(Unresolved::missing(
                    Problem::new(what)
                        .because_of(format!("it selects the pods of {}", words::quoted_list(&names)))
                        .hint(format!("name one of them, as in `-t {}`", names[0])),
                ))
            }
        }
    }

    /// Hints at the targets that exist in place of one that does not.
    async fn what_exists(&self, target: &Target, namespace: &str, problem: Problem) -> Problem {
        let kind = target.kind();
        let list = self.workloads(kind, namespace).list_metadata(&ListParams::default().limit(PAGE)).await;
        let names: Vec<String> = match list {
            Ok(list) => list.items.iter().map(kube::ResourceExt::name_any).collect(),
            Err(_) => return problem.hint(format!("pass `-t {}/<name>` or `-n <namespace>`", kind.name)),
        };
        if names.is_empty() {
            let namespaces: Api<Namespace> = Api::all(self.client());
            if matches!(namespaces.get_metadata_opt(namespace).await, Ok(None)) {
                return problem.hint(format!("there is no namespace `{namespace}`: pass `-n <namespace>`"));
            }
            return problem
                .hint(format!("there are no {} in `{namespace}`: pass `-n <namespace>`", kind.plural));
        }
        match words::closest(target.name(), names.iter().map(String::as_str)) {
            Some(name) => problem.hint(format!("did you mean `{}/{name}`?", kind.name)),
            None => problem
                .hint(format!("the namespace has {}; or pass `-n <namespace>`", words::quoted_list(&names))),
        }
    }
}

// === impl Unresolved ===

impl Unresolved {
    fn of(error: Error, what: String) -> Self {
        Self { is_missing: error.is_not_found(), problem: error.into_problem(what) }
    }

    fn missing(problem: Problem) -> Self {
        Self { is_missing: true, problem: problem.exit(Exit::NotFound) }
    }

    const fn refused(problem: Problem) -> Self {
        Self { is_missing: false, problem }
    }
}

/// A dynamic object as JSON.
fn whole(object: DynamicObject) -> Value {
    let mut value = object.data;
    value["metadata"] = json!(object.metadata);
    value
}
