//! Deployments.

use super::{Kind, Origin, Source};

/// `apps/v1` Deployments.
pub(super) static KIND: Kind = Kind {
    name: "deployment",
    aliases: &["deploy", "deployments"],
    field: "deployment",
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    is_behind_service: true,
    is_service: false,
    read: |object| Source::at(object, "/spec/template").map(Origin::Here),
};
