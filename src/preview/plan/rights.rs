//! The keeper's rights: one Role in one namespace, with the reason for each line.

use serde_json::{Value, json};

use super::{Account, Request, metadata};

const GROUP: &str = "rbac.authorization.k8s.io";

/// One right, and what it is for.
pub(crate) struct Right {
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) verbs: &'static [&'static str],
    /// Whether it is needed for the environment's own root alone.
    pub(crate) root_alone: bool,
    pub(crate) reason: &'static str,
}

/// All that a keeper may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right {
        group: "",
        resource: "pods",
        verbs: &["list", "watch"],
        root_alone: false,
        reason: "to see the target's pods and the preview's come, become ready and go",
    },
    Right {
        group: "",
        resource: "pods/ephemeralcontainers",
        verbs: &["patch"],
        root_alone: false,
        reason: "to put an agent beside the containers of each of the target's pods",
    },
    Right {
        group: "",
        resource: "pods/exec",
        // A WebSocket begins as a GET; Kubernetes 1.35 asks for `create` all the same.
        verbs: &["create", "get"],
        root_alone: false,
        reason: "to hand the agents their rules: they listen on no port",
    },
    Right {
        group: "",
        resource: "pods/status",
        verbs: &["patch"],
        root_alone: false,
        reason: "to say on the preview pods whether requests come to them, as a condition",
    },
    Right {
        group: "batch",
        resource: "jobs",
        verbs: &["get", "patch"],
        root_alone: true,
        reason: "to know whether the environment ends, and to write down how things stand",
    },
];

/// The rules of a Role with these rights; `root` names the one Job that it
/// is for, without which it is for all of the namespace.
pub(crate) fn rules(root: Option<&str>) -> Vec<Value> {
    let rule = |right: &Right| {
        let mut rule =
            json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs});
        if let Some(root) = root.filter(|_| right.root_alone) {
            rule["resourceNames"] = json!([root]);
        }
        rule
    };
    RIGHTS.iter().map(rule).collect()
}

/// The name of an environment's own ServiceAccount, Role and RoleBinding.
pub(super) fn name(request: &Request) -> String {
    request.identity.id.root_name(&request.identity.target)
}

/// The keeper's ServiceAccount, Role and RoleBinding, where it has its own.
pub(super) fn objects(request: &Request) -> Vec<Value> {
    let is_own = request.routing.as_ref().is_some_and(|routing| routing.account == Account::Own);
    if !is_own {
        return Vec::new();
    }
    let name = name(request);
    let metadata = json!(metadata(request, name.clone()));
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
            "automountServiceAccountToken": false,
        }),
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": metadata,
            "rules": rules(Some(&name)),
        }),
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": request.namespace}],
        }),
    ]
}
