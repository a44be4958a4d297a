//! Whether a pod belongs to the target, and does not only carry its labels: pods of
//! migration Jobs, tests and debugging often carry the labels of a Deployment.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::cluster::Change;
use crate::contract::assignment::Owner;

/// The labels that hold the suffix of a ReplicaSet's name, by the controller that made it.
const HASHES: &[&str] = &["rollouts-pod-template-hash", "pod-template-hash"];

/// The change, as one to the pods of `owners`. A pod that is not one of theirs counts as
/// gone: it may have been one of theirs before. All pods count without `owners`.
pub(super) fn of_target(change: Change, owners: &[Owner]) -> Change {
    match change {
        Change::Pod(pod) if !owners.is_empty() && !owners.iter().any(|owner| owns(owner, &pod)) => {
            Change::PodGone(pod.metadata.name.expect("an object of the API has a name"))
        }
        change => change,
    }
}

/// Whether `owner` controls the pod, itself or through a ReplicaSet. ReplicaSets are told
/// apart by their names, because the keeper may not read them.
fn owns(owner: &Owner, pod: &Pod) -> bool {
    let is_controller = |owner: &&OwnerReference| owner.controller == Some(true);
    let Some(controller) = pod.metadata.owner_references.iter().flatten().find(is_controller) else {
        return false;
    };
    if controller.kind == owner.kind {
        return controller.name == owner.name;
    }
    if controller.kind != "ReplicaSet" || !matches!(owner.kind.as_str(), "Deployment" | "Rollout") {
        return false;
    }
    let labels = pod.metadata.labels.as_ref();
    let Some(hash) = HASHES.iter().find_map(|name| labels?.get(*name)) else {
        // A ReplicaSet that is older than the controller which has adopted it.
        return true;
    };
    controller.name.strip_suffix(hash).and_then(|name| name.strip_suffix('-')) == Some(&owner.name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn owner(kind: &str, name: &str) -> Owner {
        Owner { kind: kind.to_owned(), name: name.to_owned() }
    }

    fn pod(controller: Option<(&str, &str)>, labels: &Value) -> Pod {
        let owners = controller.map(|(kind, name)| {
            json!([
                {"apiVersion": "v1", "kind": "Backup", "name": "nightly", "uid": "1"},
                {"apiVersion": "v1", "kind": kind, "name": name, "uid": "2", "controller": true},
            ])
        });
        let pod = json!({"metadata": {"name": "a", "labels": labels, "ownerReferences": owners}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_belongs_to_the_target_if_the_target_controls_it_and_not_by_its_labels() {
        let plain = json!({"app": "shop"});
        let hash = json!({"app": "shop", "pod-template-hash": "5d8"});
        let argo = json!({"app": "shop", "rollouts-pod-template-hash": "5d8", "pod-template-hash": "x"});
        for (kind, controller, labels, is_owned) in [
            ("Deployment", Some(("ReplicaSet", "shop-5d8")), &hash, true),
            ("Rollout", Some(("ReplicaSet", "shop-5d8")), &argo, true),
            ("StatefulSet", Some(("StatefulSet", "shop")), &plain, true),
            ("DaemonSet", Some(("DaemonSet", "shop")), &plain, true),
            ("ReplicaSet", Some(("ReplicaSet", "shop")), &hash, true),
            ("Job", Some(("Job", "shop")), &plain, true),
            // A ReplicaSet that was adopted.
            ("Deployment", Some(("ReplicaSet", "cart")), &plain, true),
            // A migration, a debug pod, and a worker whose labels are those of the shop and more.
            ("Deployment", Some(("Job", "migrate")), &plain, false),
            ("Deployment", None, &plain, false),
            ("Deployment", Some(("ReplicaSet", "shop-worker-5d8")), &hash, false),
            ("StatefulSet", Some(("StatefulSet", "shop-worker")), &plain, false),
            ("StatefulSet", Some(("ReplicaSet", "shop-5d8")), &hash, false),
        ] {
            let pod = pod(controller, labels);
            assert_eq!(owns(&owner(kind, "shop"), &pod), is_owned, "{kind}: {controller:?}");
        }
    }

    #[test]
    fn a_pod_of_somebody_else_counts_as_gone_and_all_pods_count_without_an_owner() {
        let change = || Change::Pod(Box::new(pod(Some(("Job", "migrate")), &json!({}))));
        // A Rollout may refer to a Deployment whose pods are still there.
        let owners = [owner("Rollout", "shop"), owner("Deployment", "shop")];
        assert!(matches!(of_target(change(), &owners), Change::PodGone(name) if name == "a"));
        assert!(matches!(of_target(change(), &[]), Change::Pod(_)));
        assert!(matches!(of_target(change(), &[owner("Job", "migrate")]), Change::Pod(_)));
        assert!(matches!(of_target(Change::PodsListed, &owners), Change::PodsListed));
    }
}
