//! Who needs which right, and why: the keeper, and whoever starts previews.

use serde_json::{Value, json};

/// One right, and what it is for.
pub(crate) struct Right {
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) verbs: &'static [&'static str],
    pub(crate) extent: Extent,
    pub(crate) reason: &'static str,
}

/// How much of the namespace a right is for, and how much depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Without it nothing goes.
    Needed,
    /// The same, but for the environment's own root alone, where that has a name.
    RootAlone,
    /// Without it something goes unsaid.
    Useful,
}

use Extent::{Needed, RootAlone, Useful};

const fn right(
    extent: Extent,
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    reason: &'static str,
) -> Right {
    Right { group, resource, verbs, extent, reason }
}

/// All that a keeper may do.
pub(crate) const KEEPER: &[Right] = &[
    right(
        Needed,
        "",
        "pods",
        &["list", "watch"],
        "to see the target's pods and the preview's come, become ready and go",
    ),
    right(
        Needed,
        "",
        "pods/ephemeralcontainers",
        &["patch"],
        "to put an agent beside the containers of each of the target's pods",
    ),
    // A WebSocket begins as a GET; Kubernetes 1.35 asks for `create` all the same.
    right(
        Needed,
        "",
        "pods/exec",
        &["create", "get"],
        "to hand the agents their rules: they listen on no port",
    ),
    right(
        Needed,
        "",
        "pods/status",
        &["patch"],
        "to say on the preview pods whether requests come to them, as a condition",
    ),
    right(
        RootAlone,
        "batch",
        "jobs",
        &["get", "patch"],
        "to know whether the environment ends, and to write down how things stand",
    ),
];

/// All that somebody needs who starts, looks at and stops previews, where the
/// keeper's account is there already.
pub(crate) const USER: &[Right] = &[
    right(
        Needed,
        "batch",
        "jobs",
        &["create", "get", "list", "watch", "patch", "delete"],
        "an environment's root is a Job; a target may be one",
    ),
    right(
        Needed,
        "apps",
        "replicasets",
        &["create", "get", "list", "watch"],
        "the preview pods are a ReplicaSet's",
    ),
    right(
        Needed,
        "",
        "pods",
        &["get", "list", "watch"],
        "to see the preview become ready, and why it does not",
    ),
    right(Needed, "apps", "deployments", &["get", "list"], "targets"),
    right(Useful, "apps", "statefulsets", &["get", "list"], "targets"),
    right(Useful, "apps", "daemonsets", &["get", "list"], "targets"),
    right(Useful, "batch", "cronjobs", &["get", "list"], "targets"),
    right(Useful, "argoproj.io", "rollouts", &["get", "list"], "targets, where there is Argo"),
    right(Useful, "", "services", &["get", "list"], "targets, and a Service that would route to the preview"),
    right(Useful, "", "configmaps", &["create", "list"], "`feature.preview.config_mounts`"),
    right(Useful, "", "secrets", &["create", "list"], "`feature.preview.secret_mounts`; none is read"),
    right(Useful, "", "pods/log", &["get"], "the last words of a preview that crashes"),
    right(Useful, "", "events", &["list"], "why an image is not pulled, or a pod not scheduled"),
    right(Useful, "", "persistentvolumeclaims", &["get"], "which disks are the live workload's alone"),
    right(Useful, "", "serviceaccounts", &["get"], "whether the keeper's account is there"),
    right(Useful, "policy", "poddisruptionbudgets", &["list"], "budgets that count the preview"),
    right(Useful, "autoscaling", "horizontalpodautoscalers", &["list"], "scalers that count the preview"),
    right(
        Useful,
        "networking.k8s.io",
        "networkpolicies",
        &["list", "create"],
        "policies between the target and the preview",
    ),
];

/// What somebody needs besides where the keeper gets an account of its own;
/// and all that it holds, since nobody may grant what they lack.
pub(crate) const GRANTING: &[Right] = &[
    right(Needed, "", "serviceaccounts", &["create", "list"], "the keeper's account"),
    right(Needed, "rbac.authorization.k8s.io", "roles", &["create", "list"], "the keeper's rights"),
    right(Needed, "rbac.authorization.k8s.io", "rolebindings", &["create", "list"], "the keeper's rights"),
];

// === impl Right ===

impl Right {
    /// The rule of a Role; `root` names the one Job that it is for, where it is
    /// for one.
    pub(crate) fn rule(&self, root: Option<&str>) -> Value {
        let mut rule = json!({"apiGroups": [self.group], "resources": [self.resource], "verbs": self.verbs});
        if let Some(root) = root.filter(|_| self.extent == RootAlone) {
            rule["resourceNames"] = json!([root]);
        }
        rule
    }

    /// The rule as a line of YAML, below the reason for it.
    pub(crate) fn lines(&self) -> String {
        let verbs = self.verbs.join(", ");
        let group = if self.group.is_empty() { "\"\"" } else { self.group };
        format!(
            "  # {}\n  - {{apiGroups: [{group}], resources: [{}], verbs: [{verbs}]}}\n",
            self.reason, self.resource
        )
    }
}
