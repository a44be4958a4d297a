//! DaemonSets: the preview is not one pod a node, it is as many as `replicas` says.

use super::{Kind, Origin, Source};

/// `apps/v1` DaemonSets.
pub(super) static KIND: Kind = Kind {
    name: "daemonset",
    aliases: &["ds", "daemonsets"],
    field: "daemon_set",
    group: "apps",
    version: "v1",
    kind: "DaemonSet",
    plural: "daemonsets",
    is_behind_service: true,
    is_service: false,
    read: |object| Source::at(object, "/spec/template").map(Origin::Here),
};
