//! Which rights a start needs, from what is known of it. Pure: a right that
//! this configuration never uses is none that could lack.

use std::borrow::Cow;

use super::Extent::{Needed, Useful};
use super::{Right, USER, right};
use crate::workload::{KINDS, Kind};

/// What decides which rights are needed.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    /// The kind that was typed; nothing where no target is named.
    pub(crate) target: Option<&'static Kind>,
    /// The kind that the template was found in; nothing where none was found.
    pub(crate) workload: Option<&'static Kind>,
    /// Whether there are files for a ConfigMap.
    pub(crate) has_config_mounts: bool,
    /// Whether there are files for a Secret.
    pub(crate) has_secret_mounts: bool,
    /// Whether requests come to the preview.
    pub(crate) is_routed: bool,
}

/// The rights without which `start` would fail, beside those that it takes to
/// give the keeper its own: each resource once.
pub(crate) fn needed(facts: &Facts) -> Vec<Right> {
    let mut rights = Vec::new();
    let mut need =
        |group, resource, verbs, reason| add(&mut rights, right(Needed, group, resource, verbs, reason));
    need(
        "batch",
        "jobs",
        &["create", "get", "list", "watch", "patch", "delete"],
        "an environment's root is a Job",
    );
    need("apps", "replicasets", &["create", "list", "watch"], "the preview pods are a ReplicaSet's");
    need("", "pods", &["list", "watch"], "to see the preview become ready, and why it does not");
    if facts.has_config_mounts {
        need("", "configmaps", &["create"], "`feature.preview.config_mounts`");
    }
    if facts.has_secret_mounts {
        need("", "secrets", &["create"], "`feature.preview.secret_mounts`; none is read");
    }
    let Some(target) = facts.target else { return rights };
    need(target.group, target.plural, &["get"], "the target");
    let found = facts.workload.filter(|workload| workload.kind != target.kind);
    match (target.name, found) {
        // Any of these may be behind it; Argo's are where there is Argo.
        ("service", None) => {
            for kind in ["deployment", "statefulset", "daemonset", "replicaset"] {
                for kind in KINDS.iter().filter(|known| known.name == kind) {
                    need(kind.group, kind.plural, &["list"], "the workload behind the Service");
                }
            }
        }
        ("service", Some(workload)) => {
            need(workload.group, workload.plural, &["list"], "the workload behind the Service");
        }
        (_, Some(workload)) => {
            need(workload.group, workload.plural, &["get"], "the workload that the target names");
        }
        (_, None) => {}
    }
    rights
}

/// The rights without which something goes unsaid.
pub(crate) fn useful(facts: &Facts) -> Vec<Right> {
    let of = |right: &Right| {
        let is_kind = KINDS.iter().any(|kind| (kind.group, kind.plural) == (right.group, right.resource));
        match right.resource {
            "services" if facts.target.is_some() => {
                Some(Right { verbs: Cow::Borrowed(&["list"]), ..right.clone() })
            }
            // Needed, or never asked for.
            "configmaps" | "secrets" => None,
            "serviceaccounts" | "networkpolicies" => facts.is_routed.then(|| right.clone()),
            _ if is_kind => facts.target.is_none().then(|| right.clone()),
            _ => Some(right.clone()),
        }
    };
    USER.iter().filter(|right| right.extent == Useful).filter_map(of).collect()
}

/// Adds a right, as further verbs where there are some for the resource.
fn add(rights: &mut Vec<Right>, more: Right) {
    let known = rights.iter_mut().find(|known| (known.group, known.resource) == (more.group, more.resource));
    let Some(known) = known else { return rights.push(more) };
    for verb in more.verbs.iter() {
        if !known.verbs.contains(verb) {
            known.verbs.to_mut().push(verb);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::named;
    use super::*;
    use crate::workload::find;

    const ALWAYS: &str = "`jobs` (create, get, list, watch, patch, delete), `replicasets` (create, list, watch), \
                          `pods` (list, watch)";

    fn facts(target: &str, workload: &str) -> Facts {
        Facts { target: find(target), workload: find(workload), ..Facts::default() }
    }

    #[test]
    fn what_is_needed_depends_on_the_target_and_on_the_files() {
        for (facts, more) in [
            (facts("", ""), ""),
            (facts("deployment", "deployment"), ", `deployments` (get)"),
            (facts("statefulset", "statefulset"), ", `statefulsets` (get)"),
            (facts("cronjob", "cronjob"), ", `cronjobs` (get)"),
            (facts("job", "job"), ""),
            (facts("service", "statefulset"), ", `services` (get), `statefulsets` (list)"),
            (
                facts("service", ""),
                ", `services` (get), `deployments` (list), `statefulsets` (list), `daemonsets` (list)",
            ),
            (facts("rollout", "rollout"), ", `rollouts` (get)"),
            (facts("rollout", "deployment"), ", `rollouts` (get), `deployments` (get)"),
            (Facts { has_config_mounts: true, ..Facts::default() }, ", `configmaps` (create)"),
            (Facts { has_secret_mounts: true, ..Facts::default() }, ", `secrets` (create)"),
        ] {
            assert_eq!(named(&needed(&facts)), format!("{ALWAYS}{more}"));
        }
        let pod = named(&needed(&facts("pod", "pod")));
        assert!(pod.ends_with("`pods` (list, watch, get)"), "{pod}");
    }

    #[test]
    fn the_users_role_holds_whatever_is_needed() {
        let kinds = KINDS.iter().copied().map(Some);
        for target in kinds.clone() {
            for workload in kinds.clone().chain([None]) {
                let facts = Facts {
                    target,
                    workload,
                    has_config_mounts: true,
                    has_secret_mounts: true,
                    is_routed: true,
                };
                for need in needed(&facts) {
                    let held =
                        USER.iter().find(|one| (one.group, one.resource) == (need.group, need.resource));
                    let held = held.map(|right| right.verbs.to_vec()).unwrap_or_default();
                    assert!(need.verbs.iter().all(|verb| held.contains(verb)), "{need:?}");
                }
            }
        }
    }

    #[test]
    fn what_nobody_asked_for_is_not_missed() {
        let resources = |facts: &Facts| useful(facts).iter().map(|right| right.resource).collect::<Vec<_>>();
        let quiet = resources(&facts("deployment", "deployment"));
        for absent in
            ["statefulsets", "rollouts", "configmaps", "secrets", "networkpolicies", "serviceaccounts"]
        {
            assert!(!quiet.contains(&absent), "{absent}");
        }
        assert!(quiet.contains(&"services") && quiet.contains(&"events"));
        let routed = resources(&Facts { is_routed: true, ..Facts::default() });
        assert!(routed.contains(&"networkpolicies") && routed.contains(&"deployments"));
    }
}
