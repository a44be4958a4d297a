//! Jobs: the preview runs the Job's pod for as long as it lives.

use super::{Kind, Origin, Source};

/// `batch/v1` Jobs.
pub(super) static KIND: Kind = Kind {
    name: "job",
    aliases: &["jobs"],
    field: "job",
    group: "batch",
    version: "v1",
    kind: "Job",
    plural: "jobs",
    is_behind_service: false,
    is_service: false,
    read: |object| Source::at(object, "/spec/template").map(Origin::Here),
};
