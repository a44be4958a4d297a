//! Work that the preview does again because it is a copy: programs that end, and init
//! containers.

use serde_json::Value;

use crate::words;
use crate::workload::{Source, container};

/// Warnings about work that is done again, which may be a migration or a billing run.
pub(super) fn warnings(source: &Source, target: &str) -> Vec<String> {
    let Some(spec) = source.template.get("spec") else { return Vec::new() };
    let text = |object: &Value, field: &str| object.get(field).and_then(Value::as_str).map(str::to_owned);
    // Only pods that are meant to end say so.
    let ends = text(spec, "restartPolicy").is_some_and(|policy| policy != "Always");
    let ends = ends.then(|| {
        format!(
            "the program of `{target}` is made to end: the preview runs it with the target's access to live data, and again each \
             time it ends, as long as the preview lives"
        )
    });
    let init = spec.get("initContainers").and_then(Value::as_array).into_iter().flatten();
    // Those that are always restarted are sidecars.
    let init = init.filter(|one| text(one, "restartPolicy").as_deref() != Some("Always"));
    let names: Vec<String> =
        init.filter_map(|one| text(one, "name")).filter(|name| !container::is_mesh(name)).collect();
    let init = (!names.is_empty()).then(|| {
        format!(
            "the preview runs the target's {} {} again, with the target's own images: a migration or a seed among them would \
             change live data",
            if names.len() == 1 { "init container" } else { "init containers" },
            words::quoted_list(&names)
        )
    });
    ends.into_iter().chain(init).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_that_end_and_init_containers_are_named() {
        for (spec, expected) in [
            (json!({"restartPolicy": "Never"}), vec!["the program of `job/bill` is made to end"]),
            (json!({"restartPolicy": "OnFailure"}), vec!["the program of `job/bill` is made to end"]),
            (json!({"restartPolicy": "Always"}), vec![]),
            (json!({}), vec![]),
            (
                json!({"initContainers": [{"name": "migrate"}]}),
                vec!["the preview runs the target's init container `migrate`"],
            ),
            (
                json!({"initContainers": [{"name": "log", "restartPolicy": "Always"}, {"name": "istio-init"}]}),
                vec![],
            ),
        ] {
            let template = json!({"spec": spec});
            let source = Source { template: template.as_object().unwrap().clone(), ..Source::default() };
            let warnings = warnings(&source, "job/bill");
            assert_eq!(warnings.len(), expected.len(), "{template}: {warnings:?}");
            assert!(warnings.iter().zip(expected).all(|(one, words)| one.starts_with(words)), "{warnings:?}");
        }
    }
}
