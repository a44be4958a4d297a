//! StatefulSets.

use super::{Kind, Origin, Source};

/// `apps/v1` StatefulSets.
pub(super) static KIND: Kind = Kind {
    name: "statefulset",
    aliases: &["sts", "statefulsets"],
    field: "stateful_set",
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    is_behind_service: true,
    is_service: false,
    read,
};

/// Each pod of a StatefulSet has disks of its own, which the template mounts and the
/// claim templates describe; the preview gets empty volumes under the same names.
fn read(object: &serde_json::Value) -> Option<Origin> {
    let mut source = Source::at(object, "/spec/template")?;
    let claims = object.pointer("/spec/volumeClaimTemplates").and_then(serde_json::Value::as_array);
    source.own_disks = claims
        .into_iter()
        .flatten()
        .filter_map(|claim| claim.pointer("/metadata/name")?.as_str().map(str::to_owned))
        .collect();
    Some(Origin::Here(source))
}
