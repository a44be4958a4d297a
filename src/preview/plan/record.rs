//! The record of a start that failed because of the preview pod: a root without
//! pods that holds the reason, for a while.

use k8s_openapi::api::batch::v1::Job;

use super::Plan;
use crate::preview::lifetime;
use crate::session::FAILED;

/// The longest reason: the API server takes 256 KiB of annotations in all.
const REASON_BYTES: usize = 16 * 1024;

// === impl Plan ===

impl Plan {
    /// The root that is created again once all objects are gone. Kubernetes removes
    /// it at its deadline. It holds no assignment.
    pub(crate) fn record(&self, reason: &str) -> Job {
        let mut root = self.root.clone();
        let annotations = root.metadata.annotations.get_or_insert_default();
        annotations.insert(FAILED.to_owned(), reason[..reason.floor_char_boundary(REASON_BYTES)].to_owned());
        let spec = root.spec.as_mut().expect("a root is planned with a spec");
        spec.parallelism = Some(0);
        spec.active_deadline_seconds = Some(lifetime::failed_record());
        let pod = spec.template.spec.as_mut().expect("a root is planned with a pod");
        pod.service_account_name = None;
        for container in &mut pod.containers {
            container.env = None;
        }
        root
    }
}
