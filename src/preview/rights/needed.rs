//! Which rights one environment, or any environment, needs. Pure.

use super::RightExtent::{Needed, Useful};
use super::{Right, right};
use crate::preview::features::{FEATURES, Feature};
use crate::workload::{KINDS, Kind};

/// What is known when rights are asked for.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    /// The kind in the target's name; `None` without a target.
    pub(crate) target: Option<&'static Kind>,
    /// The kind that the template was found in; `None` if none was found.
    pub(crate) workload: Option<&'static Kind>,
    /// The features of the environment.
    pub(crate) features: Vec<&'static Feature>,
}

/// The rights without which `start` fails, each resource once. The rights to
/// give the keeper its own are not among them.
pub(crate) fn needed(facts: &Facts) -> Vec<Right> {
    let mut rights = Vec::new();
    add(&mut rights, of_users(&facts.features, Needed));
    let Some(target) = facts.target else { return rights };
    let mut need = |kind: &Kind, verbs, reason| {
        add(&mut rights, [right(Needed, kind.group, kind.plural, verbs, reason)]);
    };
    need(target, &["get"], "the target");
    match facts.workload.filter(|workload| workload.kind != target.kind) {
        Some(workload) if target.is_service => need(workload, &["list"], "the workload behind the Service"),
        Some(workload) => need(workload, &["get"], "the workload that the target names"),
        None if target.is_service => {
            for kind in KINDS.iter().filter(|kind| kind.is_behind_service && kind.is_built_in()) {
                need(kind, &["list"], "the workload behind the Service");
            }
        }
        None => {}
    }
    rights
}

/// The rights without which `start` skips a check or a warning.
pub(crate) fn useful(facts: &Facts) -> Vec<Right> {
    let needed = needed(facts);
    let mut rights = Vec::new();
    if facts.target.is_none() {
        let others = targets().filter(|right| needed.iter().all(|known| !known.is_for_the_same(right)));
        add(&mut rights, others);
    }
    add(&mut rights, of_users(&facts.features, Useful));
    rights
}

/// The rights of a user of any environment on any target, whose keeper gets a
/// ServiceAccount that exists already.
pub(crate) fn user() -> Vec<Right> {
    let mut rights = Vec::new();
    add(&mut rights, of_users(&FEATURES[..1], Needed));
    add(&mut rights, targets());
    for extent in [Needed, Useful] {
        add(&mut rights, of_users(FEATURES, extent));
    }
    // `stop` waits until all that a user may create is gone.
    for gone in FEATURES.iter().flat_map(|feature| feature.gone) {
        let list = right(Useful, gone.group, gone.plural, &["list"], "to see that they are gone");
        let is_created = |known: &Right| known.is_for_the_same(&list) && known.verbs.contains(&"create");
        if rights.iter().any(is_created) {
            add(&mut rights, [list]);
        }
    }
    rights
}

/// The rights of a keeper for these features.
pub(crate) fn keeper(features: &[&Feature]) -> Vec<Right> {
    let mut rights = Vec::new();
    add(&mut rights, features.iter().flat_map(|feature| feature.keeper).cloned());
    rights
}

fn of_users(features: &[&'static Feature], extent: super::RightExtent) -> impl Iterator<Item = Right> {
    let rights = features.iter().flat_map(|feature| feature.user);
    rights.filter(move |right| right.extent == extent).cloned()
}

/// The rights to read targets of every kind.
fn targets() -> impl Iterator<Item = Right> {
    KINDS.iter().map(|kind| {
        let reason = if kind.is_built_in() { "targets" } else { "targets, if the cluster has this kind" };
        right(Useful, kind.group, kind.plural, &["get", "list"], reason)
    })
}

/// Adds rights; to a resource that is there already, the verbs and the reason.
fn add(rights: &mut Vec<Right>, more: impl IntoIterator<Item = Right>) {
    for more in more {
        let Some(known) = rights.iter_mut().find(|known| known.is_for_the_same(&more)) else {
            rights.push(more);
            continue;
        };
        let verbs: Vec<_> = more.verbs.iter().filter(|verb| !known.verbs.contains(verb)).copied().collect();
        if !verbs.is_empty() {
            known.verbs.to_mut().extend(verbs);
        }
        if !known.reason.contains(more.reason.as_ref()) {
            known.reason.to_mut().push_str(&format!("; {}", more.reason));
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

    /// The features of an environment, by their place in [`FEATURES`].
    const ENVIRONMENT: usize = 0;
    const CONFIG_MOUNTS: usize = 1;
    const SECRET_MOUNTS: usize = 2;
    const TRAFFIC: usize = 3;

    fn with(features: &[usize]) -> Facts {
        let features = [&[ENVIRONMENT], features].concat();
        Facts { features: features.iter().map(|index| FEATURES[*index]).collect(), ..Facts::default() }
    }

    fn facts(target: &str, workload: &str) -> Facts {
        Facts { target: find(target), workload: find(workload), ..with(&[]) }
    }

    #[test]
    fn needed_rights_depend_on_the_target_and_on_the_features() {
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
            (with(&[CONFIG_MOUNTS]), ", `configmaps` (create)"),
            (with(&[SECRET_MOUNTS]), ", `secrets` (create)"),
            (with(&[TRAFFIC]), ""),
        ] {
            assert_eq!(named(&needed(&facts)), format!("{ALWAYS}{more}"));
        }
        let pod = named(&needed(&facts("pod", "pod")));
        assert!(pod.ends_with("`pods` (list, watch, get)"), "{pod}");
    }

    #[test]
    fn the_users_role_holds_every_needed_and_every_useful_right() {
        let role = user();
        let kinds = KINDS.iter().copied().map(Some);
        for target in kinds.clone().chain([None]) {
            for workload in kinds.clone().chain([None]) {
                let facts = Facts { target, workload, features: FEATURES.to_vec() };
                for need in needed(&facts).iter().chain(&useful(&facts)) {
                    let held = role.iter().find(|one| one.is_for_the_same(need));
                    let held = held.map(|right| right.verbs.to_vec()).unwrap_or_default();
                    assert!(need.verbs.iter().all(|verb| held.contains(verb)), "{need:?}");
                }
            }
        }
    }

    #[test]
    fn a_user_may_list_every_kind_of_object_that_a_user_may_create() {
        for right in user().iter().filter(|right| right.verbs.contains(&"create")) {
            assert!(right.verbs.contains(&"list"), "{right:?}");
        }
    }

    #[test]
    fn rights_of_unused_features_and_of_other_kinds_are_not_asked_for() {
        let resources = |facts: &Facts| useful(facts).iter().map(|right| right.resource).collect::<Vec<_>>();
        let quiet = resources(&facts("deployment", "deployment"));
        for absent in
            ["statefulsets", "rollouts", "configmaps", "secrets", "networkpolicies", "serviceaccounts"]
        {
            assert!(!quiet.contains(&absent), "{absent}");
        }
        assert!(quiet.contains(&"services") && quiet.contains(&"events"));
        let routed = resources(&with(&[TRAFFIC]));
        assert!(routed.contains(&"networkpolicies") && routed.contains(&"deployments"));
        // Needed rights are asked for once.
        assert!(!routed.contains(&"jobs") && !routed.contains(&"pods"));
    }
}
