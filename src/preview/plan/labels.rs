//! The labels of an environment's pods, known before there is a plan.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use serde_json::Value;

use crate::config::env::Keep;
use crate::session::{Identity, ROLE, Role};
use crate::workload::Source;

/// Labels that name the controller that made a pod. They are kept off the
/// preview, or that controller would take the preview for one of its own.
const CONTROLLER_LABELS: &[&str] = &[
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "rollouts-pod-template-hash",
    "controller-uid",
    "job-name",
];
const CONTROLLER_LABEL_DOMAINS: &[&str] =
    &["statefulset.kubernetes.io/", "batch.kubernetes.io/", "apps.kubernetes.io/pod-index"];

/// The labels of one pod.
pub(crate) type Labels = BTreeMap<String, String>;

/// The labels of the preview pods: the target's that are to be kept, and ours.
/// `left_off` are labels by which the preview would harm live pods.
pub(crate) fn preview(
    identity: &Identity,
    source: &Source,
    keep: &Keep,
    left_off: &BTreeSet<String>,
) -> Labels {
    let mut labels = source.labels();
    labels.retain(|name, _| !names_controller(name) && keep.keeps(name) && !left_off.contains(name));
    labels.extend(ours(identity, Role::Preview));
    labels
}

/// The labels of the keeper's pod: `agent.labels` of the configuration, and ours.
pub(crate) fn keeper(identity: &Identity, configured: &Labels) -> Labels {
    let mut labels = configured.clone();
    labels.extend(ours(identity, Role::Keeper));
    labels
}

/// Added last, so that nothing changes the labels by which our pods are found.
fn ours(identity: &Identity, role: Role) -> Labels {
    let mut labels = identity.labels();
    labels.insert(ROLE.to_owned(), role.as_str().to_owned());
    labels
}

/// Whether pods with `labels` carry all that `selector` asks for.
pub(crate) fn carry(labels: &Labels, selector: &Labels) -> bool {
    selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Whether a `LabelSelector` selects pods with `labels`. One that is not there, or
/// that is in no form that Kubernetes would take, selects nothing.
pub(crate) fn selects(selector: Option<&Value>, labels: &Labels) -> bool {
    let selector = selector.filter(|selector| selector.is_object());
    let selector =
        selector.and_then(|selector| serde_json::from_value::<LabelSelector>(selector.clone()).ok());
    selector.and_then(|selector| Selector::try_from(selector).ok()).is_some_and(|one| one.matches(labels))
}

/// Whether a label names the controller that made a pod.
pub(super) fn names_controller(label: &str) -> bool {
    CONTROLLER_LABELS.contains(&label)
        || CONTROLLER_LABEL_DOMAINS.iter().any(|domain| label.starts_with(domain))
}
