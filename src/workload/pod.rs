//! Single pods.

use super::{Kind, LivePods, Origin, Source};

/// `v1` Pods.
pub(super) static KIND: Kind = Kind {
    name: "pod",
    aliases: &["po", "pods"],
    field: "pod",
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    is_behind_service: false,
    is_service: false,
    read,
};

/// A live pod is its own template; the plan removes the values that the cluster
/// wrote into it.
fn read(object: &serde_json::Value) -> Option<Origin> {
    let mut source = Source::at(object, "")?;
    source.template.retain(|name, _| name == "metadata" || name == "spec");
    source.lived = true;
    let name = object.pointer("/metadata/name").and_then(serde_json::Value::as_str);
    source.pods = name.map(|name| LivePods::Named(name.to_owned()));
    Some(Origin::Here(source))
}
