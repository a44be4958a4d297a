//! CronJobs: the preview runs what the next Job's pod would.

use super::{Kind, Origin, Source};

/// `batch/v1` CronJobs.
pub(super) static KIND: Kind = Kind {
    name: "cronjob",
    aliases: &["cj", "cronjobs"],
    field: "cron_job",
    group: "batch",
    version: "v1",
    kind: "CronJob",
    plural: "cronjobs",
    is_behind_service: false,
    is_service: false,
    read: |object| Source::at(object, "/spec/jobTemplate/spec/template").map(Origin::Here),
};
