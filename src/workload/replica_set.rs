//! ReplicaSets that stand for themselves.

use super::{Kind, Origin, Source};

/// `apps/v1` ReplicaSets.
pub(super) static KIND: Kind = Kind {
    name: "replicaset",
    aliases: &["rs", "replicasets"],
    field: "replica_set",
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    is_behind_service: true,
    is_service: false,
    read: |object| Source::at(object, "/spec/template").map(Origin::Here),
};
