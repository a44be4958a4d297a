//! Traffic: requests to the target that come to the preview. A keeper runs in
//! the root's pod and starts agents in the target's pods.

use super::Feature;
use crate::cluster::Leftover;
use crate::config::scalar::Mode;
use crate::preview::rights::Extent::{Needed, RootAlone, Useful};
use crate::preview::rights::{Right, right};

pub(super) static FEATURE: Feature = Feature {
    is_wanted: |config| config.incoming.mode != Some(Mode::Off),
    is_planned: |request| request.routing.is_some(),
    user: USER,
    keeper: KEEPER,
    gone: GONE,
    ..Feature::EMPTY
};

const RBAC: &str = "rbac.authorization.k8s.io";

const GONE: &[Leftover] = &[
    Leftover::new("networking.k8s.io", "NetworkPolicy", "networkpolicies", "the NetworkPolicy"),
    Leftover::new(RBAC, "RoleBinding", "rolebindings", "the keeper's RoleBinding"),
    Leftover::new(RBAC, "Role", "roles", "the keeper's Role"),
    Leftover::new("", "ServiceAccount", "serviceaccounts", "the keeper's ServiceAccount"),
];

const USER: &[Right] = &[
    right(Useful, "", "serviceaccounts", &["get"], "whether a ServiceAccount for the keeper exists"),
    right(
        Useful,
        "networking.k8s.io",
        "networkpolicies",
        &["list", "create"],
        "network policies between the target and the preview",
    ),
];

const KEEPER: &[Right] = &[
    right(Needed, "", "pods", &["list", "watch"], "to watch the pods of the target and of the preview"),
    right(Needed, "", "pods/ephemeralcontainers", &["patch"], "to start an agent in each pod of the target"),
    // A WebSocket begins as a GET; Kubernetes 1.35 asks for `create` all the same.
    right(
        Needed,
        "",
        "pods/exec",
        &["create", "get"],
        "to send the agents their rules: agents listen on no port",
    ),
    right(
        Needed,
        "",
        "pods/status",
        &["patch"],
        "to write on the preview pods whether requests reach them, as a condition",
    ),
    right(
        RootAlone,
        "batch",
        "jobs",
        &["get", "patch"],
        "to read the environment's deadline, and to report on its root",
    ),
];
