//! What every environment has: a root, a ReplicaSet and the preview pods.

use super::{Condition, Failed, Feature, State, WaitLimit};
use crate::cluster::Leftover;
use crate::preview::plan::Request;
use crate::preview::progress::{Observed, PodsState};
use crate::preview::rights::RightExtent::{Needed, Useful};
use crate::preview::rights::{Right, right};
use crate::problem::{Exit, Problem};

pub(super) static FEATURE: Feature = Feature {
    user: USER,
    gone: GONE,
    condition: |observed, request, _| Some(condition(observed, request)),
    ..Feature::EMPTY
};

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
    right(
        Useful,
        "networking.k8s.io",
        "ingresses",
        &["list"],
        "load balancers that would send requests to the preview",
    ),
    right(
        Useful,
        "elbv2.k8s.aws",
        "targetgroupbindings",
        &["list"],
        "load balancers of AWS that would send requests to the preview, if the cluster has this kind",
    ),
    right(
        Useful,
        "eks.amazonaws.com",
        "targetgroupbindings",
        &["list"],
        "load balancers of EKS Auto Mode that would send requests to the preview, if the cluster has this kind",
    ),
    right(
        Useful,
        "networking.gke.io",
        "servicenetworkendpointgroups",
        &["list"],
        "load balancers of Google that would send requests to the preview, if the cluster has this kind",
    ),
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

/// Whether the preview pods are ready.
fn condition(observed: &Observed, request: &Request) -> Condition {
    let (state, why) = match observed.preview_pods(request.replicas) {
        PodsState::Ready(since) => (State::Met { since, notes: Vec::new() }, String::new()),
        PodsState::Waiting(why) => (State::Unmet(patience(observed)), why),
        PodsState::Failed(failure) => {
            let what = format!("the preview pod failed in namespace `{}`", request.namespace);
            let mut cause = Problem::new(failure.why.clone());
            if let Some(crash) = &failure.crash {
                cause = cause.stored_as(crash.brief.clone());
            }
            let mut problem = Problem::new(what).because(cause).exit(Exit::PreviewFailed);
            if let Some(hint) = failure.hint {
                problem = problem.hint(hint);
            }
            (State::Failed(Failed { problem, crash: failure.crash }), failure.why)
        }
    };
    Condition { name: "pods", state, why }
}

fn patience(observed: &Observed) -> WaitLimit {
    let hint = "wait longer with `--timeout <seconds>`, or look at `kubectl get events`";
    WaitLimit {
        hint: Some(hint.to_owned()),
        error: |time| format!("the preview was not ready within {time}"),
        exit: Exit::TimedOut,
        limit: None,
        explained_by: observed.pod_names(),
    }
}
