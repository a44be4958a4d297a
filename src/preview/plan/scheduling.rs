//! Where the preview may run: the rules by which the target's pods keep apart are
//! there for live pods, and the preview takes no place from them.
//!
//! The scheduler counts a preview that carries the labels of such a rule as one of
//! the target's pods. The rules of live pods are not changed, so that the preview
//! leaves off the labels by which they select; its own copy of a rule becomes a
//! preference, or the preview would never be scheduled beside live pods.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::labels::{Labels, names_controller, selects};
use crate::words;
use crate::workload::Source;

/// The weight of a required anti-affinity that becomes a preference: the highest.
const WEIGHT: u8 = 100;

/// The labels by which required anti-affinity and hard spread of the target's own
/// pods select. Without them the preview takes no place from a live pod.
pub(crate) fn keeping_apart(source: &Source, namespace: &str) -> BTreeSet<String> {
    let live = source.labels();
    let spec = source.template.get("spec").and_then(Value::as_object);
    let Some(spec) = spec else { return BTreeSet::new() };
    let terms = required(spec).filter(|term| is_in(term, namespace));
    let rules = terms.chain(hard(spec)).filter(|rule| counts(rule, &live) && !is_of_one_revision(rule));
    rules.flat_map(selected_by).filter(|name| live.contains_key(name)).collect()
}

/// Makes the rules of the preview's pods preferences, where they are about the
/// target's own pods and no live pod keeps away from the preview by them.
pub(super) fn relax(
    spec: &mut Map<String, Value>,
    live: &Labels,
    preview: &Labels,
    namespace: &str,
    warnings: &mut Vec<String>,
) {
    anti_affinity(spec, live, preview, namespace, warnings);
    spread(spec, live, preview, warnings);
}

/// A class of priority may evict others' pods to make room for the preview.
pub(super) fn priority(spec: &mut Map<String, Value>, warnings: &mut Vec<String>) {
    let class = spec.remove("priorityClassName");
    spec.remove("priority");
    spec.remove("preemptionPolicy");
    if let Some(class) = class.as_ref().and_then(Value::as_str).filter(|class| !class.is_empty()) {
        warnings.push(format!(
            "the target's priority class `{class}` is left off the preview: Kubernetes could evict other pods for it"
        ));
    }
}

fn anti_affinity(
    spec: &mut Map<String, Value>,
    live: &Labels,
    preview: &Labels,
    namespace: &str,
    warnings: &mut Vec<String>,
) {
    let rules = spec.get_mut("affinity").and_then(|affinity| affinity.get_mut("podAntiAffinity"));
    let Some(rules) = rules.and_then(Value::as_object_mut) else { return };
    let required = rules.remove("requiredDuringSchedulingIgnoredDuringExecution");
    let (mut stay, mut preferred) = (Vec::new(), Vec::new());
    for term in required.as_ref().and_then(Value::as_array).into_iter().flatten() {
        if !(is_in(term, namespace) && counts(term, live)) {
            stay.push(term.clone());
            continue;
        }
        let rule = format!("the target's required anti-affinity (`{}`)", text(term, "topologyKey"));
        if counts(term, preview) && !is_of_one_revision(term) {
            stay.push(term.clone());
            warnings.push(barred(&rule));
        } else {
            preferred.push(json!({"weight": WEIGHT, "podAffinityTerm": term}));
            warnings.push(relaxed(&rule, term, live, preview));
        }
    }
    if !stay.is_empty() {
        rules.insert("requiredDuringSchedulingIgnoredDuringExecution".to_owned(), stay.into());
    }
    for term in preferred {
        super::mounts::push(rules, "preferredDuringSchedulingIgnoredDuringExecution", term);
    }
}

fn spread(spec: &mut Map<String, Value>, live: &Labels, preview: &Labels, warnings: &mut Vec<String>) {
    let constraints = spec.get_mut("topologySpreadConstraints").and_then(Value::as_array_mut);
    for constraint in constraints.into_iter().flatten() {
        if !(is_hard(constraint) && counts(constraint, live)) {
            continue;
        }
        let rule = format!("the target's hard topology spread (`{}`)", text(constraint, "topologyKey"));
        if counts(constraint, preview) && !is_of_one_revision(constraint) {
            warnings.push(barred(&rule));
        } else {
            warnings.push(relaxed(&rule, constraint, live, preview));
        }
        constraint["whenUnsatisfiable"] = "ScheduleAnyway".into();
        // The API takes it beside `DoNotSchedule` alone.
        constraint.as_object_mut().expect("a rule that counts pods is an object").remove("minDomains");
    }
}

fn barred(rule: &str) -> String {
    format!(
        "{rule} counts the preview as a pod of the target: while it lives, live pods may find no place; leave out a label that \
         the rule selects by with `feature.preview.labels.exclude`"
    )
}

fn relaxed(rule: &str, of: &Value, live: &Labels, preview: &Labels) -> String {
    let left: Vec<String> =
        selected_by(of).filter(|name| live.contains_key(name) && !preview.contains_key(name)).collect();
    let left = if left.is_empty() {
        String::new()
    } else {
        format!(
            ", and the preview does not carry {}, by which the rule selects, so that it takes no live pod's place",
            words::quoted_list(&left)
        )
    };
    format!("{rule} is only a preference of the preview{left}")
}

/// The terms of required anti-affinity.
fn required(spec: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let rules = spec.get("affinity").and_then(|affinity| affinity.get("podAntiAffinity"));
    let terms = rules.and_then(|rules| rules.get("requiredDuringSchedulingIgnoredDuringExecution"));
    terms.and_then(Value::as_array).into_iter().flatten()
}

/// The topology spread constraints that keep a pod from being scheduled.
fn hard(spec: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let constraints = spec.get("topologySpreadConstraints").and_then(Value::as_array);
    constraints.into_iter().flatten().filter(|constraint| is_hard(constraint))
}

fn is_hard(constraint: &Value) -> bool {
    text(constraint, "whenUnsatisfiable") == "DoNotSchedule"
}

/// Whether a term of anti-affinity is about pods of `namespace`, which is the pods'
/// own. The labels of namespaces are not read: a selector of them may select it.
fn is_in(term: &Value, namespace: &str) -> bool {
    let named = term.get("namespaces").and_then(Value::as_array).filter(|named| !named.is_empty());
    let selected = term.get("namespaceSelector").is_some_and(Value::is_object);
    named.is_none_or(|named| named.iter().any(|one| one == namespace)) || selected
}

/// Whether a rule counts pods with these labels.
fn counts(rule: &Value, labels: &Labels) -> bool {
    selects(rule.get("labelSelector"), labels)
}

/// Whether a rule counts the pods of one revision only, which a preview never is.
fn is_of_one_revision(rule: &Value) -> bool {
    let keys = rule.get("matchLabelKeys").and_then(Value::as_array).into_iter().flatten();
    let asked = rule.pointer("/labelSelector/matchExpressions").and_then(Value::as_array);
    let asked = asked.into_iter().flatten().filter(|one| text(one, "operator") == "In");
    let named = asked.map(|one| text(one, "key"));
    keys.filter_map(Value::as_str).chain(named).any(names_controller)
}

/// The labels that a rule's selector asks for.
fn selected_by(rule: &Value) -> impl Iterator<Item = String> {
    let plain = rule.pointer("/labelSelector/matchLabels").and_then(Value::as_object);
    let asked = rule.pointer("/labelSelector/matchExpressions").and_then(Value::as_array);
    let asked = asked.into_iter().flatten().filter(|one| matches!(text(one, "operator"), "In" | "Exists"));
    plain
        .into_iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .chain(asked.map(|one| text(one, "key")))
        .map(str::to_owned)
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Keep;
    use crate::preview::plan::Plan;
    use crate::preview::plan::tests::request;

    /// A template whose pods keep apart, and its warnings and plan.
    fn planned(spec: &Value, keep: Keep) -> (Value, Vec<String>) {
        let mut whole = json!({"containers": [{"name": "web", "image": "shop:1"}]});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let template = json!({"metadata": {"labels": {"app": "shop", "tier": "web"}}, "spec": whole});
        let mut request = request(&template);
        if matches!(keep, Keep::All) {
            request.left_off = keeping_apart(&request.source, &request.namespace);
        }
        request.labels = keep;
        let plan = Plan::of(&request);
        (plan.pod_template().clone(), plan.warnings)
    }

    fn anti_affinity(term: &Value) -> Value {
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    }

    #[test]
    fn required_anti_affinity_against_its_own_pods_is_a_preference_of_the_preview_which_it_does_not_count() {
        let own = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "shop"}}});
        let other =
            json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}});
        let mut both = anti_affinity(&own);
        both["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!([other, own]);
        let (template, warnings) = planned(&both, Keep::All);
        assert_eq!(
            template["spec"]["affinity"]["podAntiAffinity"],
            json!({
                "requiredDuringSchedulingIgnoredDuringExecution": [other],
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": own}],
            })
        );
        assert_eq!(template["metadata"]["labels"].get("app"), None, "live pods do not see it");
        assert_eq!(template["metadata"]["labels"]["tier"], "web");
        assert_eq!(
            warnings,
            [
                "the target's required anti-affinity (`kubernetes.io/hostname`) is only a preference of the preview, and the preview \
              does not carry `app`, by which the rule selects, so that it takes no live pod's place"
            ]
        );
    }

    #[test]
    fn a_preview_that_keeps_the_label_of_required_anti_affinity_stays_away_from_live_pods() {
        let own =
            anti_affinity(&json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "shop"}}}));
        let (template, warnings) = planned(&own, Keep::Only(vec!["app".to_owned()].into()));
        assert_eq!(template["spec"]["affinity"], own["affinity"]);
        assert_eq!(template["metadata"]["labels"]["app"], "shop");
        assert!(warnings[0].contains("live pods may find no place"), "{warnings:?}");
    }

    #[test]
    fn rules_that_do_not_count_the_preview_keep_its_labels() {
        for rules in [
            anti_affinity(&json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}})),
            anti_affinity(&json!({
                "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "shop"}}, "namespaces": ["other"],
            })),
            anti_affinity(&json!({
                "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "shop"}}, "matchLabelKeys": ["pod-template-hash"],
            })),
            anti_affinity(&json!({"topologyKey": "zone"})),
            json!({"topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "shop"}},
            }]}),
        ] {
            let (template, _) = planned(&rules, Keep::All);
            assert_eq!(template["metadata"]["labels"]["app"], "shop", "{rules}");
        }
    }

    #[test]
    fn a_hard_spread_of_its_own_pods_is_soft_for_the_preview() {
        let selector = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop"]}]});
        let hard = json!({"topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3, "labelSelector": selector},
        ]});
        let soft = json!([
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector},
        ]);
        let (template, warnings) = planned(&hard, Keep::All);
        assert_eq!(template["spec"]["topologySpreadConstraints"], soft);
        assert_eq!(template["metadata"]["labels"].get("app"), None);
        assert!(
            warnings[0].starts_with("the target's hard topology spread (`zone`) is only a preference"),
            "{warnings:?}"
        );
        let (template, warnings) = planned(&hard, Keep::Only(vec!["*".to_owned()].into()));
        assert_eq!(template["spec"]["topologySpreadConstraints"], soft);
        assert!(warnings[0].contains("live pods may find no place"), "{warnings:?}");
    }

    #[test]
    fn the_priority_class_is_left_off() {
        let (template, warnings) = planned(
            &json!({"priorityClassName": "critical", "priority": 1000, "preemptionPolicy": "PreemptLowerPriority"}),
            Keep::All,
        );
        for field in ["priorityClassName", "priority", "preemptionPolicy"] {
            assert_eq!(template["spec"].get(field), None, "{field}");
        }
        assert!(warnings[0].contains("priority class `critical` is left off"), "{warnings:?}");
    }
}
