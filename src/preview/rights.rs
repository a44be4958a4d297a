//! Who needs which right, and why: the keeper, and whoever starts previews.

mod needed;
mod paper;

use std::borrow::Cow;

use serde_json::{Value, json};

pub(crate) use needed::{Facts, needed, useful};
pub(crate) use paper::{Document, text};

use crate::cluster::Access;

/// One right, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) verbs: Cow<'static, [&'static str]>,
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
    Right { group, resource, verbs: Cow::Borrowed(verbs), extent, reason }
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
    right(Useful, "apps", "deployments", &["get", "list"], "targets"),
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
    right(Needed, "", "serviceaccounts", &["create"], "the keeper's account"),
    right(Needed, "rbac.authorization.k8s.io", "roles", &["create"], "the keeper's rights"),
    right(Needed, "rbac.authorization.k8s.io", "rolebindings", &["create"], "the keeper's rights"),
];

/// The questions that tell whether somebody has these rights.
pub(crate) fn questions(rights: &[Right]) -> Vec<Access> {
    let of = |right: &Right| {
        let (group, resource) = (right.group, right.resource);
        right.verbs.iter().map(|verb| Access { group, resource, verb }).collect::<Vec<_>>()
    };
    rights.iter().flat_map(of).collect()
}

/// What lacks of these rights, down to the verb.
pub(crate) fn lacking(rights: &[Right], refused: &[Access]) -> Vec<Right> {
    let lacks = |right: &Right| {
        let verbs = right.verbs.iter().copied().filter(|verb| {
            refused.iter().any(|access| {
                (access.group, access.resource, access.verb) == (right.group, right.resource, *verb)
            })
        });
        let verbs: Vec<_> = verbs.collect();
        (!verbs.is_empty()).then(|| Right { verbs: Cow::Owned(verbs), ..right.clone() })
    };
    rights.iter().filter_map(lacks).collect()
}

/// Rights, for a sentence: `jobs` (create, get), `pods` (list).
pub(crate) fn named(rights: &[Right]) -> String {
    let of = |right: &Right| format!("`{}` ({})", right.resource, right.verbs.join(", "));
    rights.iter().map(of).collect::<Vec<_>>().join(", ")
}

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
    fn lines(&self) -> String {
        let verbs = self.verbs.join(", ");
        let group = if self.group.is_empty() { "\"\"" } else { self.group };
        format!(
            "  # {}\n  - {{apiGroups: [{group}], resources: [{}], verbs: [{verbs}]}}\n",
            self.reason, self.resource
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_right_that_lacks_one_verb_that_verb_alone_is_missing() {
        let jobs = right(Needed, "batch", "jobs", &["create", "get", "delete"], "roots");
        let pods = right(Needed, "", "pods", &["list", "watch"], "pods");
        let rights = [jobs, pods];
        assert_eq!(questions(&rights).len(), 5);
        let refused = [
            Access { group: "batch", resource: "jobs", verb: "delete" },
            Access { group: "other", resource: "pods", verb: "list" },
        ];
        let missing = lacking(&rights, &refused);
        assert_eq!(named(&missing), "`jobs` (delete)");
        assert_eq!(
            missing[0].lines(),
            "  # roots\n  - {apiGroups: [batch], resources: [jobs], verbs: [delete]}\n"
        );
        assert_eq!(lacking(&rights, &[]), []);
    }
}
