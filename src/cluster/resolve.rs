//! From a target's name to the template of its pods.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::read::{PAGE, every};
use super::{Cluster, explain};
use crate::problem::{Exit, Problem, Report};
use crate::words;
use crate::workload::{KINDS, Kind, Origin, Source, Target, find};

// === impl Cluster ===

impl Cluster {
    /// Reads the template of the target's pods from the live objects.
    pub async fn source(&self, target: &Target, namespace: &str) -> Result<Source> {
        let what = || format!("could not find `{}` in namespace `{namespace}`", target.path());
        let object = match self.workloads(target.kind(), namespace).get(target.name()).await {
            Ok(object) => object,
            Err(error) => {
                let problem = explain::api(&error, what());
                if explain::is_not_found(&error) {
                    return Err(self.what_exists(target, namespace, problem).await.into());
                }
                return Err(problem.into());
            }
        };
        match target.origin(&whole(object)) {
            Some(Origin::Here(source)) => Ok(source),
            Some(Origin::Elsewhere { kind, name }) => {
                let problem = || {
                    let path = format!("{}/{name}", kind.to_lowercase());
                    Problem::new(format!(
                        "`{}` takes its pods from `{path}`, which cannot be copied",
                        target.path()
                    ))
                };
                let other = find(&kind).ok_or_else(problem)?;
                let object = self.workloads(other, namespace).get(&name).await;
                let object = object.map_err(|error| explain::api(&error, problem().to_string()))?;
                match other.origin(&whole(object)) {
                    Some(Origin::Here(source)) => Ok(source),
                    _ => Err(problem().into()),
                }
            }
            Some(Origin::Selected(labels)) => self.selected(target, namespace, &labels).await,
            None => Err(Problem::new(format!(
                "`{}` in namespace `{namespace}` makes no pods to copy",
                target.path()
            ))
            .into()),
        }
    }

    /// The digest of the template that a target has now; `None` inside once the
    /// target is gone, and outside where that cannot be told.
    pub async fn digest(&self, target: &Target, namespace: &str) -> Option<Option<String>> {
        match self.source(target, namespace).await {
            Ok(source) => Some(source.digest()),
            Err(error) if Report::of(&error).exit == Exit::NotFound => Some(None),
            Err(_) => None,
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

    /// The workload whose pods a Service selects: exactly one.
    async fn selected(
        &self,
        target: &Target,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Source> {
        let mut found: Vec<(String, Source)> = Vec::new();
        let mut refused = None;
        for kind in KINDS.iter().filter(|kind| kind.is_behind_service) {
            match every(&self.workloads(kind, namespace), ListParams::default()).await {
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
                // A kind that this cluster does not have.
                Err(error) if explain::is_not_found(&error) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let what =
            format!("could not find the workload behind `{}` in namespace `{namespace}`", target.path());
        match (&found[..], refused) {
            ([(_, source)], _) => Ok(source.clone()),
            ([], Some(error)) => Err(explain::api(&error, what).into()),
            ([], None) => Err(Problem::new(what)
                .because_of(if labels.is_empty() {
                    "it selects no pods".to_owned()
                } else {
                    format!("no workload's pods carry what it selects: {}", json!(labels))
                })
                .hint("name the workload itself, as in `-t deployment/<name>`")
                .exit(Exit::NotFound)
                .into()),
            (several, _) => {
                let names: Vec<String> = several.iter().map(|(name, _)| name.clone()).collect();
                Err(Problem::new(what)
                    .because_of(format!("it selects the pods of {}", words::quoted_list(&names)))
                    .hint(format!("name one of them, as in `-t {}`", names[0]))
                    .exit(Exit::NotFound)
                    .into())
            }
        }
    }

    /// Says what there is in place of a target that is not there.
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
            None => {
                problem.hint(format!("there is {}; or pass `-n <namespace>`", words::quoted_list(&names)))
            }
        }
    }
}

/// A dynamic object as the JSON that it was.
fn whole(object: DynamicObject) -> Value {
    let mut value = object.data;
    value["metadata"] = json!(object.metadata);
    value
}
