//! A root's deadline as an annotation, so that `status` can list thousands of roots
//! by their metadata alone.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};

use super::{DEADLINE_NOTE, Session};

/// The fields of a root's specification and status that determine its deadline, as
/// of one generation. Every change of the deadline writes them; any other change of
/// the specification raises the generation and thereby invalidates them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeadlineNote {
    generation: i64,
    start: Timestamp,
    deadline_seconds: Option<i64>,
    pods: i32,
}

// === impl Session ===

impl Session {
    /// Reads a root from its metadata alone; `None` if its [`DEADLINE_NOTE`] is missing or
    /// belongs to an earlier generation.
    pub fn of_metadata(metadata: &ObjectMeta) -> Option<Self> {
        let noted: DeadlineNote =
            serde_json::from_str(metadata.annotations.as_ref()?.get(DEADLINE_NOTE)?).ok()?;
        let root = Job {
            metadata: metadata.clone(),
            spec: Some(JobSpec {
                active_deadline_seconds: noted.deadline_seconds,
                parallelism: Some(noted.pods),
                ..JobSpec::default()
            }),
            status: Some(JobStatus { start_time: Some(Time(noted.start)), ..JobStatus::default() }),
        };
        (metadata.generation == Some(noted.generation)).then(|| Self::of(&root)).flatten()
    }
}

/// The [`DEADLINE_NOTE`] of `root` once its deadline is `seconds`; `None` before the Job
/// has started.
pub fn deadline_note(root: &Job, seconds: Option<i64>) -> Option<String> {
    let spec = root.spec.as_ref()?;
    let is_changed = spec.active_deadline_seconds != seconds;
    let note = DeadlineNote {
        generation: root.metadata.generation? + i64::from(is_changed),
        start: root.status.as_ref()?.start_time.as_ref()?.0,
        deadline_seconds: seconds,
        pods: spec.parallelism.unwrap_or(1),
    };
    serde_json::to_string(&note).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::{KEY, MANAGED_BY, MIRRORD, SESSION, TARGET, TTL};

    #[test]
    fn metadata_read_like_the_whole_root_until_the_specification_changes() {
        let mut root: Job = serde_json::from_value(json!({
            "metadata": {
                "name": "preview-keeper-1", "namespace": "a", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 2,
                "labels": {MANAGED_BY: MIRRORD, SESSION: "1", KEY: "k", TTL: "60s"}, "annotations": {TARGET: "deployment/shop"},
            },
            "spec": {"template": {}, "parallelism": 1, "activeDeadlineSeconds": 60},
            "status": {"startTime": "2026-01-01T00:00:01Z"},
        }))
        .unwrap();
        assert!(Session::of_metadata(&root.metadata).is_none());
        for (seconds, generation) in [(Some(90), 3), (Some(90), 3), (None, 4)] {
            let noted = deadline_note(&root, seconds).unwrap();
            root.metadata.annotations.as_mut().unwrap().insert(DEADLINE_NOTE.to_owned(), noted);
            root.metadata.generation = Some(generation);
            root.spec.as_mut().unwrap().active_deadline_seconds = seconds;
            let from_metadata = Session::of_metadata(&root.metadata).unwrap();
            let whole = Session::of(&root).unwrap();
            assert_eq!(format!("{from_metadata:?}"), format!("{whole:?}"));
        }
        // Another client or version has changed the specification.
        root.metadata.generation = Some(5);
        assert!(Session::of_metadata(&root.metadata).is_none());
        root.status = None;
        assert_eq!(deadline_note(&root, None), None);
    }
}
