//! What every environment has: a root, a ReplicaSet and the preview pods.

use super::Feature;
use crate::cluster::Leftover;
use crate::preview::rights::Extent::{Needed, Useful};
use crate::preview::rights::{Right, right};

pub(super) static FEATURE: Feature = Feature { user: USER, gone: GONE, ..Feature::EMPTY };

const GONE: &[Leftover] = &[Leftover::new("apps", "ReplicaSet", "replicasets", "the ReplicaSet")];

const USER: &[Right] = &[
    right(
        Needed,
        "batch",
        "jobs",
        &["create", "get", "list", "watch", "patch", "delete"],
        "the root of an environment is a Job",
    ),
    right(Needed, "apps", "replicasets", &["create", "list", "watch"], "a ReplicaSet runs the preview pods"),
    right(Needed, "", "pods", &["list", "watch"], "to see when the preview is ready, and why it is not"),
    right(Useful, "", "services", &["list"], "Services that would route to the preview"),
    right(Useful, "", "pods/log", &["get"], "the last log lines of a preview that crashes"),
    right(Useful, "", "events", &["list"], "why an image is not pulled, or a pod is not scheduled"),
    right(Useful, "", "persistentvolumeclaims", &["get"], "volumes that only the live workload may mount"),
    right(
        Useful,
        "policy",
        "poddisruptionbudgets",
        &["list"],
        "PodDisruptionBudgets that count the preview pods",
    ),
    right(
        Useful,
        "autoscaling",
        "horizontalpodautoscalers",
        &["list"],
        "HorizontalPodAutoscalers that count the preview pods",
    ),
];
