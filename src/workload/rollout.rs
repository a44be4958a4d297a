//! Argo Rollouts, whose template may live in another workload.

use serde_json::Value;

use super::{Kind, Origin, Source};

/// `argoproj.io/v1alpha1` Rollouts.
pub(super) static KIND: Kind = Kind {
    name: "rollout",
    aliases: &["ro", "rollouts"],
    field: "rollout",
    group: "argoproj.io",
    version: "v1alpha1",
    kind: "Rollout",
    plural: "rollouts",
    is_behind_service: true,
    is_service: false,
    read,
};

fn read(object: &Value) -> Option<Origin> {
    let reference =
        |field: &str| object.pointer(&format!("/spec/workloadRef/{field}"))?.as_str().map(str::to_owned);
    match (reference("kind"), reference("name")) {
        (Some(kind), Some(name)) => Some(Origin::Elsewhere { kind, name }),
        _ => Source::at(object, "/spec/template").map(Origin::Here),
    }
}
