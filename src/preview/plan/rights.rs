//! The keeper's own ServiceAccount, with a Role in one namespace.

use serde_json::{Value, json};

use super::{Account, Request};
use crate::preview::rights::Right;

const GROUP: &str = "rbac.authorization.k8s.io";

/// The rules of a Role with the keeper's `rights`, whose root is this Job.
pub(crate) fn rules(rights: &[Right], root: &str) -> Vec<Value> {
    rights.iter().map(|right| right.rule(Some(root))).collect()
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
    let metadata = json!(request.stamp().metadata(name.clone()));
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
            "automountServiceAccountToken": false,
        }),
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": metadata,
            "rules": rules(&request.keeper_rights, &name),
        }),
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": request.namespace}],
        }),
    ]
}
